/* The reference's split: client k gets rows k, k + N, k + 2N ... */
#include "fed/partition_internal.h"

static fl_status assign(const fl_partition_job *job, uint32_t *client)
{
    for (size_t i = 0; i < job->count; i++)
        client[i] = (uint32_t)(i % job->num_clients);
    return FL_OK;
}

const fl_partition_strategy fl_partition_iid = {.name = "iid", .assign = assign};
