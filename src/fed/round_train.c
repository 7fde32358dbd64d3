/* training: the clients of this rank, one after the other. */
#include "base/clock.h"
#include "base/log.h"
#include "fed/round_internal.h"

#include <string.h>

/* What client i starts from. */
static fl_status start_client(fl_round *r, int64_t i)
{
    if (!r->start) return FL_OK;
    memcpy(r->start, r->env.global->data, r->env.global->count * sizeof *r->start);
    if (fl_round_has_ranks(r))
        fl_client_factors_start(r->start, r->env.global, r->env.lora, r->clients[i]);
    if (r->method->client)
        FL_TRY(fl_own_factor_load(&r->own, r->clients[i], r->state_round[i], r->start));
    fl_client_vectors_start(&r->vectors, r->start);
    return FL_OK;
}

static const float *start_of(const fl_round *r)
{
    return r->start ? r->start : r->env.global->data;
}

static fl_status begin_client(fl_round *r, int64_t i, double learning_rate)
{
    if (!r->side) return FL_OK;
    const fl_params *sent = fl_round_sent_state(r);
    fl_client_start start = {.client = r->clients[i],
                             .state_round = r->state_round[i],
                             .learning_rate = learning_rate,
                             .received = start_of(r),
                             .sent = sent ? sent->data : NULL};
    return fl_client_side_begin(r->side, &start);
}

/* y: its result in host memory. */
static fl_status save_state(fl_round *r, int64_t t, uint32_t client, const float *y)
{
    if (r->method->client) FL_TRY(fl_own_factor_save(&r->own, client, t + 1, y));
    return r->side ? fl_client_side_save(r->side, t + 1) : FL_OK;
}

/* Adds the client's change, times `weight`, to the sum of this rank if it is usable; where the
 * method works on single clients' factors there is no sum. */
static fl_update_fault add_update(fl_round *r, double weight)
{
    const fl_client_vectors *v = &r->vectors;
    if (r->method->aggregate) return fl_update_check(v->ops, v->start, v->y, v->count);
    return fl_sent_add(&r->sent, v->ops, r->sums.mine[FL_SUM_UPDATES], v->start, v->y, weight,
                       r->grid);
}

/* Adds what the client sends to the sums of this rank: all of it, or nothing and the fault. */
static fl_status take_update(fl_round *r, int64_t t, uint32_t client, const fl_local_result *local,
                             fl_update_fault *fault)
{
    fl_client_vectors *v = &r->vectors;
    const float *y = NULL, *extra = NULL;
    double scale = 1.0;
    *fault = FL_UPDATE_NOT_FINITE;
    if (!local->finite) return FL_OK;
    if (fl_round_reads_results(r)) y = fl_client_vectors_result(v);
    if (r->side) scale = fl_client_side_finish(r->side, y, local, &extra);
    if (r->env.privacy) scale *= fl_privacy_clip(r->env.privacy, start_of(r), y, v->count);
    if (extra) extra = fl_client_vectors_extra(v, extra);
    *fault = extra ? fl_update_check(v->ops, NULL, extra, v->count) : FL_UPDATE_FINE;
    if (*fault == FL_UPDATE_FINE)
        *fault = add_update(r, (double)fl_round_weight(r, client) * scale);
    if (*fault != FL_UPDATE_FINE) return FL_OK;
    FL_TRY(fl_lora_server_take(&r->lora, &r->sent, y));
    if (extra)
        fl_sent_add(&r->sent, v->ops, r->sums.mine[FL_SUM_EXTRA], NULL, extra, 1.0, r->extra_grid);
    return save_state(r, t, client, y);
}

/* Client i of the round. */
static fl_status train_one(fl_round *r, int64_t t, double learning_rate, int64_t i,
                           fl_client_report *report)
{
    const fl_round_env *env = &r->env;
    uint32_t client = r->clients[i];
    double start = fl_clock_seconds();
    fl_local_result local = {0};
    fl_update_fault fault;
    FL_TRY(start_client(r, i));
    FL_TRY(begin_client(r, i, learning_rate));
    FL_TRY(env->train_client(env->context, t, client, learning_rate,
                             r->side ? fl_client_side_hooks(r->side) : NULL, r->vectors.start,
                             r->vectors.y, &local));
    FL_TRY(take_update(r, t, client, &local, &fault));
    *report = (fl_client_report){.client = client,
                                 .rank = fl_transport_rank(env->transport),
                                 .samples = (int64_t)env->weight[client],
                                 .tokens = local.tokens,
                                 .steps = local.steps,
                                 .updates = local.updates,
                                 .reference_needed = local.reference_needed,
                                 .reference_made = local.reference_made,
                                 .loss = local.loss,
                                 .grad_norm = local.grad_norm,
                                 .seconds = fl_clock_seconds() - start,
                                 .fault = fault};
    memcpy(report->measures, local.measures, sizeof report->measures);
    if (fault != FL_UPDATE_FINE && !fl_privacy_is_accounted(env->privacy))
        FL_WARN("round %lld: the update of client %u is %s after step %lld; it is left out",
                (long long)t + 1, client, fl_update_fault_text(fault), (long long)local.steps);
    return FL_OK;
}

fl_status fl_round_train(fl_round *r, int64_t t, double learning_rate)
{
    fl_sums_clear(&r->sums);
    if (fl_round_hosts(r) && !r->start) fl_client_vectors_start(&r->vectors, r->env.global->data);
    for (int64_t i = 0; i < r->max_clients; i++)
        r->reports[i].client = -1;
    int64_t mine = 0;
    for (int64_t i = 0; i < r->count; i++)
        if (r->rank_of[i] == fl_transport_rank(r->env.transport))
            FL_TRY(train_one(r, t, learning_rate, i, &r->reports[mine++]));
    return fl_round_hosts(r) ? r->env.ops->status() : FL_OK;
}
