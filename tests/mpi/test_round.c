/* The round on any number of ranks, with clients that are formulas instead of models: one of them
 * returns NaN, one a value far off, in the rounds where they take part.  What is left out must be
 * reported and must not move the mean; the result must be the same bits on 1, 2, 3 and 4 ranks. */
#include "fed/participation.h"
#include "fed/round.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 2 };
enum { CLIENTS = 9, COUNT = 1000, ROUNDS = 6, BROKEN_NAN = 4, BROKEN_FAR = 6, NO_LOSS = 2 };

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: %s failed (%s)\n", __FILE__, __LINE__, #condition, \
                    fl_error_text());                                                  \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

/* y = w + something that depends on round, client and element in every bit. */
static float step_of(int64_t round, uint32_t client, size_t i)
{
    fl_rng rng = fl_rng_make(5, FL_PURPOSE_TEST, (uint64_t)round, client, i, 0);
    return fl_rng_uniform(&rng) - 0.5f;
}

static void train_one(int64_t round, uint32_t client, double learning_rate, const float *w,
                      float *y)
{
    for (size_t i = 0; i < COUNT; i++)
        y[i] = w[i] + (float)learning_rate * step_of(round, client, i);
    if (client == BROKEN_NAN) y[COUNT / 2] = NAN;
    if (client == BROKEN_FAR) y[1] = 1e6f;
}

static fl_status train_clients(void *context, int64_t round, double learning_rate,
                               fl_client_task *tasks, size_t count)
{
    (void)context;
    CHECK(count <= AT_ONCE);
    for (size_t c = 0; c < count; c++) {
        uint32_t client = tasks[c].client;
        train_one(round, client, learning_rate, tasks[c].w, tasks[c].y);
        tasks[c].result = (fl_local_result){.loss = client == NO_LOSS ? NAN : (double)client,
                                            .steps = 3,
                                            .tokens = 10,
                                            .finite = true};
    }
    return FL_OK;
}

static bool is_broken(uint32_t client)
{
    return client == BROKEN_NAN || client == BROKEN_FAR;
}

/* The same round in long double, on one rank. */
static void expected_round(const fl_fed_config *fed, const uint64_t *weight, int64_t t, double rate,
                           float *w)
{
    uint32_t clients[CLIENTS];
    CHECK(fl_participation_choose(fed, 1, t, clients) == FL_OK);
    static float y[COUNT];
    static long double sum[COUNT];
    long double total = 0;
    memset(sum, 0, sizeof sum);
    for (int64_t k = 0; k < fl_participation_count(fed); k++) {
        if (is_broken(clients[k])) continue;
        train_one(t, clients[k], rate, w, y);
        for (size_t i = 0; i < COUNT; i++)
            sum[i] += (long double)weight[clients[k]] * ((long double)y[i] - (long double)w[i]);
        total += weight[clients[k]];
    }
    for (size_t i = 0; i < COUNT && total > 0; i++)
        w[i] = (float)((long double)w[i] + sum[i] / total);
}

static void check_reports(const fl_round_result *result)
{
    int64_t broken = 0;
    double loss = 0, samples = 0;
    for (int64_t i = 0; i < result->num_clients; i++) {
        const fl_client_report *r = &result->reports[i];
        CHECK(i == 0 || result->reports[i - 1].client < r->client);
        fl_update_fault expected = r->client == BROKEN_NAN   ? FL_UPDATE_NOT_FINITE
                                   : r->client == BROKEN_FAR ? FL_UPDATE_TOO_LARGE
                                                             : FL_UPDATE_FINE;
        CHECK(r->fault == expected);
        broken += expected != FL_UPDATE_FINE;
        if (expected != FL_UPDATE_FINE || r->client == NO_LOSS) continue;
        loss += (double)r->samples * (double)r->client;
        samples += (double)r->samples;
    }
    CHECK(result->num_answered == result->num_clients - broken);
    if (samples > 0)
        CHECK(fabs(result->loss - loss / samples) < 1e-12);
    else
        CHECK(isnan(result->loss));
}

/* Every client of one round is broken: the adapter stays, the run goes on. */
static void round_without_answers(fl_round_env env)
{
    fl_fed_config fed = {.fed_alg = "local4",
                         .fed_variant = "paper",
                         .num_rounds = 1,
                         .num_clients = CLIENTS,
                         .sample_clients = 1};
    env.fed = &fed;
    env.algorithm = &fl_algorithm_local;
    fl_round *round;
    fl_round_result result;
    static float before[COUNT];
    memcpy(before, env.global->data, sizeof before);
    CHECK(fl_round_create(&round, &env) == FL_OK);
    CHECK(fl_round_run(round, 0, 1.0, &result) == FL_OK);
    if (fl_transport_rank(env.transport) == 0) {
        CHECK(result.num_answered == 0 && isnan(result.loss));
        CHECK(memcmp(before, env.global->data, sizeof before) == 0);
    }
    fl_round_destroy(round);
}

int main(int argc, char **argv)
{
    fl_transport *transport;
    CHECK(fl_transport_open(&transport, argc > 1 ? argv[1] : "mpi") == FL_OK);
    fl_fed_config fed = {.fed_alg = "fedavg",
                         .fed_variant = "paper",
                         .num_rounds = ROUNDS,
                         .num_clients = CLIENTS,
                         .sample_clients = 5};
    const uint64_t weight[CLIENTS] = {10, 1, 7, 300, 12, 9, 8, 100000, 31};
    double cost[CLIENTS];
    for (int k = 0; k < CLIENTS; k++)
        cost[k] = (double)weight[k];
    fl_params global;
    const int64_t dim[] = {COUNT};
    CHECK(fl_params_init(&global, 1) == FL_OK && fl_params_add(&global, "w", 1, dim) == FL_OK &&
          fl_params_allocate(&global) == FL_OK);
    fl_round_env env = {.transport = transport,
                        .algorithm = &fl_algorithm_fedavg,
                        .fed = &fed,
                        .seed = 1,
                        .weight = weight,
                        .cost = cost,
                        .global = &global,
                        .ops = &fl_backend_cpu,
                        .clients_per_pass = AT_ONCE,
                        .train_clients = train_clients};
    fl_round *round;
    CHECK(fl_round_create(&round, &env) == FL_OK);
    static float expected[COUNT];
    int64_t seen_broken = 0;
    for (int64_t t = 0; t < ROUNDS; t++) {
        fl_round_result result;
        double rate = 1.0 / (double)(t + 1);
        CHECK(fl_round_run(round, t, rate, &result) == FL_OK);
        expected_round(&fed, weight, t, rate, expected);
        if (fl_transport_rank(transport) != 0) continue;
        check_reports(&result);
        seen_broken += result.num_clients - result.num_answered;
        CHECK(memcmp(expected, global.data, sizeof expected) == 0);
    }
    CHECK(fl_transport_rank(transport) != 0 || seen_broken >= 3);
    fl_round_destroy(round);
    round_without_answers(env);
    fl_params_fini(&global);
    fl_transport_close(transport);
    return 0;
}
