/* Local training of a run's clients: which records, from which adapter, with which reference. */
#include "app/run.h"
#include "fed/participation.h"

size_t fl_run_examples(const fl_train_config *c, size_t client_size)
{
    size_t wanted = client_size;
    size_t steps = (size_t)c->max_steps, micro = (size_t)c->gradient_accumulation_steps;
    size_t product;
    if (fl_mul_size((size_t)c->batch_size * micro, steps, &product) && product < wanted)
        wanted = product;
    return wanted;
}

/* The records of a client's round, into the place of slot `slot`. */
static fl_status choose_records(fl_run *run, int64_t round, uint32_t client, size_t slot,
                                fl_local_job *job)
{
    const fl_options *o = &run->options;
    const fl_partition *partition = &run->data.partition;
    size_t size = fl_partition_size(partition, client), count = fl_run_examples(&o->train, size);
    FL_TRY(fl_participation_records(&o->fed, (uint64_t)o->train.seed, round, client, (uint32_t)size,
                                    (uint32_t)count, run->positions));
    uint32_t *chosen = run->records + slot * run->most_examples;
    for (size_t i = 0; i < count; i++)
        chosen[i] = partition->indices[partition->offset[client] + run->positions[i]];
    job->indices = chosen;
    job->count = count;
    return FL_OK;
}

static fl_status begin(fl_run *run, int64_t round, double learning_rate, const fl_client_task *task,
                       size_t slot)
{
    uint32_t client = task->client;
    fl_local_job *job = &run->jobs[slot];
    *job = (fl_local_job){.data = fl_run_data_train(&run->data, run->ops),
                          .learning_rate = learning_rate,
                          .round = (uint64_t)round,
                          .client = client,
                          .hooks = task->hooks,
                          .scale = run->client_factor ? run->client_factor[client] : 1,
                          .frozen = FL_FACTORS & ~fl_lora_trained(run->method, round)};
    FL_TRY(choose_records(run, round, client, slot, job));
    FL_TRY(fl_run_reference_load(run, client));
    fl_trainer_load_adapter(run->trainer, slot, task->w);
    return FL_OK;
}

fl_status fl_run_train_clients(void *context, int64_t round, double learning_rate,
                               fl_client_task *tasks, size_t count)
{
    fl_run *run = context;
    for (size_t c = 0; c < count; c++)
        FL_TRY(begin(run, round, learning_rate, &tasks[c], c));
    FL_TRY(fl_trainer_run_many(run->trainer, run->jobs, count, run->results));
    for (size_t c = 0; c < count; c++) {
        tasks[c].result = run->results[c];
        fl_trainer_store_adapter(run->trainer, c, tasks[c].y);
        if (tasks[c].result.reference_made) FL_TRY(fl_run_reference_save(run, tasks[c].client));
    }
    return FL_OK;
}
