/* What the strategies of a split fill in; for partition*.c only. */
#ifndef FL_FED_PARTITION_INTERNAL_H
#define FL_FED_PARTITION_INTERNAL_H

#include "base/rng.h"
#include "fed/partition.h"

/* Rows are the records that are kept, in the order of the shuffle. */
typedef struct fl_partition_job {
    const uint32_t *group; /* [count] of each row */
    size_t count;
    const fl_record_groups *groups; /* num_records and of[] are those of all records, not rows */
    const fl_fed_config *config;
    size_t num_clients; /* 1 to count */
    uint64_t seed;
} fl_partition_job;

struct fl_partition_strategy {
    const char *name;
    fl_record_key key;
    bool keeps_order; /* rows come in the order of the file, not shuffled */
    /* Whose is each row?  client: [count], zeros. */
    fl_status (*assign)(const fl_partition_job *job, uint32_t *client);
};

extern const fl_partition_strategy fl_partition_iid, fl_partition_natural, fl_partition_dirichlet,
    fl_partition_domain, fl_partition_quantity;

/* Cuts 0 .. total in `parts` pieces with shares drawn from a symmetric Dirichlet distribution:
 * piece k ends before end[k], rounded down; end[parts - 1] = total.  share: [parts] scratch. */
void fl_dirichlet_cut(fl_rng *rng, double alpha, size_t parts, size_t total, double *share,
                      size_t *end);

#endif
