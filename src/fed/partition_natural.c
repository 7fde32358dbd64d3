/* Every record belongs to the client that the data names.  As in FedLLM-Bench nothing is shuffled,
 * so that the files of fedllm_data split give the split they were made of. */
#include "fed/partition_internal.h"

static fl_status assign(const fl_partition_job *job, uint32_t *client)
{
    for (size_t i = 0; i < job->count; i++)
        client[i] = job->group[i];
    return FL_OK;
}

const fl_partition_strategy fl_partition_natural = {
    .name = "natural", .key = FL_KEY_CLIENT, .keeps_order = true, .assign = assign};
