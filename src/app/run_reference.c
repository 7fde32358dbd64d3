/* What the reference model says about the examples: a file per client, whoever trains it. */
#include "app/run.h"
#include "base/hash.h"

#include <math.h>

enum { PER_PAIR = 2 }; /* values */

static const uint32_t *records_of(const fl_run *run, uint32_t client, size_t *count)
{
    const fl_partition *partition = &run->data.partition;
    *count = fl_partition_size(partition, client);
    return partition->indices + partition->offset[client];
}

/* Of all that a value depends on: the base as it is kept and the ids and positions of the pairs. */
static uint64_t hash_of(fl_run *run, const uint32_t *records, size_t count)
{
    const fl_pairs *pairs = run->data.pairs;
    if (run->model_hash == 0) run->model_hash = fl_model_hash(run->model);
    uint64_t hash = run->model_hash;
    for (size_t i = 0; i < count; i++) {
        int64_t lengths[FL_NUM_PARTS];
        size_t total = 0, first = fl_pair_begin(pairs, records[i], FL_PART_PROMPT);
        for (int part = 0; part < FL_NUM_PARTS; part++) {
            lengths[part] = fl_pair_length(pairs, records[i], part);
            total += (size_t)lengths[part];
        }
        hash = fl_hash(hash, lengths, sizeof lengths);
        hash = fl_hash(hash, pairs->ids + first, total * sizeof *pairs->ids);
        hash = fl_hash(hash, pairs->pos + first, total * sizeof *pairs->pos);
    }
    return hash;
}

fl_status fl_run_reference_load(fl_run *run, uint32_t client)
{
    if (!run->data.reference) return FL_OK;
    size_t count;
    const uint32_t *records = records_of(run, client, &count);
    run->reference_store.dir = run->options.run.output_dir;
    FL_TRY(fl_grow(&run->reference, &run->reference_capacity, PER_PAIR * count,
                   sizeof *run->reference));
    FL_TRY(fl_reference_load(&run->reference_store, client, hash_of(run, records, count),
                             run->reference, PER_PAIR * count));
    for (size_t i = 0; i < PER_PAIR * count; i++)
        run->data.reference[PER_PAIR * (size_t)records[i / PER_PAIR] + i % PER_PAIR] =
            run->reference[i];
    return FL_OK;
}

/* A private run has no such files: they would tell who took part, and what the base says about his
 * records. */
fl_status fl_run_reference_save(fl_run *run, uint32_t client)
{
    if (fl_privacy_is_accounted(run->privacy)) return FL_OK;
    size_t count;
    const uint32_t *records = records_of(run, client, &count);
    for (size_t i = 0; i < PER_PAIR * count; i++)
        run->reference[i] =
            run->data.reference[PER_PAIR * (size_t)records[i / PER_PAIR] + i % PER_PAIR];
    return fl_reference_save(&run->reference_store, client, hash_of(run, records, count),
                             run->reference, PER_PAIR * count);
}

void fl_run_reference_close(fl_run *run)
{
    fl_reference_store_fini(&run->reference_store);
    fl_free(run->reference);
}
