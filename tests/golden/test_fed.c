/* Three rounds against PyTorch, through fl_round itself: FedAvg with all clients, and every
 * algorithm of the program in both variants with two of four unequal clients in each round.
 *
 * Limits: README.md.  Two fp32 implementations differ by up to 7e-7 in the adapter, by 2.4e-5 in
 * its update and by 3.6e-5 in FedDyn's server state, where Adam divides small gradients by
 * themselves. */
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

static const double adapter_limit = 1e-6, update_limit = 1e-4, loss_limit = 5e-6;

enum { MOST_CLIENTS = 4, MOST_RECORDS = 64 };

typedef struct world {
    golden g;
    fl_model *model;
    fl_lora_config lora;
    fl_train_config config;
    fl_trainer *trainer;
    const fl_objective *objective;
    fl_train_data data[MOST_CLIENTS];
    size_t num_clients;
    int64_t steps[MOST_CLIENTS]; /* per round */
    fl_params initial;

    const json_t *item; /* the case, with its rounds */
    fl_fed_config fed;
    const fl_algorithm *algorithm;
    fl_params global;
    fl_server_state server;
    char dir[64]; /* of client states */
} world;

static const json_t *report_of(const world *x, int64_t round, int64_t client)
{
    const json_t *reports = json_array_get(golden_get(x->item, "rounds"), (size_t)round);
    for (size_t i = 0; i < json_array_size(reports); i++) {
        const json_t *report = json_array_get(reports, i);
        if (golden_int(report, "client") == client) return report;
    }
    fail_msg("client %d does not take part in round %d", (int)client, (int)round);
    return NULL;
}

static fl_status train_clients(void *context, int64_t round, double learning_rate,
                               fl_client_task *task, size_t count_at_once)
{
    world *x = context;
    uint32_t client = task->client;
    assert_int_equal(count_at_once, 1); /* they have numbers of steps of their own */
    uint32_t positions[MOST_RECORDS];
    x->config.max_steps = x->steps[client]; /* the trainer borrows it */
    size_t count = (size_t)(x->config.batch_size * x->config.gradient_accumulation_steps *
                            x->config.max_steps);
    assert_in_range(count, 1, MOST_RECORDS);
    OK(fl_participation_records(&x->fed, 2023, round, client,
                                (uint32_t)x->objective->count(&x->data[client]), (uint32_t)count,
                                positions));
    const json_t *expected = golden_get(report_of(x, round, client), "subsample");
    assert_int_equal(json_array_size(expected), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(positions[i], json_integer_value(json_array_get(expected, i)));
    fl_local_job job = {.data = x->data[client],
                        .indices = positions,
                        .count = count,
                        .learning_rate = learning_rate,
                        .round = (uint64_t)round,
                        .client = client,
                        .hooks = task->hooks};
    fl_trainer_set_adapter(x->trainer, task->w);
    OK(fl_trainer_run(x->trainer, &job, &task->result));
    fl_trainer_get_adapter(x->trainer, task->y);
    return FL_OK;
}

/* Adapter and update against the tensors PREFIX.NAME. */
static void compare(const world *x, const char *prefix)
{
    fl_params expected, update;
    OK(fl_params_like(&expected, &x->global));
    OK(fl_params_like(&update, &x->global));
    golden_fill(&x->g, prefix, &expected);
    expect_close(prefix, x->global.data, expected.data, expected.count, adapter_limit);
    for (size_t i = 0; i < expected.count; i++) {
        update.data[i] = x->global.data[i] - x->initial.data[i];
        expected.data[i] -= x->initial.data[i];
    }
    expect_close("update", update.data, expected.data, expected.count, update_limit);
    fl_params_fini(&expected);
    fl_params_fini(&update);
}

static void check_losses(const world *x, int64_t t, const fl_round_result *result)
{
    const json_t *reports = json_array_get(golden_get(x->item, "rounds"), (size_t)t);
    assert_int_equal(result->num_answered, json_array_size(reports));
    for (int64_t i = 0; i < result->num_answered; i++)
        expect_real("client loss", result->reports[i].loss,
                    golden_real(report_of(x, t, result->reports[i].client), "loss"), loss_limit);
}

/* What a case of one algorithm holds: the adapter and the server's states at the end. */
static void check_end(const world *x)
{
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s.%s.adapter", x->fed.fed_alg, x->fed.fed_variant);
    compare(x, prefix);
    for (size_t i = 0; i < x->server.num_states; i++) {
        const fl_params *state = &x->server.states[i];
        fl_params expected;
        OK(fl_params_like(&expected, state));
        snprintf(prefix, sizeof prefix, "%s.%s.%s", x->fed.fed_alg, x->fed.fed_variant,
                 x->server.named[i].name);
        golden_fill(&x->g, prefix, &expected);
        expect_close(prefix, state->data, expected.data, state->count, update_limit);
        fl_params_fini(&expected);
    }
}

static void run_rounds(world *x, bool every_round)
{
    const json_t *plan = golden_get(x->g.json, "plan");
    const double first = golden_real(plan, "learning_rate"), last = golden_real(plan, "lr_min");
    uint64_t weight[MOST_CLIENTS];
    const double cost[MOST_CLIENTS] = {1, 1, 1, 1};
    for (size_t k = 0; k < x->num_clients; k++)
        weight[k] = x->objective->count(&x->data[k]);
    fl_transport *transport;
    OK(fl_transport_open(&transport, "self"));
    fl_round_env env = {.transport = transport,
                        .algorithm = x->algorithm,
                        .fed = &x->fed,
                        .seed = 2023,
                        .weight = weight,
                        .cost = cost,
                        .global = &x->global,
                        .server = &x->server,
                        .ops = fl_backend_find("cpu"),
                        .output_dir = x->dir,
                        .train_clients = train_clients,
                        .context = x};
    fl_round *round;
    OK(fl_round_create(&round, &env));
    for (int64_t t = 0; t < x->fed.num_rounds; t++) {
        fl_round_result result;
        char prefix[32];
        OK(fl_round_run(round, t, fl_cosine_lr(first, last, t, x->fed.num_rounds), &result));
        check_losses(x, t, &result);
        snprintf(prefix, sizeof prefix, "round%d", (int)t + 1);
        if (every_round) compare(x, prefix);
    }
    fl_round_destroy(round);
    fl_transport_close(transport);
}

/* From the initial adapter, with x->fed. */
static void run_case(world *x, const json_t *item)
{
    bool of_algorithm = item != x->g.json;
    x->item = item;
    OK(fl_algorithm_find(&x->algorithm, x->fed.fed_alg));
    snprintf(x->dir, sizeof x->dir, "/tmp/fedllm-golden-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    OK(fl_params_like(&x->global, &x->initial));
    memcpy(x->global.data, x->initial.data, x->initial.count * sizeof *x->initial.data);
    OK(fl_server_state_init(&x->server, x->algorithm, &x->fed, &x->global, true));
    run_rounds(x, !of_algorithm);
    if (of_algorithm) check_end(x);
    OK(fl_client_files_remove(x->dir));
    assert_int_equal(rmdir(x->dir), 0);
    fl_server_state_fini(&x->server);
    fl_params_fini(&x->global);
}

/* Without the number of steps, which is each client's own. */
static fl_train_config plan_config(const golden *g)
{
    const json_t *plan = golden_get(g->json, "plan");
    fl_train_config config = golden_train(g);
    config.batch_size = golden_int(plan, "batch_size");
    config.gradient_accumulation_steps = golden_int(plan, "gradient_accumulation_steps");
    return config;
}

/* -> the longest sequence */
static int64_t open_clients(world *x)
{
    const json_t *clients = golden_get(x->g.json, "clients");
    int64_t longest = 0;
    x->num_clients = json_array_size(clients);
    assert_in_range(x->num_clients, 1, MOST_CLIENTS);
    for (size_t k = 0; k < x->num_clients; k++) {
        x->data[k] = golden_data(&x->g, golden_get(json_array_get(clients, k), "samples"));
        int64_t length = x->objective->longest(&x->data[k]);
        if (length > longest) longest = length;
    }
    return longest;
}

/* Steps of client k in every round: of its own, or max_steps for all. */
static int64_t steps_of(const json_t *plan, size_t k)
{
    const json_t *steps = json_object_get(plan, "steps");
    return steps ? json_integer_value(json_array_get(steps, k)) : golden_int(plan, "max_steps");
}

static void open_world(world *x, const char *name)
{
    *x = (world){.g = golden_open(name)};
    const json_t *plan = golden_get(x->g.json, "plan");
    x->lora = golden_lora(&x->g, NULL);
    x->config = plan_config(&x->g);
    x->objective = fl_objective_find(x->config.objective);
    fl_trainer_limits limits = {.longest = open_clients(x), .most_examples = MOST_RECORDS};
    for (size_t k = 0; k < x->num_clients; k++)
        x->steps[k] = steps_of(plan, k);
    OK(fl_model_open(&x->model, golden_path("model"), fl_backend_find("cpu"), 0));
    OK(fl_trainer_create(&x->trainer, x->model, &x->lora, &x->config, &limits));
    OK(fl_lora_create(&x->initial, &x->lora, &x->model->config, 1));
    golden_fill(&x->g, "adapter", &x->initial);
}

static void close_world(world *x)
{
    fl_params_fini(&x->initial);
    fl_trainer_destroy(x->trainer);
    for (size_t k = 0; k < x->num_clients; k++)
        golden_data_fini(&x->data[k]);
    fl_model_close(x->model);
    golden_close(&x->g);
}

/* ---- FedAvg with all clients ------------------------------------------------------------------
 */

static void check_fedavg(const char *name)
{
    world x;
    open_world(&x, name);
    x.fed = (fl_fed_config){.fed_alg = "fedavg",
                            .fed_variant = "openfedllm",
                            .num_rounds = golden_int(golden_get(x.g.json, "plan"), "num_rounds"),
                            .num_clients = (int64_t)x.num_clients,
                            .sample_clients = (int64_t)x.num_clients};
    run_case(&x, x.g.json);
    close_world(&x);
}

static void rounds_on_q_and_v(void **state)
{
    (void)state;
    check_fedavg("fed_qv");
}

static void rounds_on_all_linears(void **state)
{
    (void)state;
    check_fedavg("fed_all");
}

static void rounds_with_accumulation(void **state)
{
    (void)state;
    check_fedavg("fed_all_accum2");
}

static void rounds_of_dpo(void **state)
{
    (void)state;
    check_fedavg("dpo_fed");
}

/* ---- every algorithm --------------------------------------------------------------------------
 */

static const json_t *case_of(const world *x, const fl_algorithm *algorithm, const char *variant)
{
    const json_t *cases = golden_get(x->g.json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        const fl_algorithm *found;
        OK(fl_algorithm_find(&found, json_string_value(golden_get(item, "fed_alg"))));
        const char *other = json_string_value(golden_get(item, "fed_variant"));
        if (found == algorithm && strcmp(other, variant) == 0) return item;
    }
    fail_msg("no golden case of %s, %s", algorithm->name, variant);
    return NULL;
}

static void check_algorithms(const char *name)
{
    static const char *const variants[] = {"paper", "openfedllm"};
    world x;
    open_world(&x, name);
    const json_t *plan = golden_get(x.g.json, "plan");
    size_t count;
    const fl_algorithm *const *algorithms = fl_algorithms(&count);
    for (size_t i = 0; i < 2 * count; i++) {
        const json_t *item = case_of(&x, algorithms[i / 2], variants[i % 2]);
        x.fed = golden_fed(plan, item);
        x.fed.num_rounds = golden_int(plan, "num_rounds");
        x.fed.num_clients = (int64_t)x.num_clients;
        run_case(&x, item);
    }
    close_world(&x);
}

static void rounds_of_every_algorithm(void **state)
{
    (void)state;
    check_algorithms("fedtrain_sft");
}

static void rounds_of_dpo_and_every_algorithm(void **state)
{
    (void)state;
    check_algorithms("fedtrain_dpo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_on_q_and_v),
        cmocka_unit_test(rounds_on_all_linears),
        cmocka_unit_test(rounds_with_accumulation),
        cmocka_unit_test(rounds_of_dpo),
        cmocka_unit_test(rounds_of_every_algorithm),
        cmocka_unit_test(rounds_of_dpo_and_every_algorithm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
