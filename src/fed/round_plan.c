/* planned: who takes part in the round, and on which rank. */
#include "fed/participation.h"
#include "fed/placement.h"
#include "fed/round_internal.h"

fl_status fl_round_choose(fl_round *r, int64_t t)
{
    const fl_round_env *env = &r->env;
    if (env->privacy) return fl_privacy_choose(env->privacy, t, r->clients, &r->count);
    if (env->algorithm->choose) return env->algorithm->choose(env->fed, t, r->clients, &r->count);
    r->count = fl_participation_count(env->fed);
    return fl_participation_choose(env->fed, env->seed, t, r->clients);
}

static void write_plan(fl_round *r, bool good)
{
    int32_t *clients = r->plan + 1, *ranks = clients + r->max_clients;
    int32_t *state_rounds = ranks + r->max_clients;
    const fl_server_state *server = r->env.server;
    const float *written = server ? server->client_round.data : NULL;
    r->plan[0] = good ? (int32_t)r->count : -1;
    for (int64_t i = 0; good && i < r->count; i++) {
        clients[i] = (int32_t)r->clients[i];
        ranks[i] = r->rank_of[i];
        state_rounds[i] = written ? (int32_t)written[r->clients[i]] : 0;
    }
}

static void read_plan(fl_round *r)
{
    const int32_t *clients = r->plan + 1, *ranks = clients + r->max_clients;
    const int32_t *state_rounds = ranks + r->max_clients;
    uint64_t total = 0;
    r->count = r->plan[0];
    for (int64_t i = 0; i < r->count; i++) {
        r->clients[i] = (uint32_t)clients[i];
        r->rank_of[i] = ranks[i];
        r->state_round[i] = state_rounds[i];
        total += fl_round_weight(r, r->clients[i]);
    }
    r->grid = r->env.privacy ? fl_privacy_grid(r->env.privacy) : fl_update_grid(total);
    r->extra_grid = fl_update_grid((uint64_t)r->count);
}

fl_status fl_round_plan(fl_round *r, int64_t t)
{
    const fl_round_env *env = &r->env;
    fl_status status = FL_OK;
    if (fl_transport_rank(env->transport) == 0) {
        status = fl_round_choose(r, t);
        for (int64_t i = 0; status == FL_OK && i < r->count; i++)
            r->cost[i] = env->cost[r->clients[i]];
        if (status == FL_OK)
            fl_placement_assign(r->cost, (size_t)r->count, fl_transport_size(env->transport),
                                r->load, r->rank_of);
        write_plan(r, status == FL_OK);
    }
    FL_TRY(fl_transport_bcast(env->transport, 0, r->plan,
                              (1 + 3 * (size_t)r->max_clients) * sizeof *r->plan));
    if (r->plan[0] < 0)
        return status != FL_OK ? status : fl_fail(FL_ERR_INTERNAL, "rank 0 has no plan");
    read_plan(r);
    return FL_OK;
}
