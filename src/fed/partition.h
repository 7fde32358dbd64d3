/* The split of a data set over the clients.
 *
 * All strategies start from the reference's preprocessing (openfedllm.md 2.3): a shuffle with the
 * constant seed 2023, the first min(n, dataset_sample) records (0: all), a shuffle with `seed`.  A
 * strategy then says for each of these rows whose it is; the rows of a client stay in that order.
 * Every client gets at least one record, or the split is refused.
 *
 * To add a strategy: one file (copy partition_domain.c), one line in partition.c, its word in
 * fed_config.c.
 *
 * Use: fl_partition_strategy_find, fl_record_groups_make, fl_partition_make, fl_partition_fini.
 */
#ifndef FL_FED_PARTITION_H
#define FL_FED_PARTITION_H

#include "base/mem.h"
#include "data/dataset.h"
#include "fed/fed_config.h"

typedef struct fl_partition {
    uint32_t *indices; /* records, client by client, in each client's order */
    size_t *offset;    /* [num_clients + 1] client k has indices[offset[k]] .. */
    size_t num_clients;
    fl_arena *arena;
} fl_partition;

/* What a strategy wants to know of a record. */
typedef enum fl_record_key { FL_KEY_NONE, FL_KEY_LABEL, FL_KEY_CLIENT } fl_record_key;

/* Records with the same text under a key, numbered in the order in which the texts first come. */
typedef struct fl_record_groups {
    uint32_t *of;       /* [num_records] the record's group */
    const char **names; /* [count] borrowed from the data set */
    size_t count;
    size_t num_records;
    fl_arena *arena;
} fl_record_groups;

/* With FL_KEY_NONE one group without a name.  `where` names the data, `field` the field, in errors:
 * FL_ERR_INPUT when a record has no text under the key; FL_ERR_UNSUPPORTED for more than 2^32 - 1
 * records. */
fl_status fl_record_groups_make(fl_record_groups *out, const fl_dataset *dataset, fl_record_key key,
                                const char *where, const char *field);
void fl_record_groups_fini(fl_record_groups *groups); /* accepts a zeroed struct */

typedef struct fl_partition_strategy fl_partition_strategy;

/* Errors: FL_ERR_USAGE with the list of names. */
fl_status fl_partition_strategy_find(const fl_partition_strategy **out, const char *name);
fl_record_key fl_partition_strategy_key(const fl_partition_strategy *strategy);

/* A function of the groups, of dataset_sample, seed and of config's split_strategy, num_clients and
 * alphas.  num_clients = 0: as many as the data names, with "natural".  Errors: FL_ERR_USAGE when a
 * client would have no record, or num_clients does not fit the data. */
fl_status fl_partition_make(fl_partition *out, const fl_record_groups *groups,
                            const fl_fed_config *config, size_t dataset_sample, uint64_t seed);
void fl_partition_fini(fl_partition *partition); /* accepts a zeroed struct */

static inline size_t fl_partition_size(const fl_partition *partition, size_t client)
{
    return partition->offset[client + 1] - partition->offset[client];
}

#endif
