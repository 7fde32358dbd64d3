/* Bodies that a device repeats as graphs: whatever changes between two calls, a decoder that has
 * met calls like them before gives the bits of a new one, which runs everything launch by launch.
 */
#include "kernels/emu/control.h"
#include "model/decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CLIENTS = 2, SEQUENCES = 2 * CLIENTS, MOST_T = 15, VOCAB = 96, MOST_PAIRS = 64, PASSES = 3 };

#define OK(call) assert_int_equal((call), FL_OK)

/* What one call is made of.  All batches are filled up to the same number of rows. */
typedef struct scene {
    const char *name;
    int first[CLIENTS + 1]; /* rows of clients; 0: not there */
    uint64_t weights;       /* seed of the adapters */
    uint64_t dropout;       /* 0: none */
    double factor;
    unsigned frozen;
    int side;       /* ranks of the base's change are 1 or 2 by turns, times this; 0: none */
    bool continues; /* in two halves; the second sequence of a client continues the first */
} scene;

static const scene scenes[] = {
    {"plain", {0, 10}, 1, 0, 1, 0, 0, false},
    {"other weights", {0, 10}, 2, 0, 1, 0, 0, false},
    {"dropout", {0, 10}, 1, 1, 1, 0, 0, false},
    {"two others", {0, 9, 15}, 1, 3, 2, 0, 0, false},
    {"other dropout", {0, 12}, 1, 2, 1, 0, 0, false},
    {"factor", {0, 10}, 1, 0, 0.5, 0, 0, false},
    {"base moved", {0, 10}, 1, 0, 1, 0, 1, false},
    {"base moved on", {0, 10}, 1, 0, 1, 0, 3, false},
    {"two clients", {0, 6, 12}, 1, 0, 1, 0, 0, false},
    {"A is frozen", {0, 10}, 1, 0, 1, FL_FACTOR_A, 0, false},
    {"B is frozen", {0, 10}, 1, 0, 1, FL_FACTOR_B, 0, false},
    {"halves", {0, 11}, 1, 1, 1, 0, 0, true},
    {"halves of two", {0, 6, 13}, 2, 4, 1, 0, 0, true},
};
enum { SCENES = sizeof scenes / sizeof scenes[0] };

typedef struct world {
    const fl_backend_ops *ops;
    fl_model *model;
    fl_lora_config lora;
    fl_decoder_limits limits;
    fl_params layout; /* of an adapter */
    size_t stride;
    float *weights, *grads; /* [CLIENTS, stride] backend memory, the same for all decoders */
    float *side;            /* room for any, likewise */
    float *host;            /* as large as either */
} world;

/* Bits to compare. */
typedef struct outcome {
    double loss[CLIENTS];
    double nll[MOST_T];
    float *grads; /* [CLIENTS, stride] */
} outcome;

/* ---- data ----------------------------------------------------------------------------------- */

static void draw(world *w, float *to, size_t count, uint64_t seed)
{
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, seed, 0, 0, 0);
    for (size_t i = 0; i < count; i++)
        w->host[i] = 0.2f * (fl_rng_uniform(&rng) - 0.5f);
    w->ops->copy_in(to, w->host, count * sizeof *to);
}

/* Numbers in a change of the base; its ranks. */
static size_t side_of(const world *w, int times, int64_t *rank)
{
    size_t count = 0;
    for (size_t i = 0; i < w->layout.num_params / 2; i++) {
        const fl_param *a = &w->layout.params[2 * i];
        rank[i] = (int64_t)(1 + i % 2) * times;
        count += (size_t)(rank[i] * (a[0].dim[1] + a[1].dim[0]));
    }
    return count;
}

static void open_world(world *w, const char *model, fl_dtype compute, bool recompute)
{
    char dir[512];
    int64_t rank[MOST_PAIRS];
    snprintf(dir, sizeof dir, FL_TEST_SOURCE_DIR "/tests/golden/data/%s", model);
    *w = (world){.ops = fl_backend_find("cuda_emu"),
                 .lora = {.r = 3, .alpha = 5, .dropout = 0.3f, .has_side = true}};
    w->limits = (fl_decoder_limits){.max_tokens = MOST_T,
                                    .max_sequences = SEQUENCES,
                                    .max_clients = CLIENTS,
                                    .backward = true,
                                    .recompute = recompute};
    OK(w->ops->open(0));
    OK(w->ops->set_compute(compute));
    OK(fl_model_open(&w->model, dir, w->ops, 64));
    for (int m = 0; m < FL_NUM_MODULES; m++)
        w->lora.target[m] = true;
    OK(fl_lora_create(&w->layout, &w->lora, &w->model->config, 3));
    assert_true(w->layout.num_params / 2 <= MOST_PAIRS);
    w->stride = w->layout.count + 5;
    size_t adapters = CLIENTS * w->stride, side = side_of(w, 3, rank);
    w->host = calloc(adapters > side ? adapters : side, sizeof *w->host);
    OK(w->ops->alloc(&w->weights, adapters * sizeof *w->weights));
    OK(w->ops->alloc(&w->grads, adapters * sizeof *w->grads));
    OK(w->ops->alloc(&w->side, side * sizeof *w->side));
}

static void close_world(world *w)
{
    w->ops->release(w->weights);
    w->ops->release(w->grads);
    w->ops->release(w->side);
    free(w->host);
    fl_params_fini(&w->layout);
    fl_model_close(w->model);
    OK(w->ops->set_compute(FL_F32));
}

/* ---- calls ---------------------------------------------------------------------------------- */

static int clients_of(const scene *s)
{
    return s->first[2] ? 2 : 1;
}

static void set_up(world *w, fl_decoder *decoder, const scene *s)
{
    int64_t rank[MOST_PAIRS];
    double factor[] = {s->factor, 2 * s->factor};
    draw(w, w->weights, CLIENTS * w->stride, s->weights);
    w->ops->zero(w->grads, CLIENTS * w->stride * sizeof *w->grads);
    if (s->side) draw(w, w->side, side_of(w, s->side, rank), 7);
    fl_decoder_set_adapters(decoder, w->weights, w->stride, factor, clients_of(s));
    fl_decoder_set_side(decoder, s->side ? w->side : NULL, rank);
    fl_decoder_freeze(decoder, s->frozen);
}

/* Every client has two sequences of about the same length. */
typedef struct batch {
    int32_t ids[MOST_T], pos[MOST_T], cu[SEQUENCES + 1], prefix[SEQUENCES], first[CLIENTS + 1];
    int32_t rows[MOST_T], targets[MOST_T];
    float weights[MOST_T];
    fl_tokens_view tokens;
    fl_targets_view wanted;
} batch;

static void make_batch(batch *b, const scene *s)
{
    int clients = clients_of(s), S = 0, N = 0, T = s->first[clients];
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 9, (uint64_t)T, 0, 0);
    memset(b, 0, sizeof *b);
    for (int c = 0; c < clients; c++) {
        int begin = s->first[c], end = s->first[c + 1], half = (begin + end) / 2;
        b->first[c + 1] = end;
        b->prefix[S] = -1;
        b->cu[++S] = half;
        b->prefix[S] = s->continues ? S - 1 : -1;
        b->cu[++S] = end;
        for (int t = begin; t < end; t++)
            b->pos[t] = s->continues || t < half ? t - begin : t - half;
    }
    for (int t = 0; t < T; t++) {
        b->ids[t] = (int32_t)fl_rng_below(&rng, VOCAB);
        if (t % 5 == 3) continue;
        b->rows[N] = t;
        b->weights[N] = 0.1f * (float)(1 + t % 3);
        b->targets[N++] = (int32_t)fl_rng_below(&rng, VOCAB);
    }
    b->tokens = (fl_tokens_view){.ids = b->ids,
                                 .pos = b->pos,
                                 .cu = b->cu,
                                 .S = S,
                                 .T = T,
                                 .prefix = s->continues ? b->prefix : NULL,
                                 .first = b->first,
                                 .clients = clients};
    b->wanted = (fl_targets_view){b->rows, b->targets, b->weights, N};
}

/* Returns how many graphs were launched. */
static uint64_t call(world *w, fl_decoder *decoder, const scene *s, outcome *out)
{
    batch b;
    uint64_t before = fl_emu_graph_launches();
    size_t bytes = CLIENTS * w->stride * sizeof *out->grads;
    const fl_dropout_keys both[] = {{s->dropout, 2, 3, 4}, {s->dropout, 2, 4, 4}};
    const fl_dropout_keys *keys = s->dropout ? both : NULL;
    *out = (outcome){.grads = malloc(bytes)};
    make_batch(&b, s);
    set_up(w, decoder, s);
    if (s->continues) {
        OK(fl_decoder_forward(decoder, &b.tokens, &b.wanted, keys, out->nll));
        fl_decoder_backward(decoder, b.weights, w->grads);
    } else {
        OK(fl_decoder_loss(decoder, &b.tokens, &b.wanted, keys, out->loss, w->grads));
    }
    w->ops->copy_out(out->grads, w->grads, bytes);
    OK(w->ops->status());
    return fl_emu_graph_launches() - before;
}

/* ---- the comparison ------------------------------------------------------------------------- */

static fl_decoder *make_decoder(const world *w)
{
    fl_decoder *decoder;
    OK(fl_decoder_create(&decoder, w->model, &w->lora, &w->limits));
    return decoder;
}

static void expect_same(const world *w, const scene *s, const outcome *got, const outcome *wanted)
{
    bool same = memcmp(got->loss, wanted->loss, sizeof got->loss) == 0 &&
                memcmp(got->nll, wanted->nll, sizeof got->nll) == 0 &&
                memcmp(got->grads, wanted->grads, CLIENTS * w->stride * sizeof *got->grads) == 0;
    if (!same) fail_msg("%s: other bits than launch by launch", s->name);
}

/* No two scenes may have the same outcome, or their comparison says nothing. */
static void expect_different(const world *w, const outcome *all, int step)
{
    size_t bytes = CLIENTS * w->stride * sizeof *all->grads;
    for (int i = 0; i < SCENES; i += step)
        for (int j = 0; j < i; j += step)
            if (memcmp(all[i].grads, all[j].grads, bytes) == 0)
                fail_msg("%s is like %s", scenes[i].name, scenes[j].name);
}

/* Every `step`th scene. */
static void compare(const char *model, fl_dtype compute, bool recompute, int step)
{
    static outcome warm[PASSES][SCENES], fresh[SCENES];
    world w;
    open_world(&w, model, compute, recompute);
    fl_decoder *decoder = make_decoder(&w);
    for (int pass = 0; pass < PASSES; pass++)
        for (int i = 0; i < SCENES; i += step) {
            const scene *s = &scenes[i];
            uint64_t launches = call(&w, decoder, s, &warm[pass][i]);
            if (pass < PASSES - 1 || s->side) continue;
            assert_int_equal(launches, s->continues ? 4 : 3); /* all bodies of the call */
        }
    for (int i = 0; i < SCENES; i += step) {
        fl_decoder *other = make_decoder(&w);
        assert_int_equal(call(&w, other, &scenes[i], &fresh[i]), 0);
        fl_decoder_destroy(other);
    }
    expect_different(&w, fresh, step);
    for (int i = 0; i < SCENES; i += step) {
        for (int pass = 0; pass < PASSES; pass++) {
            expect_same(&w, &scenes[i], &warm[pass][i], &fresh[i]);
            free(warm[pass][i].grads);
        }
        free(fresh[i].grads);
    }
    fl_decoder_destroy(decoder);
    close_world(&w);
}

static void test_llama(void **state)
{
    (void)state;
    compare("model", FL_F32, false, 1);
}

/* Windows that differ from layer to layer, caps, more norms; layers computed again in the backward
 * pass. */
static void test_gemma2(void **state)
{
    (void)state;
    compare("families/gemma2", FL_BF16, true, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama),
        cmocka_unit_test(test_gemma2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
