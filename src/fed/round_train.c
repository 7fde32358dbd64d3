/* training: the clients of this rank, some at a time, each group in one pass over the base. */
#include "base/clock.h"
#include "base/log.h"
#include "fed/round_internal.h"

#include <string.h>

static uint32_t client_of(const fl_round *r, const fl_round_slot *slot)
{
    return r->clients[slot->i];
}

/* What the client of this slot starts from. */
static fl_status start_client(fl_round *r, fl_round_slot *slot)
{
    uint32_t client = client_of(r, slot);
    if (!slot->start) return FL_OK;
    memcpy(slot->start, r->env.global->data, r->env.global->count * sizeof *slot->start);
    if (fl_round_has_ranks(r))
        fl_client_factors_start(slot->start, r->env.global, r->env.lora, client);
    if (r->method->client)
        FL_TRY(fl_own_factor_load(&r->own, client, r->state_round[slot->i], slot->start));
    fl_client_vectors_start(&slot->vectors, slot->start);
    return FL_OK;
}

static const float *start_of(const fl_round *r, const fl_round_slot *slot)
{
    return slot->start ? slot->start : r->env.global->data;
}

static fl_status begin_side(fl_round *r, fl_round_slot *slot, double learning_rate)
{
    if (!slot->side) return FL_OK;
    const fl_params *sent = fl_round_sent_state(r);
    fl_client_start start = {.client = client_of(r, slot),
                             .state_round = r->state_round[slot->i],
                             .learning_rate = learning_rate,
                             .received = start_of(r, slot),
                             .sent = sent ? sent->data : NULL};
    return fl_client_side_begin(slot->side, &start);
}

static fl_status begin_client(fl_round *r, fl_round_slot *slot, double learning_rate,
                              fl_client_task *task)
{
    FL_TRY(start_client(r, slot));
    FL_TRY(begin_side(r, slot, learning_rate));
    *task = (fl_client_task){.client = client_of(r, slot),
                             .hooks = slot->side ? fl_client_side_hooks(slot->side) : NULL,
                             .w = slot->vectors.start,
                             .y = slot->vectors.y};
    return FL_OK;
}

/* y: its result in host memory. */
static fl_status save_state(fl_round *r, int64_t t, const fl_round_slot *slot, const float *y)
{
    if (r->method->client) FL_TRY(fl_own_factor_save(&r->own, client_of(r, slot), t + 1, y));
    return slot->side ? fl_client_side_save(slot->side, t + 1) : FL_OK;
}

/* Adds the client's change, times `weight`, to the sum of this rank if it is usable; where the
 * method works on single clients' factors there is no sum. */
static fl_update_fault add_update(fl_round *r, const fl_client_vectors *v, double weight)
{
    if (r->method->aggregate) return fl_update_check(v->ops, v->start, v->y, v->count);
    return fl_sent_add(&r->sent, v->ops, r->sums.mine[FL_SUM_UPDATES], v->start, v->y, weight,
                       r->grid);
}

/* Adds what the client sends to the sums of this rank: all of it, or nothing and the fault. */
static fl_status take_update(fl_round *r, int64_t t, fl_round_slot *slot,
                             const fl_local_result *local, fl_update_fault *fault)
{
    fl_client_vectors *v = &slot->vectors;
    const float *y = NULL, *extra = NULL;
    double scale = 1.0;
    *fault = FL_UPDATE_NOT_FINITE;
    if (!local->finite) return FL_OK;
    if (fl_round_reads_results(r)) y = fl_client_vectors_result(v);
    if (slot->side) scale = fl_client_side_finish(slot->side, y, local, &extra);
    if (r->env.privacy) scale *= fl_privacy_clip(r->env.privacy, start_of(r, slot), y, v->count);
    if (extra) extra = fl_client_vectors_extra(v, extra);
    *fault = extra ? fl_update_check(v->ops, NULL, extra, v->count) : FL_UPDATE_FINE;
    if (*fault == FL_UPDATE_FINE)
        *fault = add_update(r, v, (double)fl_round_weight(r, client_of(r, slot)) * scale);
    if (*fault != FL_UPDATE_FINE) return FL_OK;
    FL_TRY(fl_lora_server_take(&r->lora, &r->sent, y));
    if (extra)
        fl_sent_add(&r->sent, v->ops, r->sums.mine[FL_SUM_EXTRA], NULL, extra, 1.0, r->extra_grid);
    return save_state(r, t, slot, y);
}

static fl_client_report report_of(const fl_round *r, const fl_client_task *task,
                                  fl_update_fault fault)
{
    const fl_local_result *local = &task->result;
    fl_client_report report = {.client = task->client,
                               .rank = fl_transport_rank(r->env.transport),
                               .samples = (int64_t)r->env.weight[task->client],
                               .tokens = local->tokens,
                               .steps = local->steps,
                               .updates = local->updates,
                               .reference_needed = local->reference_needed,
                               .reference_made = local->reference_made,
                               .loss = local->loss,
                               .grad_norm = local->grad_norm,
                               .fault = fault};
    memcpy(report.measures, local->measures, sizeof report.measures);
    return report;
}

/* Each client has the share of the time that its tokens have in the group's. */
static void share_time(fl_client_report *reports, size_t count, double seconds)
{
    double tokens = 0;
    for (size_t c = 0; c < count; c++)
        tokens += (double)reports[c].tokens;
    for (size_t c = 0; c < count; c++)
        reports[c].seconds =
            seconds * (tokens > 0 ? (double)reports[c].tokens / tokens : 1 / (double)count);
}

/* The clients of the first `count` slots. */
static fl_status train_group(fl_round *r, int64_t t, double learning_rate, size_t count,
                             fl_client_report *reports)
{
    const fl_round_env *env = &r->env;
    double start = fl_clock_seconds();
    for (size_t c = 0; c < count; c++)
        FL_TRY(begin_client(r, &r->slots[c], learning_rate, &r->tasks[c]));
    FL_TRY(env->train_clients(env->context, t, learning_rate, r->tasks, count));
    for (size_t c = 0; c < count; c++) {
        const fl_client_task *task = &r->tasks[c];
        fl_update_fault fault;
        FL_TRY(take_update(r, t, &r->slots[c], &task->result, &fault));
        reports[c] = report_of(r, task, fault);
        if (fault != FL_UPDATE_FINE && !fl_privacy_is_accounted(env->privacy))
            FL_WARN("round %lld: the update of client %u is %s after step %lld; it is left out",
                    (long long)t + 1, task->client, fl_update_fault_text(fault),
                    (long long)task->result.steps);
    }
    share_time(reports, count, fl_clock_seconds() - start);
    return FL_OK;
}

/* The next clients of this rank, from number *i of the round on, into the slots. */
static size_t fill_slots(fl_round *r, int64_t *i)
{
    size_t count = 0;
    for (; *i < r->count && count < r->num_slots; ++*i)
        if (r->rank_of[*i] == fl_transport_rank(r->env.transport)) r->slots[count++].i = *i;
    return count;
}

fl_status fl_round_train(fl_round *r, int64_t t, double learning_rate)
{
    fl_sums_clear(&r->sums);
    for (int64_t i = 0; i < r->max_clients; i++)
        r->reports[i].client = -1;
    if (!fl_round_hosts(r)) return FL_OK;
    for (size_t c = 0; c < r->num_slots; c++)
        if (!r->slots[c].start) fl_client_vectors_start(&r->slots[c].vectors, r->env.global->data);
    fl_client_report *reports = r->reports;
    int64_t i = 0;
    for (size_t count; (count = fill_slots(r, &i)) > 0; reports += count)
        FL_TRY(train_group(r, t, learning_rate, count, reports));
    return r->env.ops->status();
}
