/* Clipping, the noise, the draw of clients, what is refused; then whole rounds on one rank. */
#include "fed/privacy.h"
#include "fed/round.h"
#include "fed/update.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fl_fed_config settings = {.fed_alg = "fedavg",
                                       .fed_variant = "paper",
                                       .num_rounds = 10,
                                       .num_clients = 40,
                                       .sample_clients = 2,
                                       .dp = true,
                                       .dp_clip = 0.5,
                                       .dp_noise_multiplier = 2,
                                       .dp_delta = 1e-5,
                                       .dp_seed = 7};

static fl_privacy *make(const fl_fed_config *config)
{
    fl_privacy *p;
    if (fl_privacy_create(&p, config, &fl_algorithm_fedavg, true) != FL_OK)
        fail_msg("%s", fl_error_text());
    assert_non_null(p);
    return p;
}

static double norm_of(const float *w, const float *y, size_t count, double factor)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += pow(factor * ((double)y[i] - (double)w[i]), 2);
    return sqrt(squares);
}

static void clipping(void **state)
{
    (void)state;
    enum { COUNT = 1003 };
    static float w[COUNT], y[COUNT];
    fl_privacy *p = make(&settings);
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (double size = 1e-3; size < 100; size *= 3) {
        for (size_t i = 0; i < COUNT; i++) {
            w[i] = fl_rng_uniform(&rng);
            y[i] = w[i] + (float)size * (fl_rng_uniform(&rng) - 0.5f);
        }
        double factor = fl_privacy_clip(p, w, y, COUNT), norm = norm_of(w, y, COUNT, 1);
        if (norm < 0.499)
            assert_true(factor == 1.0);
        else
            assert_true(fabs(factor * norm / 0.5 - 1) < 1e-6);
        /* what is sent, on the grid, is within the bound too */
        static int64_t sum[COUNT];
        memset(sum, 0, sizeof sum);
        assert_int_equal(
            fl_update_add(&fl_backend_cpu, sum, w, y, COUNT, factor, fl_privacy_grid(p)), 0);
        double squares = 0;
        for (size_t i = 0; i < COUNT; i++)
            squares += pow(ldexp((double)sum[i], -fl_privacy_grid(p)), 2);
        assert_true(sqrt(squares) <= 0.5 * (1 + 1e-15));
    }
    fl_privacy_destroy(p);
}

/* Mean, variance, fourth moment, neighbours and the share beyond two deviations, of a million. */
static void noise(void **state)
{
    (void)state;
    enum { COUNT = 1000001 };
    fl_privacy *p = make(&settings);
    int64_t *sum, *other;
    assert_int_equal(fl_alloc(&sum, COUNT, sizeof *sum), FL_OK);
    assert_int_equal(fl_alloc(&other, COUNT, sizeof *other), FL_OK);
    fl_privacy_add_noise(p, 3, sum, COUNT);
    fl_privacy_add_noise(p, 4, other, COUNT);
    double mean = 0, second = 0, fourth = 0, neighbours = 0, rounds = 0, beyond = 0;
    for (size_t i = 0; i < COUNT; i++) {
        double x = ldexp((double)sum[i], -fl_privacy_grid(p)); /* deviation z C = 1 */
        mean += x;
        second += x * x;
        fourth += x * x * x * x;
        beyond += fabs(x) > 2;
        rounds += x * ldexp((double)other[i], -fl_privacy_grid(p));
        if (i > 0) neighbours += x * ldexp((double)sum[i - 1], -fl_privacy_grid(p));
    }
    double n = COUNT, limit = 5 / sqrt(n); /* five standard errors */
    assert_true(fabs(mean / n) < limit);
    assert_true(fabs(second / n - 1) < limit * sqrt(2));
    assert_true(fabs(fourth / n - 3) < limit * sqrt(96));
    assert_true(fabs(neighbours / n) < limit && fabs(rounds / n) < limit);
    assert_true(fabs(beyond / n - erfc(sqrt(2))) < limit * 0.21);
    /* added to what is there; the same again with the same seed, whatever the length */
    int64_t some[700];
    memset(some, 0, sizeof some);
    some[699] = 5;
    fl_privacy_add_noise(p, 3, some, 700);
    assert_memory_equal(some, sum, 699 * sizeof *some);
    assert_true(some[699] == sum[699] + 5);
    fl_free(sum);
    fl_free(other);
    fl_privacy_destroy(p);
}

/* Without dp_seed the key is another one in every run. */
static void secret_keys(void **state)
{
    (void)state;
    fl_fed_config config = settings;
    config.dp_seed = 0;
    int64_t first[64] = {0}, second[64] = {0};
    for (int i = 0; i < 2; i++) {
        fl_privacy *p = make(&config);
        assert_true(fl_privacy_is_accounted(p));
        fl_privacy_add_noise(p, 0, i ? second : first, 64);
        fl_privacy_destroy(p);
    }
    for (size_t i = 0; i < 64; i++)
        assert_true(first[i] != second[i] && first[i] != 0);
}

/* Every client by itself with probability q: counts, and that they vary as they should. */
static void participation(void **state)
{
    (void)state;
    enum { ROUNDS = 20000, CLIENTS = 40 };
    fl_privacy *p = make(&settings);
    uint32_t clients[CLIENTS];
    double each[CLIENTS] = {0}, total = 0, squares = 0, empty = 0, q = 2.0 / CLIENTS;
    int64_t count, most = fl_privacy_most_clients(&settings);
    assert_true(most <= CLIENTS);
    for (int64_t t = 0; t < ROUNDS; t++) {
        assert_int_equal(fl_privacy_choose(p, t, clients, &count), FL_OK);
        for (int64_t i = 0; i < count; i++) {
            assert_true(clients[i] < CLIENTS && (i == 0 || clients[i] > clients[i - 1]));
            each[clients[i]]++;
        }
        total += (double)count;
        squares += (double)(count * count);
        empty += count == 0;
    }
    for (size_t k = 0; k < CLIENTS; k++)
        assert_true(fabs(each[k] / ROUNDS - q) < 5 * sqrt(q * (1 - q) / ROUNDS));
    double mean = total / ROUNDS, variance = squares / ROUNDS - mean * mean;
    assert_true(fabs(mean - 2) < 5 * sqrt(1.9 / ROUNDS));
    assert_true(fabs(variance - 1.9) < 0.15); /* N q (1-q); its standard error is 0.02 */
    double none = pow(1 - q, CLIENTS);
    assert_true(fabs(empty / ROUNDS - none) < 5 * sqrt(none / ROUNDS));
    fl_privacy_destroy(p);
}

static void everyone(void **state)
{
    (void)state;
    fl_fed_config config = settings;
    config.sample_clients = config.num_clients;
    fl_privacy *p = make(&config);
    uint32_t clients[40];
    int64_t count;
    assert_int_equal(fl_privacy_choose(p, 0, clients, &count), FL_OK);
    assert_int_equal(count, 40);
    fl_privacy_destroy(p);
    config = (fl_fed_config){.num_clients = 1000000, .sample_clients = 20};
    assert_in_range(fl_privacy_most_clients(&config), 60, 110); /* not a million */
}

static void expect_refused(const fl_fed_config *config, const fl_algorithm *algorithm,
                           const char *word)
{
    fl_privacy *p;
    assert_int_equal(fl_privacy_create(&p, config, algorithm, true), FL_ERR_USAGE);
    if (!strstr(fl_error_text(), word)) fail_msg("%s: %s", word, fl_error_text());
}

static void refusals(void **state)
{
    (void)state;
    size_t count, covered = 0;
    const fl_algorithm *const *all = fl_algorithms(&count);
    for (size_t i = 0; i < count; i++) {
        fl_privacy *p;
        fl_fed_config config = settings;
        config.fed_alg = all[i]->name;
        covered += fl_privacy_create(&p, &config, all[i], false) == FL_OK;
        fl_privacy_destroy(p);
    }
    assert_int_equal(covered, 7); /* fedavg, fedprox, the server optimisers */
    expect_refused(&settings, &fl_algorithm_scaffold, "second vector");
    expect_refused(&settings, &fl_algorithm_feddyn, "state");
    expect_refused(&settings, &fl_algorithm_fednova, "scale");
    expect_refused(&settings, &fl_algorithm_local, "chooses");
    fl_fed_config config = settings;
    config.dp_clip = 0;
    expect_refused(&config, &fl_algorithm_fedavg, "dp_clip");
    config = settings;
    config.dp_noise_multiplier = 0;
    expect_refused(&config, &fl_algorithm_fedavg, "dp_noise_multiplier");
    config = settings;
    config.dp_delta = 0.03;
    expect_refused(&config, &fl_algorithm_fedavg, "dp_delta");
    config = settings;
    config.dp_epsilon = 3;
    expect_refused(&config, &fl_algorithm_fedavg, "dp_seed");
    config = settings;
    config.dp = false;
    expect_refused(&config, &fl_algorithm_fedavg, "without dp");
}

/* ---- rounds --------------------------------------------------------------------------------- */

enum { COUNT = 600, BROKEN = 3 };

static fl_status train_clients(void *context, int64_t round, double learning_rate,
                               fl_client_task *tasks, size_t count)
{
    (void)context;
    (void)round;
    (void)learning_rate;
    for (fl_client_task *task = tasks; task < tasks + count; task++) {
        float step = 0.01f * (float)(task->client + 1);
        for (size_t i = 0; i < COUNT; i++)
            task->y[i] = task->w[i] + step * (i % 2 ? 1.0f : -1.0f);
        if (task->client == BROKEN) task->y[0] = NAN;
        task->result = (fl_local_result){.loss = 1, .steps = 1, .updates = 1, .finite = true};
    }
    return FL_OK;
}

/* w + (sum of clipped changes + noise) / sample_clients, however many clients came. */
static void expect_round(const fl_privacy *p, int64_t t, const float *before, const float *after)
{
    uint32_t clients[64];
    int64_t count, sum[COUNT] = {0};
    double expected[COUNT] = {0};
    assert_int_equal(fl_privacy_choose(p, t, clients, &count), FL_OK);
    fl_privacy_add_noise(p, t, sum, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        for (int64_t k = 0; k < count; k++) {
            double step = 0.01 * (clients[k] + 1), norm = step * sqrt(COUNT);
            if (clients[k] != BROKEN) expected[i] += fmin(1, 0.5 / norm) * (i % 2 ? step : -step);
        }
        expected[i] += ldexp((double)sum[i], -fl_privacy_grid(p));
        assert_true(fabs((double)after[i] - (double)before[i] - expected[i] / 2) < 1e-6);
    }
}

static void rounds(void **state)
{
    (void)state;
    enum { ROUNDS = 30 };
    fl_fed_config fed = settings;
    fl_privacy *p = make(&fed);
    fl_transport *transport;
    assert_int_equal(fl_transport_open(&transport, "self"), FL_OK);
    uint64_t weight[40];
    double cost[40];
    for (size_t k = 0; k < 40; k++)
        cost[k] = (double)(weight[k] = 1 + k * k);
    fl_params global;
    const int64_t dim[] = {COUNT};
    assert_int_equal(fl_params_init(&global, 1), FL_OK);
    assert_int_equal(fl_params_add(&global, "w", 1, dim), FL_OK);
    assert_int_equal(fl_params_allocate(&global), FL_OK);
    fl_round_env env = {.transport = transport,
                        .algorithm = &fl_algorithm_fedavg,
                        .fed = &fed,
                        .weight = weight,
                        .cost = cost,
                        .global = &global,
                        .privacy = p,
                        .ops = &fl_backend_cpu,
                        .clients_per_pass = 2,
                        .train_clients = train_clients};
    fl_round *round;
    assert_int_equal(fl_round_create(&round, &env), FL_OK);
    int empty = 0;
    for (int64_t t = 0; t < ROUNDS; t++) {
        float before[COUNT];
        fl_round_result result;
        memset(global.data, 0, COUNT * sizeof *global.data); /* so that fp32 shows the change */
        memcpy(before, global.data, sizeof before);
        assert_int_equal(fl_round_run(round, t, 1.0, &result), FL_OK);
        expect_round(p, t, before, global.data);
        empty += result.num_clients == 0;
    }
    assert_in_range(empty, 1, ROUNDS - 1);
    fl_round_destroy(round);
    fl_params_fini(&global);
    fl_transport_close(transport);
    fl_privacy_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clipping),      cmocka_unit_test(noise),    cmocka_unit_test(secret_keys),
        cmocka_unit_test(participation), cmocka_unit_test(everyone), cmocka_unit_test(refusals),
        cmocka_unit_test(rounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
