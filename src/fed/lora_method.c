#include "fed/lora_method.h"

#include <stdio.h>
#include <string.h>

static const fl_lora_method *const methods[] = {&fl_lora_fedit,  &fl_lora_ffa,   &fl_lora_rolora,
                                                &fl_lora_fedsa,  &fl_lora_flora, &fl_lora_fedex,
                                                &fl_lora_florist};
enum { NUM_METHODS = sizeof methods / sizeof methods[0], MAX_WORDS = 200 };

const fl_lora_method *const *fl_lora_methods(size_t *count)
{
    *count = NUM_METHODS;
    return methods;
}

const fl_lora_method *fl_lora_method_of(const fl_fed_config *config)
{
    for (size_t i = 0; config->lora_aggregation && i < NUM_METHODS; i++)
        if (strcmp(methods[i]->name, config->lora_aggregation) == 0) return methods[i];
    FL_ASSERT(!config->lora_aggregation);
    return &fl_lora_fedit;
}

const char *fl_lora_method_words(void)
{
    static char words[MAX_WORDS];
    size_t at = 0;
    for (size_t i = 0; i < NUM_METHODS; i++) {
        at += (size_t)snprintf(words + at, MAX_WORDS - at, "%s%s", i ? "|" : "", methods[i]->name);
        FL_ASSERT(at < MAX_WORDS);
    }
    return words;
}

static bool goes_with(const fl_lora_method *method, const fl_algorithm *algorithm)
{
    if (!method->algorithms) return true;
    for (size_t i = 0; method->algorithms[i]; i++)
        if (strcmp(method->algorithms[i], algorithm->name) == 0) return true;
    return false;
}

/* The noise is on the sum of what is sent; everything else about single clients stays with them. */
static fl_status check_privacy(const fl_lora_method *method, const fl_fed_config *config)
{
    if (!config->dp) return FL_OK;
    const char *why = method->aggregate
                          ? "rank 0 works on single clients' factors, not on their sum"
                      : method->client ? "evaluation tells about the factor that a client keeps"
                                       : NULL;
    FL_CHECK(!why, FL_ERR_USAGE, "lora_aggregation = \"%s\" is not covered by dp: %s", method->name,
             why);
    FL_CHECK(!config->lora_metrics || strcmp(config->lora_metrics, "on") != 0, FL_ERR_USAGE,
             "lora_metrics = \"on\" is not covered by dp: the figures come from single clients' "
             "factors");
    return FL_OK;
}

fl_status fl_lora_method_check(const fl_lora_method *method, const fl_algorithm *algorithm,
                               const fl_fed_config *config)
{
    FL_CHECK(goes_with(method, algorithm), FL_ERR_USAGE,
             "lora_aggregation = \"%s\" does not go with fed_alg = \"%s\": %s", method->name,
             config->fed_alg, method->reason);
    FL_CHECK(method->mixed_ranks || config->client_lora_r.count == 0, FL_ERR_USAGE,
             "lora_aggregation = \"%s\" does not go with client_lora_r: it needs factors of the "
             "same rank",
             method->name);
    return check_privacy(method, config);
}

unsigned fl_lora_trained(const fl_lora_method *method, int64_t round)
{
    return method->trained[round % 2];
}

unsigned fl_lora_sent(const fl_lora_method *method, int64_t round)
{
    return method->sent[round % 2];
}

unsigned fl_lora_moved(const fl_lora_method *method, int64_t round)
{
    return fl_lora_sent(method, round > 0 ? round - 1 : 0);
}

unsigned fl_lora_kept(const fl_lora_method *method, int64_t round)
{
    return fl_lora_trained(method, round) & ~fl_lora_sent(method, round);
}
