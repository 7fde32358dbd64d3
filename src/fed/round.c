/* The round, as every rank runs it:
 *
 *   planned ----> broadcast ----> training ----> reducing ----> aggregated
 *   round_plan.c  send_global     round_train.c  collect        round_aggregate.c
 *   (rank 0)      (all)           (hosts)        (all)          (rank 0)
 *
 * then the caller evaluates and saves (app/run.c).
 *
 * 1. After fl_round_plan every rank knows the round's clients, their ranks and the grids of the
 * sums.
 * 2. After send_global every rank has the same global adapter, bit for bit, and the same server
 *    state where clients need it.
 * 3. fl_round_train touches only this rank's buffers and its clients' states on the disk; it sends
 *    nothing.
 * 4. collect adds integers, so the sum is the same for any placement and any order.
 * 5. Only fl_round_aggregate changes the global adapter and the server states, and only on rank 0.
 * 6. A client's state of round t is used only after fl_round_aggregate has noted that it was kept;
 * before that its previous one is the truth, and still on the disk.
 */
#include "base/clock.h"
#include "fed/agree.h"
#include "fed/participation.h"
#include "fed/round_internal.h"

#include <math.h>
#include <string.h>

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

static fl_status open_sums(fl_round *r)
{
    const fl_round_env *env = &r->env;
    size_t count = env->global->count;
    bool extra = env->algorithm->extra_sum;
    const fl_backend_ops *ops = fl_round_hosts(r) ? env->ops : NULL;
    FL_ASSERT(ops || !fl_round_hosts(r));
    fl_sums_env sums = {.transport = env->transport, .ops = ops, .devices = env->devices};
    return fl_sums_init(&r->sums, &sums, count, extra ? 2 : 1);
}

static int64_t most_clients(const fl_fed_config *fed, const fl_privacy *privacy)
{
    return privacy ? fl_privacy_most_clients(fed) : fl_participation_count(fed);
}

int64_t fl_round_slots(const fl_fed_config *fed, const fl_privacy *privacy, int64_t per_pass)
{
    int64_t most = most_clients(fed, privacy), wanted = per_pass > 0 ? per_pass : 1;
    return wanted < most ? wanted : most;
}

/* Where the clients of this rank train, if it trains any.  After open_lora, which knows whether
 * results are read. */
static fl_status open_slots(fl_round *r)
{
    const fl_round_env *env = &r->env;
    size_t count = env->global->count;
    if (!fl_round_hosts(r)) return FL_OK;
    r->num_slots = (size_t)fl_round_slots(env->fed, env->privacy, env->clients_per_pass);
    FL_TRY(fl_arena_alloc(r->arena, &r->slots, r->num_slots, sizeof *r->slots));
    FL_TRY(fl_arena_alloc(r->arena, &r->tasks, r->num_slots, sizeof *r->tasks));
    for (size_t c = 0; c < r->num_slots; c++) {
        fl_round_slot *slot = &r->slots[c];
        FL_TRY(fl_client_vectors_init(&slot->vectors, env->ops, count, env->algorithm->extra_sum,
                                      fl_round_reads_results(r)));
        if (r->method->client || fl_round_has_ranks(r))
            FL_TRY(fl_arena_alloc(r->arena, &slot->start, count, sizeof *slot->start));
        if (fl_algorithm_has_client_side(env->algorithm))
            FL_TRY(fl_client_side_create(&slot->side, env->algorithm, env->fed, env->ops, count,
                                         env->output_dir));
    }
    return FL_OK;
}

static void close_slots(fl_round *r)
{
    for (size_t c = 0; c < r->num_slots && r->slots; c++) {
        fl_client_vectors_fini(&r->slots[c].vectors);
        fl_client_side_destroy(r->slots[c].side);
    }
}

static fl_status allocate(fl_round *r)
{
    size_t K = (size_t)r->max_clients;
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
    FL_TRY(fl_sent_init(&r->sent, r->env.global, r->method));
    FL_TRY(fl_arena_alloc(r->arena, &r->kept, K, sizeof *r->kept));
    if (r->method->client)
        FL_TRY(fl_own_factor_init(&r->own, r->method, r->env.global, r->env.output_dir));
    FL_TRY(open_lora(r));
    FL_TRY(fl_arena_alloc(r->arena, &r->reports, K, sizeof *r->reports));
    FL_TRY(fl_arena_alloc(r->arena, &r->all_reports, gathered, sizeof *r->all_reports));
    return fl_arena_alloc(r->arena, &r->all_ranks, rank == 0 ? size : 0, sizeof *r->all_ranks);
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
    r->max_clients = most_clients(env->fed, env->privacy);
    r->equal = env->privacy || fl_algorithm_weighs_equal(env->algorithm, env->fed);
    fl_status status = allocate(r);
    if (status == FL_OK) status = open_sums(r);
    if (status == FL_OK) status = open_slots(r);
    if (status == FL_OK) status = fl_round_choose(r, 0);
    if (status != FL_OK) {
        fl_round_destroy(r);
        return status;
    }
    *out = r;
    return FL_OK;
}

size_t fl_round_bytes(const fl_round_need *need)
{
    const fl_algorithm *a = need->algorithm;
    size_t sums = fl_sums_bytes(need->ops, need->count, a->extra_sum ? 2 : 1, need->alone);
    size_t vectors = 0;
    if (need->ops) vectors = fl_client_vectors_bytes(need->ops, need->count, a->extra_sum);
    if (need->ops && need->own_start) vectors += need->count * sizeof(float);
    return sums + (size_t)need->slots * vectors;
}

void fl_round_destroy(fl_round *r)
{
    if (!r) return;
    close_slots(r);
    fl_sums_fini(&r->sums);
    fl_own_factor_fini(&r->own);
    fl_sent_fini(&r->sent);
    fl_lora_server_fini(&r->lora);
    fl_arena_destroy(r->arena);
    fl_free(r);
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
    fl_params *state = fl_round_sent_state(r);
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

/* The sums to rank 0.  A device may report a failure as late as this. */
static fl_status collect_sums(fl_round *r, int64_t t)
{
    const fl_backend_ops *ops = r->sums.env.ops;
    if (!r->method->aggregate)
        FL_TRY(fl_sums_collect(&r->sums, FL_SUM_UPDATES, r->sent.up_count, t));
    if (r->env.algorithm->extra_sum)
        FL_TRY(fl_sums_collect(&r->sums, FL_SUM_EXTRA, r->sent.up_count, t));
    return fl_agree(r->env.transport, ops ? ops->status() : FL_OK);
}

/* reducing: first everyone learns whether anyone failed, so that no rank waits for ever. */
static fl_status collect(fl_round *r, int64_t t, fl_status trained, double seconds_train)
{
    fl_transport *transport = r->env.transport;
    size_t K = (size_t)r->max_clients;
    FL_TRY(fl_agree(transport, trained));
    FL_TRY(collect_sums(r, t));
    FL_TRY(fl_transport_gather(transport, 0, r->reports, K * sizeof *r->reports, r->all_reports));
    fl_rank_report mine = {.seconds_train = seconds_train, .peak_memory = fl_peak_memory_bytes()};
    return fl_transport_gather(transport, 0, &mine, sizeof mine, r->all_ranks);
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
    FL_TRY(fl_round_plan(r, t));
    FL_TRY(send_global(r, t));
    double sent = fl_clock_seconds();
    fl_status trained = fl_round_train(r, t, learning_rate);
    double done = fl_clock_seconds();
    FL_TRY(collect(r, t, trained, done - sent));
    double collected = fl_clock_seconds();
    if (root) fl_round_summarise(r, result);
    FL_TRY(finish(r, root ? fl_round_aggregate(r, result) : fl_round_send_factors(r, t)));
    if (!root) return FL_OK;
    bool alone = fl_transport_size(env->transport) == 1;
    result->seconds_aggregate = fl_clock_seconds() - collected;
    result->seconds_wait = alone ? 0 : fmin(collected - done, result->seconds_train);
    result->seconds_transfer = sent - start + (collected - done - result->seconds_wait);
    fl_round_count_bytes(r, result);
    return FL_OK;
}
