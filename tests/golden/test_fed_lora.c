/* Every aggregation of LoRA adapters: three rounds with 3 of 7 unequal clients, through fl_round
 * itself, against the papers' formulas written out in NumPy with dense products (golden_lora.py):
 * the adapter, the change of the base, what clients keep, error and stable rank.  Clients are
 * formulas, so what is left is the rounding of fp32 vectors: 1e-6 of the norm. */
#include "fed/own_factor.h"
#include "fed/round.h"
#include "golden/golden.h"
#include "support/quadratic.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const double limit = 1e-6;

enum { MOST = 128, PAIRS = 2 };

typedef struct world {
    const json_t *plan, *item;
    fl_fed_config fed;
    quadratic clients;
    uint64_t weight[MOST];
    int64_t steps[MOST], client_rank[MOST], r;
    double cost[MOST], client_factor[MOST], scale[PAIRS];
    float mask[MOST];
    fl_lora_setup setup;
    fl_params global;
    fl_server_state server;
    fl_transport *transport;
    fl_round *round;
    char dir[64], what[96];
} world;

static int64_t int_at(const json_t *object, const char *key, size_t i)
{
    return json_integer_value(json_array_get(golden_get(object, key), i));
}

/* 1 where the client moves its adapter in this round. */
static void set_mask(world *x, int64_t round, uint32_t client)
{
    unsigned trained = fl_lora_trained(fl_lora_method_of(&x->fed), round);
    int64_t rank = x->setup.client_rank ? x->client_rank[client] : x->r;
    for (size_t i = 0; i < x->global.num_params; i++) {
        const fl_param *param = &x->global.params[i];
        bool is_a = i % 2 == 0;
        for (size_t e = 0; e < param->count; e++) {
            int64_t factor = (int64_t)e;
            factor = is_a ? factor / param->dim[1] : factor % param->dim[1];
            bool moves = (trained & (is_a ? FL_FACTOR_A : FL_FACTOR_B)) && factor < rank;
            x->mask[param->offset + e] = moves ? 1.0f : 0.0f;
        }
    }
}

static fl_status train(void *context, int64_t round, double learning_rate, fl_client_task *tasks,
                       size_t count)
{
    world *x = context;
    for (size_t c = 0; c < count; c++) {
        set_mask(x, round, tasks[c].client);
        FL_TRY(quadratic_train(&x->clients, round, learning_rate, &tasks[c], 1));
    }
    return FL_OK;
}

static void make_adapter(world *x)
{
    const json_t *start = golden_get(x->plan, "start");
    OK(fl_params_init(&x->global, 2 * PAIRS));
    for (size_t i = 0; i < PAIRS; i++) {
        const json_t *shape = json_array_get(golden_get(x->plan, "shapes"), i);
        int64_t rows = json_integer_value(json_array_get(shape, 0));
        int64_t cols = json_integer_value(json_array_get(shape, 1));
        OK(fl_params_add(&x->global, "A", 2, (const int64_t[]){x->r, cols}));
        OK(fl_params_add(&x->global, "B", 2, (const int64_t[]){rows, x->r}));
        x->scale[i] = json_number_value(json_array_get(golden_get(x->plan, "scale"), i));
    }
    OK(fl_params_allocate(&x->global));
    assert_int_equal(json_array_size(start), x->global.count);
    assert_true(x->global.count <= MOST);
    for (size_t i = 0; i < x->global.count; i++)
        x->global.data[i] = (float)json_number_value(json_array_get(start, i));
}

static void set_clients(world *x)
{
    const json_t *ranks = golden_get(x->item, "client_ranks");
    x->setup.scale = x->scale;
    if (json_array_size(ranks)) {
        x->setup.client_rank = x->client_rank;
        x->setup.client_factor = x->client_factor;
    }
    for (size_t k = 0; k < (size_t)x->fed.num_clients; k++) {
        x->weight[k] = (uint64_t)int_at(x->plan, "records", k);
        x->steps[k] = int_at(x->plan, "steps", k);
        x->cost[k] = 1;
        if (!x->setup.client_rank) continue;
        x->client_rank[k] = json_integer_value(json_array_get(ranks, k % json_array_size(ranks)));
        x->client_factor[k] = (double)x->r / (double)x->client_rank[k];
    }
}

static void open_world(world *x, const json_t *plan, const json_t *item)
{
    *x = (world){.plan = plan, .item = item, .r = golden_int(plan, "rank")};
    x->fed =
        (fl_fed_config){.fed_alg = "fedavg",
                        .fed_variant = "paper",
                        .lora_aggregation = json_string_value(golden_get(item, "method")),
                        .lora_metrics = "on",
                        .florist_tau = golden_real(plan, "tau"),
                        .num_rounds = (int64_t)json_array_size(golden_get(plan, "learning_rates")),
                        .num_clients = golden_int(plan, "num_clients"),
                        .sample_clients = golden_int(plan, "sample_clients")};
    make_adapter(x);
    set_clients(x);
    quadratic_open(&x->clients, x->global.count, x->steps, true);
    x->clients.mask = x->mask;
    OK(fl_server_state_init(&x->server, &fl_algorithm_fedavg, &x->fed, &x->global, true));
    OK(fl_transport_open(&x->transport, "self"));
    snprintf(x->dir, sizeof x->dir, "/tmp/fedllm-lora-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    fl_round_env env = {.transport = x->transport,
                        .algorithm = &fl_algorithm_fedavg,
                        .fed = &x->fed,
                        .seed = (uint64_t)golden_int(plan, "seed"),
                        .weight = x->weight,
                        .cost = x->cost,
                        .global = &x->global,
                        .server = &x->server,
                        .output_dir = x->dir,
                        .lora = &x->setup,
                        .ops = &fl_backend_cpu,
                        .clients_per_pass = 2,
                        .train_clients = train,
                        .context = x};
    OK(fl_round_create(&x->round, &env));
}

static void close_world(world *x)
{
    fl_round_destroy(x->round);
    OK(fl_client_files_remove(x->dir));
    assert_int_equal(rmdir(x->dir), 0);
    fl_transport_close(x->transport);
    fl_server_state_fini(&x->server);
    fl_params_fini(&x->global);
    quadratic_close(&x->clients);
}

static void compare(world *x, const char *what, const float *values, const json_t *expected)
{
    float wanted[MOST];
    size_t count = json_array_size(expected);
    assert_in_range(count, 1, MOST);
    for (size_t i = 0; i < count; i++)
        wanted[i] = (float)json_number_value(json_array_get(expected, i));
    snprintf(x->what, sizeof x->what, "%s: %s", x->fed.lora_aggregation, what);
    expect_close(x->what, values, wanted, count, limit);
}

static void check_side(world *x, const json_t *expected)
{
    if (!fl_lora_method_of(&x->fed)->moves_base) return;
    for (size_t i = 0; i < PAIRS; i++) {
        const fl_param *a = &x->global.params[2 * i];
        size_t rows = (size_t)a[1].dim[0], cols = (size_t)a->dim[1];
        size_t q = fl_side_rank(&x->server.side, i);
        const float *left = fl_side_b(&x->server.side, i), *right = fl_side_a(&x->server.side, i);
        float product[MOST];
        assert_true(q <= rows && q <= cols); /* it does not grow with the rounds */
        for (size_t e = 0; e < rows * cols; e++) {
            double sum = 0;
            for (size_t j = 0; j < q; j++)
                sum += (double)left[e / cols * q + j] * (double)right[j * cols + e % cols];
            product[e] = (float)sum;
        }
        compare(x, "change of the base", product, json_array_get(expected, i));
    }
}

static void check_kept(world *x)
{
    const fl_lora_method *method = fl_lora_method_of(&x->fed);
    json_t *kept = golden_get(x->item, "kept"), *expected;
    assert_int_equal(method->client != NULL, json_object_size(kept) > 0);
    if (!method->client) return;
    fl_own_factor own;
    OK(fl_own_factor_init(&own, method, &x->global, x->dir));
    const char *id;
    json_object_foreach(kept, id, expected)
    {
        float adapter[MOST], packed[MOST];
        uint32_t client = (uint32_t)strtoul(id, NULL, 10);
        OK(fl_own_factor_load(&own, client, (int64_t)x->server.client_round.data[client], adapter));
        fl_factors_pack(packed, adapter, &x->global, FL_FACTOR_B);
        compare(x, "a client's B", packed, expected);
    }
    fl_own_factor_fini(&own);
}

static void check_figures(const world *x, const fl_round_result *result, const json_t *expected)
{
    const fl_lora_method *method = fl_lora_method_of(&x->fed);
    if (method->client) {
        assert_int_equal(result->lora.matrices, 0);
        return;
    }
    assert_int_equal(result->lora.matrices, PAIRS);
    expect_real("stable rank", result->lora.stable_rank_mean, golden_real(expected, "stable_rank"),
                1e-6);
    if (method->exact) {
        assert_true(golden_real(expected, "error") < 1e-12);
        assert_true(result->lora.error_max < 2e-7);
    } else {
        expect_real("error", result->lora.error_mean, golden_real(expected, "error"), 1e-6);
    }
}

static void check_case(const json_t *plan, const json_t *item)
{
    static world x;
    open_world(&x, plan, item);
    for (int64_t t = 0; t < x.fed.num_rounds; t++) {
        fl_round_result result;
        const json_t *expected = json_array_get(golden_get(item, "rounds"), (size_t)t);
        const json_t *rates = golden_get(plan, "learning_rates");
        OK(fl_round_run(x.round, t, json_number_value(json_array_get(rates, (size_t)t)), &result));
        compare(&x, "adapter", x.global.data, golden_get(expected, "adapter"));
        check_side(&x, golden_get(expected, "side"));
        check_figures(&x, &result, expected);
    }
    check_kept(&x);
    close_world(&x);
}

static void methods_are_their_formulas(void **state)
{
    (void)state;
    golden g = golden_open("fed_lora");
    const json_t *cases = golden_get(g.json, "cases");
    size_t num_methods, expected = 0;
    const fl_lora_method *const *methods = fl_lora_methods(&num_methods);
    for (size_t i = 0; i < num_methods; i++)
        expected += methods[i]->mixed_ranks ? 2 : 1;
    assert_int_equal(json_array_size(cases), expected);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(g.json, json_array_get(cases, i));
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(methods_are_their_formulas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
