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
#include "fed/lora_server.h"
#include "fed/own_factor.h"
#include "fed/participation.h"
#include "fed/placement.h"
#include "fed/sent.h"

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
    const fl_lora_method *method;
    int64_t next;                  /* the round that the hosts' adapter is ready for; -1: none */
    fl_sent sent;                  /* what of the adapter travels */
    int64_t *sum;                  /* [sent.up_count] of the updates */
    int64_t *extra;                /* [sent.up_count] of what else clients send; NULL: nothing */
    fl_client_side *side;          /* NULL: the algorithm has none, or this rank hosts no clients */
    fl_lora_server lora;           /* what looks at single clients' factors */
    fl_kept_client *kept;          /* [K] clients with a usable update: rank 0 all, others theirs */
    fl_own_factor own;             /* where the method has clients keep a factor */
    float *start;                  /* [global->count] what the client at hand starts from; NULL:
                                      the global adapter itself */
    float *y;                      /* [global->count] */
    fl_client_report *reports;     /* [K] of this rank */
    fl_client_report *all_reports; /* [size * K] rank 0 */
    rank_report *all_ranks;        /* [size] rank 0 */
    fl_arena *arena;
};

/* Do clients have ranks of their own? */
static bool has_ranks(const fl_round *r)
{
    return r->env.lora && r->env.lora->client_rank;
}

static fl_status open_lora(fl_round *r)
{
    const fl_round_env *env = &r->env;
    fl_lora_server_env lora = {.config = env->fed,
                               .transport = env->transport,
                               .seed = env->seed,
                               .global = env->global,
                               .side = env->server ? &env->server->side : NULL,
                               .setup = env->lora};
    return fl_lora_server_init(&r->lora, &lora, r->max_clients);
}

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
    FL_TRY(fl_sent_init(&r->sent, r->env.global));
    FL_TRY(fl_arena_alloc(r->arena, &r->kept, K, sizeof *r->kept));
    if (r->method->client || has_ranks(r))
        FL_TRY(fl_arena_alloc(r->arena, &r->start, count, sizeof *r->start));
    if (r->method->client)
        FL_TRY(fl_own_factor_init(&r->own, r->method, r->env.global, r->env.output_dir));
    FL_TRY(open_lora(r));
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
    FL_ASSERT(env->server || (!env->algorithm->server[0] && !env->algorithm->client &&
                              !fl_lora_method_of(env->fed)->client));
    fl_round *r;
    FL_TRY(fl_alloc(&r, 1, sizeof *r));
    r->env = *env;
    r->method = fl_lora_method_of(env->fed);
    r->next = -1;
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
    fl_own_factor_fini(&r->own);
    fl_sent_fini(&r->sent);
    fl_lora_server_fini(&r->lora);
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

/* Collective: hosts take the change of the base over. */
static fl_status tell_base_moved(fl_round *r)
{
    if (!r->method->moves_base || !r->env.base_moved) return FL_OK;
    return fl_agree(r->env.transport, r->env.base_moved(r->env.context));
}

/* broadcast: what the last round moved; after a restart all of it */
static fl_status send_global(fl_round *r, int64_t t)
{
    bool ready = t == 0 || t == r->next;
    fl_params *state = sent_state(r);
    fl_sent_plan(&r->sent, r->method, t);
    r->next = t + 1;
    if (!ready) {
        FL_TRY(fl_lora_server_restart(&r->lora));
        FL_TRY(tell_base_moved(r));
    }
    FL_TRY(fl_sent_bcast(&r->sent, r->env.transport, r->env.global->data,
                         ready ? r->sent.down : FL_FACTORS));
    return state ? fl_sent_bcast(&r->sent, r->env.transport, state->data, r->sent.up) : FL_OK;
}

/* What client i starts from. */
static fl_status start_client(fl_round *r, int64_t i)
{
    if (!r->start) return FL_OK;
    memcpy(r->start, r->env.global->data, r->env.global->count * sizeof *r->start);
    if (has_ranks(r)) fl_client_factors_start(r->start, r->env.global, r->env.lora, r->clients[i]);
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
    const fl_params *sent = sent_state(r);
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
                             (double)weight_of(r, client) * scale, r->grid);
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
    if (!r->method->aggregate)
        FL_TRY(fl_transport_reduce_i64(transport, 0, r->sum, r->sent.up_count));
    if (r->extra) FL_TRY(fl_transport_reduce_i64(transport, 0, r->extra, r->sent.up_count));
    FL_TRY(fl_transport_gather(transport, 0, r->reports, K * sizeof *r->reports, r->all_reports));
    rank_report mine = {.seconds_train = seconds_train, .peak_memory = fl_peak_memory_bytes()};
    return fl_transport_gather(transport, 0, &mine, sizeof mine, r->all_ranks);
}

/* The usable ones of these clients, to kept; returns how many. */
static size_t list_kept(fl_round *r, const fl_client_report *reports, int64_t count)
{
    size_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        const fl_client_report *report = &reports[i];
        if (report->client < 0 || report->fault != FL_UPDATE_FINE) continue;
        uint32_t client = (uint32_t)report->client;
        r->kept[kept++] = (fl_kept_client){
            .client = client, .rank = (int)report->rank, .weight = (double)weight_of(r, client)};
    }
    return kept;
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
        if (env->algorithm->client || r->method->client)
            env->server->client_round.data[report->client] = (float)(result->round + 1);
    }
    if (a.clients) a.mean_steps = steps / (double)a.update.total_weight;
    if (env->privacy) take_expected(env->fed, &a);
    return a;
}

/* aggregated (rank 0) */
static fl_status aggregate(fl_round *r, fl_round_result *result)
{
    const fl_privacy *privacy = r->env.privacy;
    size_t kept = list_kept(r, result->reports, result->num_clients);
    FL_TRY(fl_lora_server_collect(&r->lora, &r->sent, result->round, r->kept, kept));
    if (privacy) fl_privacy_add_noise(privacy, result->round, r->sum, r->sent.up_count);
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

/* What travelled, per host, or per client where clients are known one by one. */
static void count_bytes(const fl_round *r, fl_round_result *result)
{
    int size = fl_transport_size(r->env.transport);
    uint64_t hosts = size > 1 ? (uint64_t)size - 1 : 0;
    uint64_t single = hosts ? (uint64_t)result->num_answered * r->sent.up_count * sizeof(float) : 0;
    size_t down = r->sent.down_count + (sent_state(r) ? r->sent.up_count : 0) +
                  fl_lora_server_change_count(&r->lora);
    result->bytes_down = hosts * down * sizeof(float);
    result->bytes_up = hosts * r->sent.up_count * sizeof(int64_t) * (r->extra ? 2 : 1);
    if (r->method->aggregate)
        result->bytes_up = single;
    else if (r->lora.figures)
        result->bytes_figures = single;
}

/* The other ranks' side of aggregate. */
static fl_status send_mine(fl_round *r, int64_t t)
{
    return fl_lora_server_collect(&r->lora, &r->sent, t, r->kept,
                                  list_kept(r, r->reports, r->max_clients));
}

/* Collective: where the base moves, all ranks learn by how much. */
static fl_status finish(fl_round *r, fl_status aggregated)
{
    if (r->lora.gathers) FL_TRY(fl_agree(r->env.transport, aggregated));
    FL_TRY(fl_lora_server_finish(&r->lora));
    return tell_base_moved(r);
}

fl_status fl_round_run(fl_round *r, int64_t t, double learning_rate, fl_round_result *result)
{
    const fl_round_env *env = &r->env;
    bool root = fl_transport_rank(env->transport) == 0;
    *result = (fl_round_result){.round = t, .learning_rate = learning_rate};
    double start = fl_clock_seconds();
    FL_TRY(make_plan(r, t));
    FL_TRY(send_global(r, t));
    double sent = fl_clock_seconds();
    fl_status trained = train_mine(r, t, learning_rate);
    double done = fl_clock_seconds();
    FL_TRY(collect(r, trained, done - sent));
    double collected = fl_clock_seconds();
    if (root) summarise(r, result);
    FL_TRY(finish(r, root ? aggregate(r, result) : send_mine(r, t)));
    if (!root) return FL_OK;
    bool alone = fl_transport_size(env->transport) == 1;
    result->seconds_aggregate = fl_clock_seconds() - collected;
    result->seconds_wait = alone ? 0 : fmin(collected - done, result->seconds_train);
    result->seconds_transfer = sent - start + (collected - done - result->seconds_wait);
    count_bytes(r, result);
    return FL_OK;
}
