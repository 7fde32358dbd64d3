/* aggregated: from what the clients sent to the new adapter. */
#include "base/log.h"
#include "fed/participation.h"
#include "fed/round_internal.h"

#include <math.h>
#include <stdlib.h>

/* The usable ones of these clients, to kept; returns how many. */
static size_t list_kept(fl_round *r, const fl_client_report *reports, int64_t count)
{
    size_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        const fl_client_report *report = &reports[i];
        if (report->client < 0 || report->fault != FL_UPDATE_FINE) continue;
        uint32_t client = (uint32_t)report->client;
        r->kept[kept++] = (fl_kept_client){.client = client,
                                           .rank = (int)report->rank,
                                           .weight = (double)fl_round_weight(r, client)};
    }
    return kept;
}

static int compare_clients(const void *a, const void *b)
{
    const fl_client_report *x = a, *y = b;
    return (x->client > y->client) - (x->client < y->client);
}

void fl_round_summarise(fl_round *r, fl_round_result *result)
{
    size_t size = (size_t)fl_transport_size(r->env.transport), used = 0;
    for (size_t i = 0; i < size * (size_t)r->max_clients; i++)
        if (r->all_reports[i].client >= 0) r->all_reports[used++] = r->all_reports[i];
    qsort(r->all_reports, used, sizeof *r->all_reports, compare_clients);
    uint64_t with_loss = 0;
    for (size_t i = 0; i < used; i++) {
        const fl_client_report *report = &r->all_reports[i];
        result->tokens += report->tokens;
        if (report->fault != FL_UPDATE_FINE) continue;
        result->num_answered++;
        if (!isfinite(report->loss)) continue;
        result->loss += (double)report->samples * report->loss;
        for (int m = 0; m < FL_MAX_MEASURES; m++)
            result->measures[m] += (double)report->samples * report->measures[m];
        with_loss += (uint64_t)report->samples;
    }
    for (size_t i = 0; i < size; i++) {
        const fl_rank_report *rank = &r->all_ranks[i];
        result->seconds_train = fmax(result->seconds_train, rank->seconds_train);
        if (rank->peak_memory > result->peak_memory) result->peak_memory = rank->peak_memory;
    }
    result->num_clients = (int64_t)used;
    result->reports = r->all_reports;
    result->loss = with_loss ? result->loss / (double)with_loss : NAN;
    for (int m = 0; m < FL_MAX_MEASURES; m++)
        result->measures[m] = with_loss ? result->measures[m] / (double)with_loss : NAN;
}

/* With privacy the mean is that of the clients expected, not of those that came: one that joins
 * must not change how much the others count. */
static void take_expected(const fl_fed_config *fed, fl_aggregation *a)
{
    a->clients = (uint64_t)fl_participation_count(fed);
    a->update.total_weight = a->clients;
}

/* The sums and what goes with them; notes which clients' new states count from now on. */
static fl_aggregation gather(fl_round *r, const fl_round_result *result)
{
    const fl_round_env *env = &r->env;
    fl_aggregation a = {.config = env->fed,
                        .round = result->round,
                        .global = env->global,
                        .server = env->server ? env->server->states : NULL,
                        .update = {.sum = r->sums.total[FL_SUM_UPDATES], .grid = r->grid},
                        .extra = {.sum = r->sums.total[FL_SUM_EXTRA], .grid = r->extra_grid},
                        .clients = (uint64_t)result->num_answered};
    a.extra.total_weight = a.clients;
    double steps = 0;
    for (int64_t i = 0; i < result->num_clients; i++) {
        const fl_client_report *report = &result->reports[i];
        if (report->fault != FL_UPDATE_FINE) continue;
        uint64_t weight = fl_round_weight(r, (uint32_t)report->client);
        a.update.total_weight += weight;
        steps += (double)weight * (double)report->updates;
        if (env->algorithm->client || r->method->client)
            env->server->client_round.data[report->client] = (float)(result->round + 1);
    }
    if (a.clients) a.mean_steps = steps / (double)a.update.total_weight;
    if (env->privacy) take_expected(env->fed, &a);
    return a;
}

fl_status fl_round_aggregate(fl_round *r, fl_round_result *result)
{
    const fl_privacy *privacy = r->env.privacy;
    size_t kept = list_kept(r, result->reports, result->num_clients);
    FL_TRY(fl_lora_server_collect(&r->lora, &r->sent, result->round, r->kept, kept));
    if (privacy)
        fl_privacy_add_noise(privacy, result->round, r->sums.total[FL_SUM_UPDATES],
                             r->sent.up_count);
    if (!privacy && result->num_answered == 0) {
        FL_WARN("round %lld: no client returned a usable update; the adapter stays as it is",
                (long long)result->round + 1);
        return FL_OK;
    }
    fl_aggregation sums = gather(r, result);
    if (r->method->aggregate)
        FL_TRY(fl_lora_server_aggregate(&r->lora, result->round));
    else
        fl_sent_aggregate(&r->sent, r->env.algorithm, &sums,
                          r->env.server ? r->env.server->num_states : 0);
    return fl_lora_server_figures(&r->lora, &result->lora);
}

void fl_round_count_bytes(const fl_round *r, fl_round_result *result)
{
    int size = fl_transport_size(r->env.transport);
    uint64_t hosts = size > 1 ? (uint64_t)size - 1 : 0;
    uint64_t single = hosts ? (uint64_t)result->num_answered * r->sent.up_count * sizeof(float) : 0;
    size_t down = r->sent.down_count + (fl_round_sent_state(r) ? r->sent.up_count : 0) +
                  fl_lora_server_change_count(&r->lora);
    result->bytes_down = hosts * down * sizeof(float);
    result->bytes_up = hosts * r->sent.up_count * sizeof(int64_t) * (size_t)r->sums.num_sums;
    if (r->method->aggregate)
        result->bytes_up = single;
    else if (r->lora.figures)
        result->bytes_figures = single;
}

fl_status fl_round_send_factors(fl_round *r, int64_t t)
{
    return fl_lora_server_collect(&r->lora, &r->sent, t, r->kept,
                                  list_kept(r, r->reports, r->max_clients));
}
