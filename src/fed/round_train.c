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
    if (!r->method->client) return FL_OK;
    return fl_own_factor_load(&r->own, r->clients[i], r->state_round[i], r->start);
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

static fl_status save_state(fl_round *r, int64_t t, uint32_t client)
{
    if (r->method->client) FL_TRY(fl_own_factor_save(&r->own, client, t + 1, r->y));
    return r->side ? fl_client_side_save(r->side, t + 1) : FL_OK;
}

/* Adds what the client sends to the sums of this rank: all of it, or nothing and the fault. */
static fl_status take_update(fl_round *r, int64_t t, uint32_t client, const fl_local_result *local,
                             fl_update_fault *fault)
{
    const fl_params *global = r->env.global;
    const float *extra = NULL;
    double scale = 1.0;
    *fault = local->finite ? FL_UPDATE_FINE : FL_UPDATE_NOT_FINITE;
    if (local->finite && r->side) scale = fl_client_side_finish(r->side, r->y, local, &extra);
    if (extra) *fault = fl_update_check(NULL, extra, global->count);
    if (local->finite && r->env.privacy)
        scale *= fl_privacy_clip(r->env.privacy, start_of(r), r->y, global->count);
    if (*fault == FL_UPDATE_FINE && r->method->aggregate)
        *fault = fl_update_check(start_of(r), r->y, global->count);
    else if (*fault == FL_UPDATE_FINE)
        *fault = fl_sent_add(&r->sent, r->sum, start_of(r), r->y,
                             (double)fl_round_weight(r, client) * scale, r->grid);
    if (*fault != FL_UPDATE_FINE) return FL_OK;
    FL_TRY(fl_lora_server_take(&r->lora, &r->sent, r->y));
    if (extra) fl_sent_add(&r->sent, r->extra, NULL, extra, 1.0, r->extra_grid);
    return save_state(r, t, client);
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
                             r->side ? fl_client_side_hooks(r->side) : NULL, start_of(r), r->y,
                             &local));
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
    memset(r->sum, 0, r->env.global->count * sizeof *r->sum);
    if (r->extra) memset(r->extra, 0, r->env.global->count * sizeof *r->extra);
    for (int64_t i = 0; i < r->max_clients; i++)
        r->reports[i].client = -1;
    int64_t mine = 0;
    for (int64_t i = 0; i < r->count; i++)
        if (r->rank_of[i] == fl_transport_rank(r->env.transport))
            FL_TRY(train_one(r, t, learning_rate, i, &r->reports[mine++]));
    return FL_OK;
}
