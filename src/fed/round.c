/* The round, as every rank runs it:
 *
 *   planned ----> broadcast ----> training ----> reducing ----> aggregated
 *   make_plan     send_global     train_mine     collect        aggregate
 *   (rank 0)      (all)           (hosts)        (all)          (rank 0)
 *
 * then the caller evaluates and saves (app/run.c).
 *
 * 1. After make_plan every rank knows the round's clients, their ranks and the grids of the sums.
 * 2. After send_global every rank has the same global adapter, bit for bit, and the same server
 *    state where clients need it.
 * 3. train_mine touches only this rank's buffers and its clients' states on the disk; it sends
 *    nothing.
 * 4. collect adds integers, so the sum is the same for any placement and any order.
 * 5. Only aggregate changes the global adapter and the server states, and only on rank 0.
 * 6. A client's state of round t is used only after aggregate has noted that it was kept; before
 *    that its previous one is the truth, and still on the disk.
 */
#include "fed/round.h"

#include "base/clock.h"
#include "base/log.h"
#include "fed/agree.h"
#include "fed/client.h"
#include "fed/participation.h"
#include "fed/placement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct rank_report {
    double seconds_train;
    uint64_t peak_memory;
} rank_report;

struct fl_round {
    fl_round_env env;
    int64_t max_clients;  /* K, with privacy the most that may be drawn */
    int64_t count;        /* clients of this round */
    uint32_t *clients;    /* [K] ascending */
    int *rank_of;         /* [K] */
    int64_t *state_round; /* [K] when the client wrote its state */
    int32_t *plan;        /* [1 + 3K] count, clients, ranks, state_round: as broadcast */
    double *cost, *load;  /* [K], [size] */
    bool equal;           /* all clients weigh 1 */
    int grid, extra_grid;
    int64_t *sum;                  /* [global->count] of the updates */
    int64_t *extra;                /* [global->count] of what else clients send; NULL: nothing */
    fl_client_side *side;          /* NULL: the algorithm has none, or this rank hosts no clients */
    float *y;                      /* [global->count] */
    fl_client_report *reports;     /* [K] of this rank */
    fl_client_report *all_reports; /* [size * K] rank 0 */
    rank_report *all_ranks;        /* [size] rank 0 */
    fl_arena *arena;
};

static fl_status allocate(fl_round *r)
{
    size_t K = (size_t)r->max_clients, count = r->env.global->count;
    int rank = fl_transport_rank(r->env.transport);
    size_t size = (size_t)fl_transport_size(r->env.transport);
    size_t gathered = rank == 0 ? size * K : 0;
    FL_TRY(fl_arena_create(&r->arena));
    FL_TRY(fl_arena_alloc(r->arena, &r->clients, K, sizeof *r->clients));
    FL_TRY(fl_arena_alloc(r->arena, &r->rank_of, K, sizeof *r->rank_of));
    FL_TRY(fl_arena_alloc(r->arena, &r->state_round, K, sizeof *r->state_round));
    FL_TRY(fl_arena_alloc(r->arena, &r->plan, 1 + 3 * K, sizeof *r->plan));
    FL_TRY(fl_arena_alloc(r->arena, &r->cost, K, sizeof *r->cost));
    FL_TRY(fl_arena_alloc(r->arena, &r->load, size, sizeof *r->load));
    FL_TRY(fl_arena_alloc(r->arena, &r->sum, count, sizeof *r->sum));
    if (r->env.algorithm->extra_sum)
        FL_TRY(fl_arena_alloc(r->arena, &r->extra, count, sizeof *r->extra));
    FL_TRY(fl_arena_alloc(r->arena, &r->y, count, sizeof *r->y));
    FL_TRY(fl_arena_alloc(r->arena, &r->reports, K, sizeof *r->reports));
    FL_TRY(fl_arena_alloc(r->arena, &r->all_reports, gathered, sizeof *r->all_reports));
    return fl_arena_alloc(r->arena, &r->all_ranks, rank == 0 ? size : 0, sizeof *r->all_ranks);
}

static fl_status choose(fl_round *r, int64_t t)
{
    const fl_round_env *env = &r->env;
    if (env->privacy) return fl_privacy_choose(env->privacy, t, r->clients, &r->count);
    if (env->algorithm->choose) return env->algorithm->choose(env->fed, t, r->clients, &r->count);
    r->count = fl_participation_count(env->fed);
    return fl_participation_choose(env->fed, env->seed, t, r->clients);
}

static fl_status open_side(fl_round *r)
{
    const fl_round_env *env = &r->env;
    bool hosts = fl_transport_rank(env->transport) > 0 || fl_transport_size(env->transport) == 1;
    if (!hosts || !fl_algorithm_has_client_side(env->algorithm)) return FL_OK;
    return fl_client_side_create(&r->side, env->algorithm, env->fed, env->ops, env->global->count,
                                 env->output_dir);
}

fl_status fl_round_create(fl_round **out, const fl_round_env *env)
{
    FL_ASSERT(env->server || (!env->algorithm->server[0] && !env->algorithm->client));
    fl_round *r;
    FL_TRY(fl_alloc(&r, 1, sizeof *r));
    r->env = *env;
    r->max_clients =
        env->privacy ? fl_privacy_most_clients(env->fed) : fl_participation_count(env->fed);
    r->equal = env->privacy || fl_algorithm_weighs_equal(env->algorithm, env->fed);
    fl_status status = allocate(r);
    if (status == FL_OK) status = open_side(r);
    if (status == FL_OK) status = choose(r, 0);
    if (status != FL_OK) {
        fl_round_destroy(r);
        return status;
    }
    *out = r;
    return FL_OK;
}

size_t fl_round_bytes(const fl_algorithm *algorithm, size_t count)
{
    size_t sums = algorithm->extra_sum ? 2 : 1;
    return count * (sums * sizeof(int64_t) + sizeof(float));
}

void fl_round_destroy(fl_round *r)
{
    if (!r) return;
    fl_client_side_destroy(r->side);
    fl_arena_destroy(r->arena);
    fl_free(r);
}

static uint64_t weight_of(const fl_round *r, uint32_t client)
{
    return r->equal ? 1 : r->env.weight[client];
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
        total += weight_of(r, r->clients[i]);
    }
    r->grid = r->env.privacy ? fl_privacy_grid(r->env.privacy) : fl_update_grid(total);
    r->extra_grid = fl_update_grid((uint64_t)r->count);
}

/* planned: rank 0 chooses and places, the others learn of it. */
static fl_status make_plan(fl_round *r, int64_t t)
{
    const fl_round_env *env = &r->env;
    fl_status status = FL_OK;
    if (fl_transport_rank(env->transport) == 0) {
        status = choose(r, t);
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

/* The server state that clients receive, NULL if they receive none. */
static fl_params *sent_state(const fl_round *r)
{
    return r->env.algorithm->sends_state ? &r->env.server->states[0] : NULL;
}

/* broadcast */
static fl_status send_global(fl_round *r)
{
    fl_params *global = r->env.global, *sent = sent_state(r);
    size_t bytes = global->count * sizeof *global->data;
    FL_TRY(fl_transport_bcast(r->env.transport, 0, global->data, bytes));
    return sent ? fl_transport_bcast(r->env.transport, 0, sent->data, bytes) : FL_OK;
}

static fl_status begin_client(fl_round *r, int64_t i, double learning_rate)
{
    if (!r->side) return FL_OK;
    const fl_params *sent = sent_state(r);
    fl_client_start start = {.client = r->clients[i],
                             .state_round = r->state_round[i],
                             .learning_rate = learning_rate,
                             .received = r->env.global->data,
                             .sent = sent ? sent->data : NULL};
    return fl_client_side_begin(r->side, &start);
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
        scale *= fl_privacy_clip(r->env.privacy, global->data, r->y, global->count);
    if (*fault == FL_UPDATE_FINE)
        *fault = fl_update_add(r->sum, global->data, r->y, global->count,
                               (double)weight_of(r, client) * scale, r->grid);
    if (*fault != FL_UPDATE_FINE) return FL_OK;
    if (extra) fl_update_add(r->extra, NULL, extra, global->count, 1.0, r->extra_grid);
    return r->side ? fl_client_side_save(r->side, t + 1) : FL_OK;
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
    FL_TRY(begin_client(r, i, learning_rate));
    FL_TRY(env->train_client(env->context, t, client, learning_rate,
                             r->side ? fl_client_side_hooks(r->side) : NULL, env->global->data,
                             r->y, &local));
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

/* training */
static fl_status train_mine(fl_round *r, int64_t t, double learning_rate)
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

/* reducing: first everyone learns whether anyone failed, so that no rank waits for ever. */
static fl_status collect(fl_round *r, fl_status trained, double seconds_train)
{
    fl_transport *transport = r->env.transport;
    size_t K = (size_t)r->max_clients;
    FL_TRY(fl_agree(transport, trained));
    FL_TRY(fl_transport_reduce_i64(transport, 0, r->sum, r->env.global->count));
    if (r->extra) FL_TRY(fl_transport_reduce_i64(transport, 0, r->extra, r->env.global->count));
    FL_TRY(fl_transport_gather(transport, 0, r->reports, K * sizeof *r->reports, r->all_reports));
    rank_report mine = {.seconds_train = seconds_train, .peak_memory = fl_peak_memory_bytes()};
    return fl_transport_gather(transport, 0, &mine, sizeof mine, r->all_ranks);
}

static int compare_clients(const void *a, const void *b)
{
    const fl_client_report *x = a, *y = b;
    return (x->client > y->client) - (x->client < y->client);
}

/* Moves the used entries to the front, ascending by client, and adds them up. */
static void summarise(fl_round *r, fl_round_result *result)
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
        const rank_report *rank = &r->all_ranks[i];
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
                        .update = {.sum = r->sum, .grid = r->grid},
                        .extra = {.sum = r->extra, .grid = r->extra_grid},
                        .clients = (uint64_t)result->num_answered};
    a.extra.total_weight = a.clients;
    double steps = 0;
    for (int64_t i = 0; i < result->num_clients; i++) {
        const fl_client_report *report = &result->reports[i];
        if (report->fault != FL_UPDATE_FINE) continue;
        uint64_t weight = weight_of(r, (uint32_t)report->client);
        a.update.total_weight += weight;
        steps += (double)weight * (double)report->updates;
        if (env->algorithm->client)
            env->server->client_round.data[report->client] = (float)(result->round + 1);
    }
    if (a.clients) a.mean_steps = steps / (double)a.update.total_weight;
    if (env->privacy) take_expected(env->fed, &a);
    return a;
}

/* aggregated (rank 0) */
static void aggregate(fl_round *r, fl_round_result *result)
{
    const fl_privacy *privacy = r->env.privacy;
    summarise(r, result);
    if (privacy) fl_privacy_add_noise(privacy, result->round, r->sum, r->env.global->count);
    if (!privacy && result->num_answered == 0) {
        FL_WARN("round %lld: no client returned a usable update; the adapter stays as it is",
                (long long)result->round + 1);
        return;
    }
    fl_aggregation sums = gather(r, result);
    r->env.algorithm->aggregate(&sums);
}

fl_status fl_round_run(fl_round *r, int64_t t, double learning_rate, fl_round_result *result)
{
    const fl_round_env *env = &r->env;
    int size = fl_transport_size(env->transport);
    uint64_t hosts = size > 1 ? (uint64_t)size - 1 : 0;
    *result = (fl_round_result){.round = t, .learning_rate = learning_rate};
    double start = fl_clock_seconds();
    FL_TRY(make_plan(r, t));
    FL_TRY(send_global(r));
    double sent = fl_clock_seconds();
    fl_status trained = train_mine(r, t, learning_rate);
    double done = fl_clock_seconds();
    FL_TRY(collect(r, trained, done - sent));
    if (fl_transport_rank(env->transport) != 0) return FL_OK;
    double collected = fl_clock_seconds();
    aggregate(r, result);
    result->seconds_aggregate = fl_clock_seconds() - collected;
    result->seconds_wait = size > 1 ? fmin(collected - done, result->seconds_train) : 0;
    result->seconds_transfer = sent - start + (collected - done - result->seconds_wait);
    result->bytes_down = hosts * env->global->count * sizeof(float) * (sent_state(r) ? 2 : 1);
    result->bytes_up = hosts * env->global->count * sizeof(int64_t) * (r->extra ? 2 : 1);
    return FL_OK;
}
