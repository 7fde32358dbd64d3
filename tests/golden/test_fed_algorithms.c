/* Every algorithm, both variants: three rounds with 3 of 7 unequal clients, through fl_round
 * itself, against the formulas written out in NumPy (golden_fedalg.py).  Clients are formulas, so
 * what is left is the rounding of fp32 vectors: 1e-6 of the norm, of states as well. */
#include "fed/participation.h"
#include "fed/round.h"
#include "golden/golden.h"
#include "io/client_state.h"
#include "support/quadratic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const double limit = 1e-6;

enum { MOST = 64 };

typedef struct world {
    const json_t *plan, *item;
    const fl_algorithm *algorithm;
    fl_fed_config fed;
    quadratic clients;
    uint64_t weight[MOST];
    int64_t steps[MOST];
    double cost[MOST];
    fl_params global;
    fl_server_state server;
    fl_transport *transport;
    char dir[64], what[96];
} world;

static void open_world(world *x, const json_t *plan, const json_t *item)
{
    *x = (world){.plan = plan, .item = item, .fed = golden_fed(plan, item)};
    x->fed.num_rounds = (int64_t)json_array_size(golden_get(plan, "learning_rates"));
    x->fed.num_clients = golden_int(plan, "num_clients");
    for (size_t k = 0; k < (size_t)x->fed.num_clients; k++) {
        x->weight[k] = (uint64_t)json_integer_value(json_array_get(golden_get(plan, "records"), k));
        x->steps[k] = json_integer_value(json_array_get(golden_get(plan, "steps"), k));
        x->cost[k] = 1;
    }
    size_t count = (size_t)golden_int(plan, "count");
    assert_true(count <= MOST && x->fed.num_clients <= MOST);
    quadratic_open(&x->clients, count, x->steps, true);
    OK(quadratic_adapter(&x->global, count));
    for (size_t i = 0; i < count; i++)
        assert_true((double)x->global.data[i] ==
                    json_number_value(json_array_get(golden_get(plan, "start"), i)));
    OK(fl_algorithm_find(&x->algorithm, x->fed.fed_alg));
    OK(fl_server_state_init(&x->server, x->algorithm, &x->fed, &x->global, true));
    OK(fl_transport_open(&x->transport, "self"));
    snprintf(x->dir, sizeof x->dir, "/tmp/fedllm-algorithms-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
}

static void close_world(world *x)
{
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
    assert_int_equal(json_array_size(expected), x->clients.count);
    for (size_t i = 0; i < x->clients.count; i++)
        wanted[i] = (float)json_number_value(json_array_get(expected, i));
    snprintf(x->what, sizeof x->what, "%s, %s: %s", x->fed.fed_alg, x->fed.fed_variant, what);
    expect_close(x->what, values, wanted, x->clients.count, limit);
}

static void check_participants(const world *x, int64_t t, const fl_round_result *result)
{
    const json_t *expected = json_array_get(golden_get(x->item, "participants"), (size_t)t);
    assert_int_equal(result->num_answered, json_array_size(expected));
    for (size_t i = 0; i < json_array_size(expected); i++)
        assert_int_equal(result->reports[i].client,
                         json_integer_value(json_array_get(expected, i)));
}

static void check_states(world *x)
{
    json_t *states = golden_get(x->item, "server");
    bool keeps = x->algorithm->client != NULL;
    assert_int_equal(json_object_size(states) + keeps, x->server.num_named);
    for (size_t i = 0; i < x->server.num_states; i++)
        compare(x, x->server.named[i].name, x->server.states[i].data,
                golden_get(states, x->server.named[i].name));
    if (!keeps) return;
    fl_client_store store = {
        .dir = x->dir, .name = x->algorithm->client, .count = x->clients.count};
    json_t *clients = golden_get(x->item, "clients"), *expected;
    const char *id;
    float values[MOST];
    json_object_foreach(clients, id, expected)
    {
        uint32_t client = (uint32_t)strtoul(id, NULL, 10);
        int64_t round = (int64_t)x->server.client_round.data[client];
        OK(fl_client_store_load(&store, client, round, values));
        compare(x, id, values, expected);
    }
    fl_client_store_fini(&store);
}

static void check_case(const json_t *plan, const json_t *item)
{
    world x;
    open_world(&x, plan, item);
    fl_round_env env = {.transport = x.transport,
                        .algorithm = x.algorithm,
                        .fed = &x.fed,
                        .seed = (uint64_t)golden_int(plan, "seed"),
                        .weight = x.weight,
                        .cost = x.cost,
                        .global = &x.global,
                        .server = &x.server,
                        .ops = x.clients.ops,
                        .output_dir = x.dir,
                        .clients_per_pass = 2,
                        .train_clients = quadratic_train,
                        .context = &x.clients};
    fl_round *round;
    OK(fl_round_create(&round, &env));
    for (int64_t t = 0; t < x.fed.num_rounds; t++) {
        fl_round_result result;
        const json_t *rates = golden_get(plan, "learning_rates");
        OK(fl_round_run(round, t, json_number_value(json_array_get(rates, (size_t)t)), &result));
        check_participants(&x, t, &result);
        compare(&x, "adapter", x.global.data,
                json_array_get(golden_get(item, "rounds"), (size_t)t));
    }
    check_states(&x);
    fl_round_destroy(round);
    close_world(&x);
}

static void algorithms_are_their_formulas(void **state)
{
    (void)state;
    golden g = golden_open("fed_algorithms");
    const json_t *cases = golden_get(g.json, "cases");
    size_t num_algorithms;
    fl_algorithms(&num_algorithms);
    assert_int_equal(json_array_size(cases), 2 * num_algorithms);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(g.json, json_array_get(cases, i));
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(algorithms_are_their_formulas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
