/* localK: client K trains alone in every round; the baseline without federation.  The number may
 * have any length (the reference reads the last digit only). */
#include "fed/algorithm.h"

#include <stdlib.h>
#include <string.h>

static fl_status local_choose(const fl_fed_config *config, int64_t round, uint32_t *clients,
                              int64_t *count)
{
    (void)round;
    const char *digits = config->fed_alg + strlen("local");
    size_t length = strlen(digits);
    FL_CHECK(length >= 1, FL_ERR_USAGE, "fed_alg = \"local\" needs a client number, as local0");
    long long client = length <= 9 ? strtoll(digits, NULL, 10) : INT64_MAX;
    FL_CHECK(client < config->num_clients, FL_ERR_USAGE,
             "fed_alg = \"%s\", but clients are numbered 0 to %lld (num_clients = %lld)",
             config->fed_alg, (long long)config->num_clients - 1, (long long)config->num_clients);
    clients[0] = (uint32_t)client;
    *count = 1;
    return FL_OK;
}

const fl_algorithm fl_algorithm_local = {
    .name = "local", .numbered = true, .choose = local_choose, .aggregate = fl_aggregate_mean};
