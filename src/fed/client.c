#include "fed/client.h"

#include "io/client_state.h"

#include <string.h>

struct fl_client_side {
    const fl_algorithm *algorithm;
    fl_client client;
    uint32_t id;
    float *host; /* the client's state, then the extra vector, as far as the algorithm has them */
    fl_train_hooks hooks;
    fl_client_store store;
};

static double after_backward(void *context, const float *weights, float *grads, double copies)
{
    const fl_client_side *side = context;
    return side->algorithm->after_backward(&side->client, weights, grads, copies);
}

static void after_step(void *context, float *weights, double learning_rate)
{
    const fl_client_side *side = context;
    side->algorithm->after_step(&side->client, weights, learning_rate);
}

static bool trains_with_hooks(const fl_algorithm *a)
{
    return a->after_backward || a->after_step;
}

static size_t host_vectors(const fl_algorithm *a)
{
    return (a->client ? 1u : 0u) + (a->extra_sum ? 1u : 0u);
}

/* A vector of backend memory. */
static fl_status vector(const fl_client *c, float **out)
{
    return c->ops->alloc(out, c->count * sizeof **out);
}

static fl_status allocate(fl_client_side *side)
{
    const fl_algorithm *a = side->algorithm;
    fl_client *c = &side->client;
    FL_TRY(fl_alloc(&side->host, host_vectors(a) * c->count, sizeof *side->host));
    c->host_own = a->client ? side->host : NULL;
    c->extra = a->extra_sum ? side->host + (host_vectors(a) - 1) * c->count : NULL;
    if (!trains_with_hooks(a)) return FL_OK;
    FL_TRY(vector(c, &c->received));
    FL_TRY(vector(c, &c->scratch));
    if (a->sends_state) FL_TRY(vector(c, &c->sent));
    return a->client ? vector(c, &c->own) : FL_OK;
}

size_t fl_client_side_live_bytes(const fl_algorithm *a, size_t count)
{
    size_t own = a->client ? 1 : 0, sent = a->sends_state ? 1 : 0;
    return (trains_with_hooks(a) ? 2 + sent + own : 0) * count * sizeof(float);
}

size_t fl_client_side_host_bytes(const fl_algorithm *a, size_t count)
{
    size_t image = a->client ? 1 : 0; /* of the state's file */
    return (host_vectors(a) + image) * count * sizeof(float);
}

fl_status fl_client_side_create(fl_client_side **out, const fl_algorithm *algorithm,
                                const fl_fed_config *config, const fl_backend_ops *ops,
                                size_t count, const char *output_dir)
{
    FL_ASSERT(ops && (output_dir || !algorithm->client));
    fl_client_side *side;
    FL_TRY(fl_alloc(&side, 1, sizeof *side));
    *side =
        (fl_client_side){.algorithm = algorithm,
                         .client = {.config = config, .ops = ops, .count = count},
                         .store = {.dir = output_dir, .name = algorithm->client, .count = count}};
    side->hooks = (fl_train_hooks){
        .context = side,
        .after_backward = algorithm->after_backward ? after_backward : NULL,
        .after_step = algorithm->after_step ? after_step : NULL,
    };
    fl_status status = allocate(side);
    if (status != FL_OK) {
        fl_client_side_destroy(side);
        return status;
    }
    *out = side;
    return FL_OK;
}

void fl_client_side_destroy(fl_client_side *side)
{
    if (!side) return;
    const fl_client *c = &side->client;
    c->ops->release(c->received);
    c->ops->release(c->scratch);
    c->ops->release(c->sent);
    c->ops->release(c->own);
    fl_client_store_fini(&side->store);
    fl_free(side->host);
    fl_free(side);
}

static void upload(const fl_client *c, float *device, const float *host)
{
    if (device) c->ops->copy_in(device, host, c->count * sizeof *host);
}

fl_status fl_client_side_begin(fl_client_side *side, const fl_client_start *start)
{
    fl_client *c = &side->client;
    side->id = start->client;
    c->learning_rate = start->learning_rate;
    c->host_received = start->received;
    c->host_sent = start->sent;
    c->scale = 1.0;
    memset(side->host, 0, host_vectors(side->algorithm) * c->count * sizeof *side->host);
    if (side->algorithm->client && start->state_round > 0)
        FL_TRY(fl_client_store_load(&side->store, side->id, start->state_round, c->host_own));
    upload(c, c->received, c->host_received);
    upload(c, c->sent, c->host_sent);
    upload(c, c->own, c->host_own);
    return FL_OK;
}

const fl_train_hooks *fl_client_side_hooks(const fl_client_side *side)
{
    return &side->hooks;
}

double fl_client_side_finish(fl_client_side *side, const float *y, const fl_local_result *local,
                             const float **extra)
{
    if (side->algorithm->finish_client) side->algorithm->finish_client(&side->client, y, local);
    *extra = side->algorithm->extra_sum ? side->client.extra : NULL;
    return side->client.scale;
}

fl_status fl_client_side_save(fl_client_side *side, int64_t done)
{
    if (!side->algorithm->client) return FL_OK;
    return fl_client_store_save(&side->store, side->id, done, side->client.host_own);
}
