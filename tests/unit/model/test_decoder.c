/* What golden files cannot say: packing, memory shared between layers, limits, dropout's gradient.
 */
#include "base/mem.h"
#include "model/generate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char model_dir[] = FL_TEST_SOURCE_DIR "/tests/golden/data/model";

enum { T = 24, VOCAB = 160 };
/* four sequences, one of them a single token, one empty */
static const int32_t cu[] = {0, 7, 8, 8, T};
static int32_t ids[T], pos[T], rows[T], targets[T];
static float weights[T];

typedef struct world {
    fl_model *model;
    fl_lora_config lora;
    fl_params adapter;
} world;

static int open_world(void **state)
{
    static world w;
    w = (world){.lora = {.r = 3, .alpha = 5, .dropout = 0.3f}};
    for (int m = 0; m < FL_NUM_MODULES; m++)
        w.lora.target[m] = true;
    assert_int_equal(fl_model_open(&w.model, model_dir, fl_backend_find("cpu"), 64), FL_OK);
    assert_int_equal(fl_lora_create(&w.adapter, &w.lora, &w.model->config, 3), FL_OK);
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (size_t i = 0; i < w.adapter.count; i++) /* B is not zero, or A had no gradient */
        w.adapter.data[i] += 0.05f * (fl_rng_uniform(&rng) - 0.5f);
    for (int s = 0; s < 4; s++)
        for (int32_t t = cu[s]; t < cu[s + 1]; t++) {
            pos[t] = t - cu[s];
            ids[t] = (int32_t)fl_rng_below(&rng, VOCAB);
            rows[t] = t;
            targets[t] = (int32_t)fl_rng_below(&rng, VOCAB);
            weights[t] = 1.0f / T;
        }
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    fl_params_fini(&w->adapter);
    fl_model_close(w->model);
    return 0;
}

static fl_decoder *make_decoder(const world *w, bool backward)
{
    fl_decoder *decoder;
    fl_decoder_limits limits = {.max_tokens = T, .max_sequences = 4, .backward = backward};
    assert_int_equal(fl_decoder_create(&decoder, w->model, &w->lora, &limits), FL_OK);
    fl_decoder_set_adapter(decoder, w->adapter.data);
    return decoder;
}

static const fl_tokens_view packed = {.ids = ids, .pos = pos, .cu = cu, .S = 4, .T = T};

/* Without backward all layers share one set of activations: the logits must not notice. */
static void memory_is_shared_safely(void **state)
{
    world *w = *state;
    static float a[T * VOCAB], b[T * VOCAB];
    fl_decoder *lean = make_decoder(w, false), *full = make_decoder(w, true);
    assert_int_equal(fl_decoder_logits(lean, &packed, rows, T, a), FL_OK);
    assert_int_equal(fl_decoder_logits(full, &packed, rows, T, b), FL_OK);
    assert_memory_equal(a, b, sizeof a);
    fl_decoder_destroy(lean);
    fl_decoder_destroy(full);
}

/* A sequence's logits are the same bits alone and in any company. */
static void packing_does_not_matter(void **state)
{
    world *w = *state;
    static float together[T * VOCAB], alone[T * VOCAB];
    fl_decoder *decoder = make_decoder(w, false);
    assert_int_equal(fl_decoder_logits(decoder, &packed, rows, T, together), FL_OK);
    for (int s = 0; s < 4; s++) {
        int32_t length = cu[s + 1] - cu[s], single[] = {0, length};
        if (length == 0) continue;
        fl_tokens_view view = {
            .ids = ids + cu[s], .pos = pos + cu[s], .cu = single, .S = 1, .T = length};
        assert_int_equal(fl_decoder_logits(decoder, &view, rows, length, alone), FL_OK);
        assert_memory_equal(alone, together + cu[s] * VOCAB,
                            (size_t)length * VOCAB * sizeof(float));
    }
    fl_decoder_destroy(decoder);
}

static double loss_of(fl_decoder *decoder, const fl_dropout_keys *keys, float *grads)
{
    fl_targets_view wanted = {.rows = rows, .targets = targets, .weights = weights, .N = T};
    double loss;
    assert_int_equal(fl_decoder_loss(decoder, &packed, &wanted, keys, &loss, grads), FL_OK);
    return loss;
}

/* With dropout on, the mask of the backward pass must be the forward pass's: directional derivative
 * against a central difference.  fp32 loss noise 1e-7 over 2h = 2e-3 gives 1e-4; curvature is
 * below. */
static void gradient_under_dropout(void **state)
{
    world *w = *state;
    fl_decoder *decoder = make_decoder(w, true);
    const fl_dropout_keys keys = {.seed = 1, .round = 2, .client = 3, .step = 4};
    fl_params gradient, direction;
    assert_int_equal(fl_params_like(&gradient, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&direction, &w->adapter), FL_OK);
    loss_of(decoder, &keys, gradient.data);
    double norm = 0, slope = 0;
    for (size_t i = 0; i < gradient.count; i++)
        norm += (double)gradient.data[i] * (double)gradient.data[i];
    const double h = 1e-3;
    double losses[2];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < gradient.count; i++)
            direction.data[i] = w->adapter.data[i] +
                                (float)((side ? h : -h) * (double)gradient.data[i] / sqrt(norm));
        fl_decoder_set_adapter(decoder, direction.data);
        losses[side] = loss_of(decoder, &keys, NULL);
    }
    slope = (losses[1] - losses[0]) / (2 * h);
    print_message("  slope %.6f, gradient norm %.6f\n", slope, sqrt(norm));
    assert_true(fabs(slope - sqrt(norm)) < 2e-3 * sqrt(norm));
    fl_params_fini(&gradient);
    fl_params_fini(&direction);
    fl_decoder_destroy(decoder);
}

static void dropout_follows_its_keys(void **state)
{
    world *w = *state;
    fl_decoder *decoder = make_decoder(w, true);
    fl_dropout_keys keys = {.seed = 1, .round = 2, .client = 3, .step = 4};
    double loss = loss_of(decoder, &keys, NULL), plain = loss_of(decoder, NULL, NULL);
    assert_true(loss == loss_of(decoder, &keys, NULL));
    assert_true(loss != plain);
    keys.client = 4;
    assert_true(loss != loss_of(decoder, &keys, NULL));
    fl_decoder_destroy(decoder);
}

static void nothing_is_allocated_in_a_pass(void **state)
{
    world *w = *state;
    fl_decoder *decoder = make_decoder(w, true);
    fl_params gradient;
    assert_int_equal(fl_params_like(&gradient, &w->adapter), FL_OK);
    loss_of(decoder, NULL, gradient.data); /* first use warms the kernels' own scratch */
    uint64_t before = fl_alloc_count();
    loss_of(decoder, NULL, gradient.data);
    assert_true(fl_alloc_count() == before);
    fl_params_fini(&gradient);
    fl_decoder_destroy(decoder);
}

static void limits_are_kept(void **state)
{
    world *w = *state;
    fl_decoder *decoder = make_decoder(w, false);
    static float out[VOCAB];
    fl_tokens_view view = packed;
    view.T = T + 1;
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, 1, out), FL_ERR_INTERNAL);
    int32_t bad[1] = {VOCAB}, far[1] = {64}, zero[1] = {0}, one[] = {0, 1};
    view = (fl_tokens_view){.ids = bad, .pos = zero, .cu = one, .S = 1, .T = 1};
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, 1, out), FL_ERR_INPUT);
    view = (fl_tokens_view){.ids = zero, .pos = far, .cu = one, .S = 1, .T = 1};
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, 1, out), FL_ERR_INPUT);
    fl_decoder_destroy(decoder);
}

/* What a batch may say about its clients. */
static void clients_of_a_batch(void **state)
{
    world *w = *state;
    static float alone[T * VOCAB], out[T * VOCAB];
    static const int32_t good[] = {0, 8, 8, T}, crossing[] = {0, 5, T}, falling[] = {0, 8, 7, T};
    static const int32_t late[] = {1, 8, T}, early[] = {0, 8, T - 1};
    const int32_t *const bad[] = {crossing, late, early, falling};
    fl_decoder_limits limits = {.max_tokens = T, .max_sequences = 4, .max_clients = 3};
    fl_decoder *decoder, *single = make_decoder(w, false);
    fl_tokens_view view = packed;
    assert_int_equal(fl_decoder_create(&decoder, w->model, &w->lora, &limits), FL_OK);
    fl_decoder_set_adapters(decoder, w->adapter.data, 0, NULL, 3); /* one for all */
    view.first = good;
    view.clients = 3;
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, T, out), FL_OK);
    assert_int_equal(fl_decoder_logits(single, &packed, rows, T, alone), FL_OK);
    assert_memory_equal(out, alone, sizeof out);
    for (int i = 0; i < 4; i++) {
        view.first = bad[i];
        view.clients = i == 3 ? 3 : 2;
        assert_int_equal(fl_decoder_logits(decoder, &view, rows, T, out), FL_ERR_INTERNAL);
    }
    fl_decoder_set_adapters(decoder, w->adapter.data, 0, NULL, 2);
    view.first = good;
    view.clients = 3;
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, T, out), FL_ERR_INTERNAL);
    assert_int_equal(fl_decoder_logits(single, &view, rows, T, out), FL_ERR_INTERNAL);
    fl_decoder_destroy(decoder);
    fl_decoder_destroy(single);
}

/* A sequence cannot continue one of another client. */
static void prefixes_stay_with_a_client(void **state)
{
    world *w = *state;
    static float out[T * VOCAB];
    static const int32_t prefix[] = {-1, 0, 0, 0}, together[] = {0, T, T}, apart[] = {0, 8, T};
    fl_decoder_limits limits = {.max_tokens = T, .max_sequences = 4, .max_clients = 2};
    fl_decoder *decoder;
    fl_tokens_view view = packed;
    assert_int_equal(fl_decoder_create(&decoder, w->model, &w->lora, &limits), FL_OK);
    fl_decoder_set_adapters(decoder, w->adapter.data, 0, NULL, 2);
    view.prefix = prefix;
    view.clients = 2;
    view.first = together;
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, T, out), FL_OK);
    view.first = apart;
    assert_int_equal(fl_decoder_logits(decoder, &view, rows, T, out), FL_ERR_INTERNAL);
    fl_decoder_destroy(decoder);
}

/* Greedy answers with the cache are those of a full pass over the growing text. */
static void cache_equals_full_passes(void **state)
{
    world *w = *state;
    enum { NEW = 12 };
    fl_decoder *decoder = make_decoder(w, false);
    fl_generator *generator;
    assert_int_equal(fl_generator_create(&generator, decoder, 4, 32), FL_OK);
    const int32_t prompt_cu[] = {0, 7, 8};
    fl_tokens_view prompts = {.ids = ids, .pos = pos, .cu = prompt_cu, .S = 2, .T = 8};
    int32_t out[2 * NEW];
    int64_t counts[2];
    assert_int_equal(fl_generate_greedy(generator, &prompts, NEW, -1, out, counts), FL_OK);
    for (int s = 0; s < 2; s++) {
        int32_t text[32], places[32], length = prompt_cu[s + 1] - prompt_cu[s];
        memcpy(text, ids + prompt_cu[s], (size_t)length * sizeof *text);
        for (int32_t i = 0; i < 32; i++)
            places[i] = i;
        for (int n = 0; n < NEW; n++) {
            static float logits[VOCAB];
            int32_t single[] = {0, length}, last = length - 1, best = 0;
            fl_tokens_view view = {.ids = text, .pos = places, .cu = single, .S = 1, .T = length};
            assert_int_equal(fl_decoder_logits(decoder, &view, &last, 1, logits), FL_OK);
            for (int32_t v = 1; v < VOCAB; v++)
                if (logits[v] > logits[best]) best = v;
            assert_int_equal(out[s * NEW + n], best);
            text[length++] = best;
        }
    }
    fl_generator_destroy(generator);
    fl_decoder_destroy(decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_shared_safely),
        cmocka_unit_test(packing_does_not_matter),
        cmocka_unit_test(gradient_under_dropout),
        cmocka_unit_test(dropout_follows_its_keys),
        cmocka_unit_test(nothing_is_allocated_in_a_pass),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(clients_of_a_batch),
        cmocka_unit_test(prefixes_stay_with_a_client),
        cmocka_unit_test(cache_equals_full_passes),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
