/* Identities of the algorithms on quadratics, where the optimum is known: clients descend
 * h_k (y - b_k), a number of steps of their own (Karimireddy et al. 2020, Wang et al. 2020, Acar et
 * al. 2021).  FedAvg ends elsewhere; SCAFFOLD, FedDyn and FedNova do not. */
#include "io/client_state.h"
#include "support/quadratic.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 4, COUNT = 16 };

static const int64_t steps[CLIENTS] = {1, 8, 3, 12};
static const uint64_t records[CLIENTS] = {10, 20, 5, 15};

/* Distance from the optimum of sum_k p_k (h_k / 2) (w - b_k)^2, with p_k = records or equal. */
static double distance(const fl_params *global, bool by_records)
{
    double sum = 0;
    for (size_t i = 0; i < COUNT; i++) {
        double top = 0, bottom = 0;
        for (uint32_t k = 0; k < CLIENTS; k++) {
            double p = by_records ? (double)records[k] : 1;
            top += p * quadratic_curvature(k, i) * quadratic_target(k, i);
            bottom += p * quadratic_curvature(k, i);
        }
        double apart = (double)global->data[i] - top / bottom;
        sum += apart * apart;
    }
    return sqrt(sum);
}

/* All clients in every round.  Where the adapter ends. */
static double run(const char *name, int64_t sample, int64_t rounds, double rate, bool by_records)
{
    fl_fed_config fed = {.fed_alg = name,
                         .fed_variant = "paper",
                         .num_rounds = rounds,
                         .num_clients = CLIENTS,
                         .sample_clients = sample,
                         .scaffold_eta = 1,
                         .feddyn_alpha = 0.5};
    const double cost[CLIENTS] = {1, 1, 1, 1};
    char dir[] = "/tmp/fedllm-quadratic-XXXXXX";
    quadratic clients;
    fl_params global;
    fl_server_state server;
    fl_round *round;
    fl_round_env env = {.fed = &fed,
                        .seed = 3,
                        .weight = records,
                        .cost = cost,
                        .global = &global,
                        .server = &server,
                        .output_dir = dir,
                        .train_clients = quadratic_train,
                        .context = &clients};
    assert_non_null(mkdtemp(dir));
    quadratic_open(&clients, COUNT, steps, false);
    env.ops = clients.ops;
    assert_int_equal(quadratic_adapter(&global, COUNT), FL_OK);
    assert_int_equal(fl_algorithm_find(&env.algorithm, name), FL_OK);
    assert_int_equal(fl_server_state_init(&server, env.algorithm, &fed, &global, true), FL_OK);
    assert_int_equal(fl_transport_open(&env.transport, "self"), FL_OK);
    assert_int_equal(fl_round_create(&round, &env), FL_OK);
    for (int64_t t = 0; t < rounds; t++) {
        fl_round_result result;
        assert_int_equal(fl_round_run(round, t, rate, &result), FL_OK);
    }
    double apart = distance(&global, by_records);
    fl_round_destroy(round);
    fl_transport_close(env.transport);
    fl_server_state_fini(&server);
    fl_params_fini(&global);
    quadratic_close(&clients);
    assert_int_equal(fl_client_files_remove(dir), FL_OK);
    assert_int_equal(rmdir(dir), 0);
    printf("  %s, %lld of 4 clients: %.2g from the optimum\n", name, (long long)sample, apart);
    return apart;
}

static void fedavg_ends_elsewhere(void **state)
{
    (void)state;
    assert_true(run("fedavg", CLIENTS, 300, 0.05, true) > 0.1);
    assert_true(run("fedavg", CLIENTS, 300, 0.05, false) > 0.1);
}

static void scaffold_reaches_the_optimum(void **state)
{
    (void)state;
    assert_true(run("scaffold", CLIENTS, 40, 0.15, false) < 1e-4);
    assert_true(run("scaffold", 2, 100, 0.15, false) < 1e-4);
}

static void feddyn_reaches_the_optimum(void **state)
{
    (void)state;
    assert_true(run("feddyn", CLIENTS, 80, 0.25, false) < 1e-4);
    assert_true(run("feddyn", 2, 160, 0.25, false) < 1e-4);
}

/* Up to terms of the order of the learning rate: steps away from w see other gradients. */
static void fednova_reaches_the_optimum(void **state)
{
    (void)state;
    double coarse = run("fednova", CLIENTS, 2000, 0.004, true);
    double fine = run("fednova", CLIENTS, 8000, 0.001, true);
    assert_true(coarse < 0.02 && fine < 0.3 * coarse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fedavg_ends_elsewhere),
        cmocka_unit_test(scaffold_reaches_the_optimum),
        cmocka_unit_test(feddyn_reaches_the_optimum),
        cmocka_unit_test(fednova_reaches_the_optimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
