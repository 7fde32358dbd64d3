#include "fed/partition_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PREPROCESSING_SEED = 2023 };

static const fl_partition_strategy *const strategies[] = {
    &fl_partition_iid,    &fl_partition_natural,  &fl_partition_dirichlet,
    &fl_partition_domain, &fl_partition_quantity,
};

fl_status fl_partition_strategy_find(const fl_partition_strategy **out, const char *name)
{
    for (size_t i = 0; i < sizeof strategies / sizeof strategies[0]; i++)
        if (strcmp(strategies[i]->name, name) == 0) {
            *out = strategies[i];
            return FL_OK;
        }
    FL_FAIL(FL_ERR_USAGE, "split_strategy = \"%s\" is not known", name);
}

fl_record_key fl_partition_strategy_key(const fl_partition_strategy *strategy)
{
    return strategy->key;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* rows[count]: the records that are kept, in the order in which they are dealt. */
static fl_status choose_rows(uint32_t *rows, size_t count, size_t records, uint64_t seed,
                             bool keeps_order)
{
    uint32_t *first = NULL, *second = NULL;
    fl_status status = fl_alloc(&first, records, sizeof *first);
    if (status == FL_OK) status = fl_alloc(&second, count, sizeof *second);
    if (status == FL_OK) {
        fl_numpy_permutation(PREPROCESSING_SEED, (uint32_t)records, first);
        fl_numpy_permutation(seed, (uint32_t)count, second);
        for (size_t i = 0; i < count; i++)
            rows[i] = first[second[i]];
        if (keeps_order) qsort(rows, count, sizeof *rows, compare);
    }
    fl_free(first);
    fl_free(second);
    return status;
}

/* Sorts the rows by client, stably. */
static fl_status gather(fl_partition *p, const uint32_t *rows, const uint32_t *client, size_t count)
{
    size_t *next;
    FL_TRY(fl_arena_alloc(p->arena, &p->indices, count, sizeof *p->indices));
    FL_TRY(fl_arena_alloc(p->arena, &p->offset, p->num_clients + 1, sizeof *p->offset));
    FL_TRY(fl_arena_alloc(p->arena, &next, p->num_clients, sizeof *next));
    for (size_t i = 0; i < count; i++)
        p->offset[client[i] + 1]++;
    for (size_t k = 0; k < p->num_clients; k++) {
        p->offset[k + 1] += p->offset[k];
        next[k] = p->offset[k];
    }
    for (size_t i = 0; i < count; i++)
        p->indices[next[client[i]]++] = rows[i];
    return FL_OK;
}

static fl_status check_sizes(const fl_partition *p, const fl_record_groups *groups,
                             const fl_partition_strategy *strategy)
{
    for (size_t k = 0; k < p->num_clients; k++)
        FL_CHECK(fl_partition_size(p, k) > 0, FL_ERR_USAGE,
                 "client %zu%s%s has no record among those that dataset_sample keeps", k,
                 strategy->key == FL_KEY_CLIENT ? ", " : "",
                 strategy->key == FL_KEY_CLIENT ? groups->names[k] : "");
    return FL_OK;
}

/* rows and client: [job->count], scratch of the arena. */
static fl_status split(fl_partition *p, fl_partition_job *job,
                       const fl_partition_strategy *strategy)
{
    uint32_t *rows, *group, *client;
    FL_TRY(fl_arena_alloc(p->arena, &rows, job->count, sizeof *rows));
    FL_TRY(fl_arena_alloc(p->arena, &group, job->count, sizeof *group));
    FL_TRY(fl_arena_alloc(p->arena, &client, job->count, sizeof *client));
    FL_TRY(
        choose_rows(rows, job->count, job->groups->num_records, job->seed, strategy->keeps_order));
    for (size_t i = 0; i < job->count; i++)
        group[i] = job->groups->of[rows[i]];
    job->group = group;
    FL_TRY(strategy->assign(job, client));
    p->num_clients = job->num_clients;
    FL_TRY(gather(p, rows, client, job->count));
    return check_sizes(p, job->groups, strategy);
}

static fl_status count_clients(size_t *out, const fl_record_groups *groups,
                               const fl_fed_config *config, const fl_partition_strategy *strategy)
{
    bool named = strategy->key == FL_KEY_CLIENT;
    *out = config->num_clients == 0 && named ? groups->count : (size_t)config->num_clients;
    FL_CHECK(*out > 0, FL_ERR_USAGE,
             "num_clients = 0 takes the number of clients from the data, which only "
             "split_strategy = \"natural\" does");
    FL_CHECK(!named || *out == groups->count, FL_ERR_USAGE,
             "num_clients = %zu, but the data names %zu clients; num_clients = 0 takes them all",
             *out, groups->count);
    return FL_OK;
}

fl_status fl_partition_make(fl_partition *out, const fl_record_groups *groups,
                            const fl_fed_config *config, size_t dataset_sample, uint64_t seed)
{
    const fl_partition_strategy *strategy;
    fl_partition_job job = {.groups = groups, .config = config, .seed = seed};
    size_t records = groups->num_records;
    job.count = dataset_sample && dataset_sample < records ? dataset_sample : records;
    FL_TRY(fl_partition_strategy_find(&strategy, config->split_strategy));
    FL_TRY(count_clients(&job.num_clients, groups, config, strategy));
    FL_CHECK(job.count >= job.num_clients, FL_ERR_USAGE,
             "num_clients = %zu, but there are only %zu records to split (dataset_sample = %zu)",
             job.num_clients, job.count, dataset_sample);
    fl_partition partition = {0};
    fl_status status = fl_arena_create(&partition.arena);
    if (status == FL_OK) status = split(&partition, &job, strategy);
    if (status == FL_OK)
        *out = partition;
    else
        fl_partition_fini(&partition);
    return status;
}

void fl_partition_fini(fl_partition *partition)
{
    fl_arena_destroy(partition->arena);
    *partition = (fl_partition){0};
}
