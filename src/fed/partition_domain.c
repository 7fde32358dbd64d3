/* Every client holds records of one label only: client k those of label k mod L, which the clients
 * of that label share evenly. */
#include "fed/partition_internal.h"

static fl_status assign_rows(const fl_partition_job *job, uint32_t *client, size_t *seen)
{
    size_t labels = job->groups->count, num_clients = job->num_clients;
    for (size_t i = 0; i < job->count; i++) {
        size_t label = job->group[i];
        size_t sharing = (num_clients - label + labels - 1) / labels;
        client[i] = (uint32_t)(label + labels * (seen[label]++ % sharing));
    }
    for (size_t k = 0; k < num_clients; k++)
        FL_CHECK(seen[k % labels] > k / labels, FL_ERR_USAGE,
                 "client %zu would have no record: only %zu with label \"%s\" are kept for all "
                 "clients that share it",
                 k, seen[k % labels], job->groups->names[k % labels]);
    return FL_OK;
}

static fl_status assign(const fl_partition_job *job, uint32_t *client)
{
    FL_CHECK(job->num_clients >= job->groups->count, FL_ERR_USAGE,
             "num_clients = %zu is too few for the %zu labels of split_strategy = \"domain\"",
             job->num_clients, job->groups->count);
    size_t *seen;
    FL_TRY(fl_alloc(&seen, job->groups->count, sizeof *seen));
    fl_status status = assign_rows(job, client, seen);
    fl_free(seen);
    return status;
}

const fl_partition_strategy fl_partition_domain = {
    .name = "domain", .key = FL_KEY_LABEL, .assign = assign};
