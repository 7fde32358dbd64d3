/* Local training of several clients in lock-step. */
#include "train/trainer_internal.h"

#include <math.h>
#include <string.h>

/* ---- a client's examples -------------------------------------------------------------------- */

/* The next micro-batch's examples: draw order first, then a new shuffle for every pass; the last of
 * a pass may be short, none is dropped. */
static size_t next_examples(const fl_trainer *t, fl_train_slot *s, const uint32_t **picked)
{
    const fl_local_job *job = s->job;
    if (s->next == job->count) {
        fl_rng rng = fl_rng_make((uint64_t)t->config->seed, FL_PURPOSE_ORDER, job->round,
                                 job->client, ++s->pass, 0);
        fl_rng_shuffle(&rng, s->order, job->count);
        s->next = 0;
    }
    size_t left = job->count - s->next, size = (size_t)t->config->batch_size;
    size_t count = left < size ? left : size;
    *picked = s->order + s->next;
    s->next += count;
    return count;
}

/* Adds the client's next micro-batch to the batch, unless no token of it counts. */
static fl_status pack_client(fl_trainer *t, size_t c, uint64_t micro_step)
{
    fl_train_slot *s = &t->slots[c];
    fl_micro_part *part = &t->parts[c];
    *part = (fl_micro_part){.data = &s->job->data, .measures = s->all.measures};
    if (!s->result->finite) return FL_OK;
    part->count = next_examples(t, s, &part->picked);
    fl_batch_end begin = fl_batch_here(&t->batch);
    FL_TRY(t->objective->pack(&t->batch, part));
    s->result->tokens += t->batch.T - begin.T;
    if (t->batch.N == begin.N) {
        fl_batch_cut(&t->batch, &begin);
        part->count = 0;
    }
    t->keys[c] = (fl_dropout_keys){.seed = (uint64_t)t->config->seed,
                                   .round = s->job->round,
                                   .client = s->job->client,
                                   .step = micro_step};
    return FL_OK;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* One pass over the base: a micro-batch of every client. */
static fl_status run_pass(fl_trainer *t, size_t clients, uint64_t micro_step)
{
    fl_micro_batch micro = fl_trainer_micro(t, clients);
    micro.keys = t->keys;
    for (size_t c = 0; c < clients; c++) {
        FL_TRY(pack_client(t, c, micro_step));
        t->first[c + 1] = (int32_t)t->batch.T;
    }
    if (t->batch.N == 0) return FL_OK;
    FL_TRY(t->objective->gradient(&micro));
    for (size_t c = 0; c < clients; c++) {
        fl_train_slot *s = &t->slots[c];
        if (t->parts[c].count == 0) continue;
        s->step.loss += t->loss[c];
        s->step.counted++;
        s->all.examples += t->parts[c].count;
    }
    return FL_OK;
}

/* `step` from 0 */
static void end_step(fl_trainer *t, fl_train_slot *s, int64_t step)
{
    s->result->steps++;
    if (s->step.counted == 0) return; /* nothing to learn from in this step */
    double loss = s->step.loss / (double)s->step.counted;
    s->result->grad_norm = fl_trainer_finish_step(t, s, step + 1, &loss);
    s->result->updates++;
    s->result->finite = isfinite(loss) && isfinite(s->result->grad_norm);
    if (s->job->losses) s->job->losses[step] = loss;
    s->all.loss += loss;
    s->all.counted++;
}

static fl_status run_step(fl_trainer *t, size_t clients, int64_t step)
{
    int64_t micro_steps = t->config->gradient_accumulation_steps;
    t->ops->zero(t->slots[0].grads, clients * t->stride * sizeof(float));
    for (size_t c = 0; c < clients; c++)
        t->slots[c].step = (fl_loss_sum){0};
    for (int64_t i = 0; i < micro_steps; i++)
        FL_TRY(run_pass(t, clients, (uint64_t)(step * micro_steps + i)));
    for (size_t c = 0; c < clients; c++)
        if (t->slots[c].result->finite) end_step(t, &t->slots[c], step);
    return FL_OK;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static fl_status check_jobs(const fl_trainer *t, const fl_local_job *jobs, size_t count)
{
    FL_CHECK(count >= 1 && count <= t->num_slots, FL_ERR_INTERNAL,
             "%zu clients at once in a plan of %zu", count, t->num_slots);
    for (size_t c = 0; c < count; c++) {
        FL_CHECK(jobs[c].count >= 1 && jobs[c].count <= t->order_capacity, FL_ERR_INTERNAL,
                 "client %llu has %zu examples for a plan of %zu",
                 (unsigned long long)jobs[c].client, jobs[c].count, t->order_capacity);
        FL_CHECK(jobs[c].frozen == jobs[0].frozen, FL_ERR_INTERNAL,
                 "clients that train at once have other factors frozen");
    }
    return FL_OK;
}

/* References first, which use the first slot's memory. */
static fl_status begin_jobs(fl_trainer *t, const fl_local_job *jobs, size_t count,
                            fl_local_result *results)
{
    FL_TRY(check_jobs(t, jobs, count));
    for (size_t c = 0; c < count; c++) {
        const fl_local_job *job = &jobs[c];
        results[c] = (fl_local_result){.finite = true};
        FL_TRY(fl_trainer_prepare_reference(t, &job->data, job->indices, job->count, &results[c]));
    }
    for (size_t c = 0; c < count; c++) {
        fl_train_slot *s = &t->slots[c];
        s->job = &jobs[c];
        s->result = &results[c];
        s->pass = s->next = 0;
        s->all = (fl_loss_sum){0};
        memcpy(s->order, jobs[c].indices, jobs[c].count * sizeof *s->order);
        t->ops->zero(s->m, t->count * sizeof *s->m);
        t->ops->zero(s->v, t->count * sizeof *s->v);
        t->factor[c] = jobs[c].scale > 0 ? jobs[c].scale : 1;
    }
    fl_decoder_freeze(t->decoder, jobs[0].frozen);
    fl_trainer_use_adapters(t, count);
    return FL_OK;
}

static void end_job(const fl_train_slot *s)
{
    const fl_loss_sum *all = &s->all;
    s->result->loss = all->counted ? all->loss / (double)all->counted : NAN;
    for (int i = 0; i < FL_MAX_MEASURES; i++)
        s->result->measures[i] = all->examples ? all->measures[i] / (double)all->examples : NAN;
}

static bool any_runs(const fl_local_result *results, size_t count)
{
    for (size_t c = 0; c < count; c++)
        if (results[c].finite) return true;
    return false;
}

fl_status fl_trainer_run_many(fl_trainer *t, const fl_local_job *jobs, size_t count,
                              fl_local_result *results)
{
    FL_TRY(begin_jobs(t, jobs, count, results));
    for (int64_t step = 0; step < t->config->max_steps && any_runs(results, count); step++)
        FL_TRY(run_step(t, count, step));
    for (size_t c = 0; c < count; c++)
        end_job(&t->slots[c]);
    return t->ops->status();
}

fl_status fl_trainer_run(fl_trainer *t, const fl_local_job *job, fl_local_result *result)
{
    return fl_trainer_run_many(t, job, 1, result);
}
