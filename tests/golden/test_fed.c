/* Three rounds with three unequal clients against PyTorch, through fl_round itself: FedAvg, and
 * with two of the clients in each round the algorithms that change local training.
 *
 * Limits: README.md.  Two fp32 implementations differ by 4.2e-7 in the adapter (worst tensor 4e-5:
 * Adam divides small gradients by themselves) and by 1.6e-5 in the update of all tensors. */
#include "fed/participation.h"
#include "fed/round.h"
#include "golden/golden.h"
#include "io/client_state.h"
#include "train/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const double adapter_limit = 1e-5, loss_limit = 5e-6;

enum { CLIENTS = 3, ROUNDS = 3 };

typedef struct world {
    golden g;
    fl_trainer *trainer;
    fl_fed_config fed;
    const fl_algorithm *algorithm;
    fl_server_state server;
    char dir[64]; /* of client states */
    const fl_objective *objective;
    fl_train_data data[CLIENTS];
    size_t count; /* records per client and round */
} world;

/* Place of a client in the lists of a round: all take part unless "clients" names them. */
static size_t place_of(const json_t *record, int64_t client)
{
    const json_t *clients = json_object_get(record, "clients");
    for (size_t i = 0; clients && i < json_array_size(clients); i++)
        if (json_integer_value(json_array_get(clients, i)) == client) return i;
    assert_null(clients);
    return (size_t)client;
}

static fl_status train_client(void *context, int64_t round, uint32_t client, double learning_rate,
                              const fl_train_hooks *hooks, const float *w, float *y,
                              fl_local_result *result)
{
    world *x = context;
    uint32_t positions[64];
    OK(fl_participation_records(&x->fed, 2023, round, client,
                                (uint32_t)x->objective->count(&x->data[client]), (uint32_t)x->count,
                                positions));
    const json_t *record = json_array_get(golden_get(x->g.json, "rounds"), (size_t)round);
    const json_t *expected =
        json_array_get(golden_get(record, "subsample"), place_of(record, client));
    assert_int_equal(json_array_size(expected), x->count);
    for (size_t i = 0; i < x->count; i++)
        assert_int_equal(positions[i], json_integer_value(json_array_get(expected, i)));
    fl_local_job job = {.data = x->data[client],
                        .indices = positions,
                        .count = x->count,
                        .learning_rate = learning_rate,
                        .round = (uint64_t)round,
                        .client = client,
                        .hooks = hooks};
    fl_trainer_set_adapter(x->trainer, w);
    OK(fl_trainer_run(x->trainer, &job, result));
    fl_trainer_get_adapter(x->trainer, y);
    return FL_OK;
}

/* FedDyn's state and its division by alpha make more of the same rounding: 4e-5. */
static double update_limit(const golden *g)
{
    return json_object_get(golden_get(g->json, "plan"), "fed_alg") ? 3e-4 : 1e-4;
}

static void compare(const golden *g, int64_t t, const fl_params *global, const fl_params *initial)
{
    fl_params expected, update;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "round%d", (int)t + 1);
    OK(fl_params_like(&expected, global));
    OK(fl_params_like(&update, global));
    golden_fill(g, prefix, &expected);
    expect_close("adapter", global->data, expected.data, global->count, adapter_limit);
    for (size_t i = 0; i < global->count; i++) {
        update.data[i] = global->data[i] - initial->data[i];
        expected.data[i] -= initial->data[i];
    }
    expect_close("update", update.data, expected.data, global->count, update_limit(g));
    fl_params_fini(&expected);
    fl_params_fini(&update);
}

static void check_losses(const golden *g, int64_t t, const fl_round_result *result)
{
    const json_t *record = json_array_get(golden_get(g->json, "rounds"), (size_t)t);
    const json_t *losses = golden_get(record, "client_losses");
    assert_int_equal(result->num_answered, json_array_size(losses));
    for (int64_t i = 0; i < result->num_answered; i++) {
        size_t place = place_of(record, result->reports[i].client);
        expect_real("client loss", result->reports[i].loss,
                    json_number_value(json_array_get(losses, place)), loss_limit);
    }
}

static void check_server(world *x)
{
    fl_params expected;
    for (size_t i = 0; i < x->server.num_states; i++) {
        fl_params *state = &x->server.states[i];
        OK(fl_params_like(&expected, state));
        golden_fill(&x->g, "server", &expected);
        expect_close("server state", state->data, expected.data, state->count, update_limit(&x->g));
        fl_params_fini(&expected);
    }
}

static void run_rounds(world *x, const fl_params *initial, fl_params *global)
{
    const json_t *plan = golden_get(x->g.json, "plan");
    uint64_t weight[CLIENTS];
    double cost[CLIENTS] = {1, 1, 1};
    for (size_t k = 0; k < CLIENTS; k++)
        weight[k] = x->objective->count(&x->data[k]);
    fl_transport *transport;
    OK(fl_transport_open(&transport, "self"));
    fl_round_env env = {.transport = transport,
                        .algorithm = x->algorithm,
                        .fed = &x->fed,
                        .seed = 2023,
                        .weight = weight,
                        .cost = cost,
                        .global = global,
                        .server = &x->server,
                        .ops = fl_backend_find("cpu"),
                        .output_dir = x->dir,
                        .train_client = train_client,
                        .context = x};
    fl_round *round;
    OK(fl_round_create(&round, &env));
    for (int64_t t = 0; t < ROUNDS; t++) {
        fl_round_result result;
        double rate = fl_cosine_lr(golden_real(plan, "learning_rate"), golden_real(plan, "lr_min"),
                                   t, ROUNDS);
        OK(fl_round_run(round, t, rate, &result));
        check_losses(&x->g, t, &result);
        compare(&x->g, t, global, initial);
    }
    check_server(x);
    fl_round_destroy(round);
    fl_transport_close(transport);
}

static fl_train_config plan_config(const golden *g)
{
    const json_t *plan = golden_get(g->json, "plan");
    fl_train_config config = golden_train(g);
    config.batch_size = golden_int(plan, "batch_size");
    config.max_steps = golden_int(plan, "max_steps");
    config.gradient_accumulation_steps = golden_int(plan, "gradient_accumulation_steps");
    return config;
}

/* What a plan leaves out is FedAvg with all clients. */
static fl_fed_config plan_fed(const golden *g)
{
    const json_t *plan = golden_get(g->json, "plan");
    const json_t *name = json_object_get(plan, "fed_alg");
    const json_t *sample = json_object_get(plan, "sample_clients");
    return (fl_fed_config){.fed_alg = name ? json_string_value(name) : "fedavg",
                           .fed_variant = "openfedllm",
                           .num_rounds = ROUNDS,
                           .num_clients = CLIENTS,
                           .sample_clients = sample ? json_integer_value(sample) : CLIENTS,
                           .prox_mu = json_number_value(json_object_get(plan, "prox_mu")),
                           .feddyn_alpha =
                               json_number_value(json_object_get(plan, "feddyn_alpha"))};
}

static void check_case(const char *name)
{
    world x = {.g = golden_open(name), .dir = "/tmp/fedllm-golden-XXXXXX"};
    x.fed = plan_fed(&x.g);
    OK(fl_algorithm_find(&x.algorithm, x.fed.fed_alg));
    assert_non_null(mkdtemp(x.dir));
    fl_lora_config lora = golden_lora(&x.g, NULL);
    fl_train_config config = plan_config(&x.g);
    x.objective = fl_objective_find(config.objective);
    x.count = (size_t)(config.batch_size * config.max_steps * config.gradient_accumulation_steps);
    fl_model *model;
    OK(fl_model_open(&model, golden_path("model"), fl_backend_find("cpu"), 0));
    int64_t longest = 0;
    for (size_t k = 0; k < CLIENTS; k++) {
        const json_t *client = json_array_get(golden_get(x.g.json, "clients"), k);
        x.data[k] = golden_data(&x.g, golden_get(client, "samples"));
        if (x.objective->longest(&x.data[k]) > longest) longest = x.objective->longest(&x.data[k]);
    }
    fl_trainer_limits limits = {.longest = longest, .most_examples = x.count};
    OK(fl_trainer_create(&x.trainer, model, &lora, &config, &limits));
    fl_params initial, global;
    OK(fl_lora_create(&initial, &lora, &model->config, 1));
    OK(fl_params_like(&global, &initial));
    golden_fill(&x.g, "adapter", &initial);
    memcpy(global.data, initial.data, initial.count * sizeof *initial.data);
    OK(fl_server_state_init(&x.server, x.algorithm, &x.fed, &global, true));
    run_rounds(&x, &initial, &global);
    OK(fl_client_files_remove(x.dir));
    assert_int_equal(rmdir(x.dir), 0);
    fl_server_state_fini(&x.server);
    fl_params_fini(&initial);
    fl_params_fini(&global);
    fl_trainer_destroy(x.trainer);
    for (size_t k = 0; k < CLIENTS; k++)
        golden_data_fini(&x.data[k]);
    fl_model_close(model);
    golden_close(&x.g);
}

static void rounds_on_q_and_v(void **state)
{
    (void)state;
    check_case("fed_qv");
}

static void rounds_on_all_linears(void **state)
{
    (void)state;
    check_case("fed_all");
}

static void rounds_with_accumulation(void **state)
{
    (void)state;
    check_case("fed_all_accum2");
}

static void rounds_of_fedprox(void **state)
{
    (void)state;
    check_case("fed_fedprox");
}

static void rounds_of_scaffold(void **state)
{
    (void)state;
    check_case("fed_scaffold");
}

static void rounds_of_feddyn(void **state)
{
    (void)state;
    check_case("fed_feddyn");
}

static void rounds_of_dpo(void **state)
{
    (void)state;
    check_case("dpo_fed");
}

static void rounds_of_dpo_and_fedprox(void **state)
{
    (void)state;
    check_case("dpo_fedprox");
}

static void rounds_of_dpo_and_scaffold(void **state)
{
    (void)state;
    check_case("dpo_scaffold");
}

static void rounds_of_dpo_and_feddyn(void **state)
{
    (void)state;
    check_case("dpo_feddyn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_of_dpo),
        cmocka_unit_test(rounds_of_dpo_and_fedprox),
        cmocka_unit_test(rounds_of_dpo_and_scaffold),
        cmocka_unit_test(rounds_of_dpo_and_feddyn),
        cmocka_unit_test(rounds_of_fedprox),
        cmocka_unit_test(rounds_of_scaffold),
        cmocka_unit_test(rounds_of_feddyn),
        cmocka_unit_test(rounds_on_q_and_v),
        cmocka_unit_test(rounds_on_all_linears),
        cmocka_unit_test(rounds_with_accumulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
