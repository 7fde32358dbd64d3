/* The split of a data set over the clients. */
#ifndef FL_FED_PARTITION_H
#define FL_FED_PARTITION_H

#include "base/mem.h"

#include <stdint.h>

typedef struct fl_partition {
    uint32_t *indices; /* records, client by client, in each client's order */
    size_t *offset;    /* [num_clients + 1] client k has indices[offset[k]] .. */
    size_t num_clients;
    fl_arena *arena;
} fl_partition;

/* The reference's preprocessing and IID split (openfedllm.md 2.3): a shuffle with the constant seed
 * 2023, the first min(n, sample) records (sample = 0: all), a shuffle with `seed`, client i gets
 * rows i, i + N, i + 2N ...  Errors: FL_ERR_USAGE when a client would have no record. */
fl_status fl_partition_iid(fl_partition *out, size_t records, size_t sample, size_t num_clients,
                           uint64_t seed);
void fl_partition_fini(fl_partition *partition);

static inline size_t fl_partition_size(const fl_partition *partition, size_t client)
{
    return partition->offset[client + 1] - partition->offset[client];
}

#endif
