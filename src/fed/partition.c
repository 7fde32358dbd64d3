#include "fed/partition.h"

#include "base/rng.h"

enum { PREPROCESSING_SEED = 2023 };

static fl_status allocate(fl_partition *p, size_t rows, size_t num_clients, uint32_t **second)
{
    FL_TRY(fl_arena_create(&p->arena));
    FL_TRY(fl_arena_alloc(p->arena, &p->indices, rows, sizeof *p->indices));
    FL_TRY(fl_arena_alloc(p->arena, &p->offset, num_clients + 1, sizeof *p->offset));
    FL_TRY(fl_arena_alloc(p->arena, second, rows, sizeof **second));
    p->num_clients = num_clients;
    return FL_OK;
}

static void deal(fl_partition *p, const uint32_t *first, const uint32_t *second, size_t rows)
{
    size_t next = 0;
    for (size_t k = 0; k < p->num_clients; k++) {
        p->offset[k] = next;
        for (size_t row = k; row < rows; row += p->num_clients)
            p->indices[next++] = first[second[row]];
    }
    p->offset[p->num_clients] = next;
}

fl_status fl_partition_iid(fl_partition *out, size_t records, size_t sample, size_t num_clients,
                           uint64_t seed)
{
    size_t rows = sample && sample < records ? sample : records;
    FL_CHECK(records <= UINT32_MAX, FL_ERR_UNSUPPORTED, "a data set of %zu records", records);
    FL_CHECK(rows >= num_clients, FL_ERR_USAGE,
             "num_clients = %zu, but there are only %zu records to split (dataset_sample = %zu)",
             num_clients, rows, sample);
    uint32_t *first = NULL, *second = NULL;
    fl_partition partition = {0};
    fl_status status = fl_alloc(&first, records, sizeof *first);
    if (status == FL_OK) status = allocate(&partition, rows, num_clients, &second);
    if (status == FL_OK) {
        fl_numpy_permutation(PREPROCESSING_SEED, (uint32_t)records, first);
        fl_numpy_permutation(seed, (uint32_t)rows, second);
        deal(&partition, first, second, rows);
        *out = partition;
    } else {
        fl_partition_fini(&partition);
    }
    fl_free(first);
    return status;
}

void fl_partition_fini(fl_partition *partition)
{
    fl_arena_destroy(partition->arena);
    *partition = (fl_partition){0};
}
