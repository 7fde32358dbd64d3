/* Every algorithm, both variants, with clients that are formulas: the ranks together end with the
 * bytes that one rank makes alone, and so does a run that is stopped and continued where the
 * clients of the lost round had written their states. */
#include "io/client_state.h"
#include "support/quadratic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 9, COUNT = 400, ROUNDS = 4, NAME_SIZE = 64 };

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: %s failed (%s)\n", __FILE__, __LINE__, #condition, \
                    fl_error_text());                                                  \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static const uint64_t weight[CLIENTS] = {10, 1, 7, 300, 12, 9, 8, 1000, 31};
static const int64_t steps[CLIENTS] = {1, 4, 2, 5, 3, 1, 4, 2, 6};
static const double cost[CLIENTS] = {1, 4, 2, 5, 3, 1, 4, 2, 6};

typedef struct result {
    float adapter[COUNT], states[FL_MAX_SERVER_STATES][COUNT], client_round[CLIENTS];
    float clients[CLIENTS][COUNT];
} result;

typedef struct world {
    fl_fed_config fed;
    const fl_algorithm *algorithm;
    fl_transport *transport; /* borrowed */
    quadratic clients;
    fl_params global;
    fl_server_state server;
    char dir[NAME_SIZE];
    fl_round *round;
} world;

static bool is_root(const world *x)
{
    return fl_transport_rank(x->transport) == 0;
}

static void open_round(world *x)
{
    fl_round_env env = {.transport = x->transport,
                        .algorithm = x->algorithm,
                        .fed = &x->fed,
                        .seed = 1,
                        .weight = weight,
                        .cost = cost,
                        .global = &x->global,
                        .server = &x->server,
                        .ops = x->clients.ops,
                        .output_dir = x->dir,
                        .clients_per_pass = 3,
                        .train_clients = quadratic_train,
                        .context = &x->clients};
    CHECK(fl_round_create(&x->round, &env) == FL_OK);
}

static void open_world(world *x, const fl_fed_config *fed, fl_transport *transport)
{
    *x = (world){.fed = *fed, .transport = transport, .dir = "/tmp/fedllm-ranks-XXXXXX"};
    quadratic_open(&x->clients, COUNT, steps, true);
    CHECK(quadratic_adapter(&x->global, COUNT) == FL_OK);
    CHECK(fl_algorithm_find(&x->algorithm, fed->fed_alg) == FL_OK);
    CHECK(fl_server_state_init(&x->server, x->algorithm, fed, &x->global, is_root(x)) == FL_OK);
    if (is_root(x)) CHECK(mkdtemp(x->dir));
    CHECK(fl_transport_bcast(transport, 0, x->dir, sizeof x->dir) == FL_OK);
    open_round(x);
}

static void close_world(world *x)
{
    fl_round_destroy(x->round);
    CHECK(fl_transport_barrier(x->transport) == FL_OK);
    if (is_root(x)) CHECK(fl_client_files_remove(x->dir) == FL_OK && rmdir(x->dir) == 0);
    fl_server_state_fini(&x->server);
    fl_params_fini(&x->global);
    quadratic_close(&x->clients);
}

static void run_rounds(world *x, int64_t from, int64_t to)
{
    for (int64_t t = from; t < to; t++) {
        fl_round_result r;
        CHECK(fl_round_run(x->round, t, 0.1 / (double)(t + 1), &r) == FL_OK);
    }
}

/* What state.h5 would hold, and back. */
static void keep_states(world *x, result *out)
{
    if (!is_root(x)) return;
    *out = (result){0};
    memcpy(out->adapter, x->global.data, sizeof out->adapter);
    for (size_t i = 0; i < x->server.num_states; i++)
        memcpy(out->states[i], x->server.states[i].data, sizeof out->states[i]);
    if (x->algorithm->client)
        memcpy(out->client_round, x->server.client_round.data, sizeof out->client_round);
}

static void restore_states(world *x, const result *in)
{
    if (!is_root(x)) return;
    memcpy(x->global.data, in->adapter, sizeof in->adapter);
    for (size_t i = 0; i < x->server.num_states; i++)
        memcpy(x->server.states[i].data, in->states[i], sizeof in->states[i]);
    if (x->algorithm->client)
        memcpy(x->server.client_round.data, in->client_round, sizeof in->client_round);
}

static void read_result(world *x, result *out)
{
    keep_states(x, out);
    if (!is_root(x) || !x->algorithm->client) return;
    fl_client_store store = {.dir = x->dir, .name = x->algorithm->client, .count = COUNT};
    for (uint32_t k = 0; k < CLIENTS; k++)
        if (out->client_round[k] > 0)
            CHECK(fl_client_store_load(&store, k, (int64_t)out->client_round[k], out->clients[k]) ==
                  FL_OK);
    fl_client_store_fini(&store);
}

static void run_whole(const fl_fed_config *fed, fl_transport *transport, result *out)
{
    world x;
    open_world(&x, fed, transport);
    run_rounds(&x, 0, ROUNDS);
    read_result(&x, out);
    close_world(&x);
}

/* As after a kill in round `done` + 1 when all its clients had been trained. */
static void run_with_loss(const fl_fed_config *fed, fl_transport *transport, int64_t done,
                          result *out)
{
    static result kept;
    world x;
    open_world(&x, fed, transport);
    run_rounds(&x, 0, done);
    keep_states(&x, &kept);
    run_rounds(&x, done, done + 1);
    fl_round_destroy(x.round);
    restore_states(&x, &kept);
    open_round(&x);
    run_rounds(&x, done, ROUNDS);
    read_result(&x, out);
    close_world(&x);
}

static void check_algorithm(const fl_fed_config *fed, fl_transport *transport, fl_transport *self)
{
    static result together, alone;
    bool root = fl_transport_rank(transport) == 0;
    run_whole(fed, transport, &together);
    if (!root) return;
    run_whole(fed, self, &alone);
    CHECK(memcmp(&together, &alone, sizeof alone) == 0);
    size_t moved = 0;
    for (size_t i = 0; i < COUNT; i++)
        moved += alone.adapter[i] != quadratic_start(i);
    CHECK(moved > COUNT / 2);
}

static void check_resume(const fl_fed_config *fed, fl_transport *transport)
{
    static result whole, continued;
    run_whole(fed, transport, &whole);
    for (int64_t done = 0; done < ROUNDS; done++) {
        run_with_loss(fed, transport, done, &continued);
        if (fl_transport_rank(transport) == 0) CHECK(memcmp(&whole, &continued, sizeof whole) == 0);
    }
}

int main(int argc, char **argv)
{
    static const char *const variants[] = {"paper", "openfedllm"};
    fl_transport *transport, *self;
    CHECK(fl_transport_open(&transport, argc > 1 ? argv[1] : "mpi") == FL_OK);
    CHECK(fl_transport_open(&self, "self") == FL_OK);
    size_t count;
    const fl_algorithm *const *algorithms = fl_algorithms(&count);
    for (size_t i = 0; i < 2 * count; i++) {
        const fl_algorithm *algorithm = algorithms[i / 2];
        fl_fed_config fed = {.fed_alg = algorithm->numbered ? "local7" : algorithm->name,
                             .fed_variant = variants[i % 2],
                             .num_rounds = ROUNDS,
                             .num_clients = CLIENTS,
                             .sample_clients = 5,
                             .prox_mu = 0.3,
                             .scaffold_eta = 0.5,
                             .feddyn_alpha = 0.2,
                             .diloco_eta = 0.7,
                             .diloco_momentum = 0.9,
                             .fedopt_tau = 0.01,
                             .fedopt_eta = 0.1,
                             .fedopt_beta1 = 0.8,
                             .fedopt_beta2 = 0.95};
        check_algorithm(&fed, transport, self);
        check_resume(&fed, transport);
    }
    fl_transport_close(self);
    fl_transport_close(transport);
    return 0;
}
