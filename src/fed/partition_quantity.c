/* Clients of unequal size: one record each, the others in shares drawn from Dirichlet(
 * quantity_alpha), as Li et al., "Federated learning on non-IID data silos", ICDE 2022, have it. */
#include "fed/partition_internal.h"

static void deal(const fl_partition_job *job, const size_t *end, uint32_t *client)
{
    size_t row = 0;
    for (size_t k = 0; k < job->num_clients; k++)
        while (row < end[k] + k + 1)
            client[row++] = (uint32_t)k;
}

static fl_status assign(const fl_partition_job *job, uint32_t *client)
{
    double *share = NULL;
    size_t *end = NULL;
    fl_rng rng = fl_rng_make(job->seed, FL_PURPOSE_PARTITION, 0, 0, 0, 0);
    fl_status status = fl_alloc(&share, job->num_clients, sizeof *share);
    if (status == FL_OK) status = fl_alloc(&end, job->num_clients, sizeof *end);
    if (status == FL_OK) {
        fl_dirichlet_cut(&rng, job->config->quantity_alpha, job->num_clients,
                         job->count - job->num_clients, share, end);
        deal(job, end, client);
    }
    fl_free(share);
    fl_free(end);
    return status;
}

const fl_partition_strategy fl_partition_quantity = {.name = "quantity", .assign = assign};
