/* The key/value cache: whatever way tokens get into it, the logits are those of one pass. */
#include "model/generate.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char model_dir[] = FL_TEST_SOURCE_DIR "/tests/golden/data/model";

enum { VOCAB = 160, LONGEST = 50, SEQUENCES = 4 };

typedef struct world {
    fl_model *model;
    fl_decoder *decoder; /* passes of 8 tokens */
    fl_decoder *whole;   /* passes of a sequence */
    fl_generator *generator;
    int32_t ids[SEQUENCES][LONGEST];
    float logits[SEQUENCES][LONGEST][VOCAB]; /* after each token */
} world;

static int open_world(void **state)
{
    static world w;
    const fl_lora_config none = {.r = 1, .alpha = 1};
    fl_decoder_limits small = {.max_tokens = 8, .max_sequences = SEQUENCES};
    fl_decoder_limits large = {.max_tokens = LONGEST, .max_sequences = 1};
    assert_int_equal(fl_model_open(&w.model, model_dir, fl_backend_find("cpu"), 64), FL_OK);
    assert_int_equal(fl_decoder_create(&w.decoder, w.model, &none, &small), FL_OK);
    assert_int_equal(fl_decoder_create(&w.whole, w.model, &none, &large), FL_OK);
    assert_int_equal(fl_generator_create(&w.generator, w.decoder, SEQUENCES, LONGEST), FL_OK);
    assert_int_equal(fl_generator_keep_logits(w.generator), FL_OK);
    fl_rng rng = fl_rng_make(5, FL_PURPOSE_TEST, 0, 0, 0, 0);
    int32_t pos[LONGEST];
    const int32_t cu[] = {0, LONGEST};
    for (int s = 0; s < SEQUENCES; s++) {
        for (int32_t t = 0; t < LONGEST; t++) {
            pos[t] = t;
            w.ids[s][t] = (int32_t)fl_rng_below(&rng, VOCAB);
        }
        fl_tokens_view view = {.ids = w.ids[s], .pos = pos, .cu = cu, .S = 1, .T = LONGEST};
        assert_int_equal(fl_decoder_logits(w.whole, &view, pos, LONGEST, w.logits[s][0]), FL_OK);
    }
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    fl_generator_destroy(w->generator);
    fl_decoder_destroy(w->decoder);
    fl_decoder_destroy(w->whole);
    fl_model_close(w->model);
    return 0;
}

/* Sequence s of the generator holds the first `length` ids of sequence `which`. */
static void expect_state(const world *w, int64_t s, int which, int64_t length)
{
    const float *got = fl_generator_logits(w->generator, s);
    const float *expected = w->logits[which][length - 1];
    assert_int_equal(fl_generator_length(w->generator, s), length);
    int32_t best = 0;
    for (int v = 0; v < VOCAB; v++) {
        assert_true(fabsf(got[v] - expected[v]) < 2e-5f);
        if (got[v] > got[best]) best = v;
    }
    assert_int_equal(fl_generator_greedy(w->generator, s), best);
}

/* Adds the first lengths[i] ids of sequences first .. first + n - 1. */
static void add(world *w, int first, const int32_t *lengths, int n)
{
    int32_t ids[SEQUENCES * LONGEST], cu[SEQUENCES + 1] = {0};
    for (int i = 0; i < n; i++) {
        memcpy(ids + cu[i], w->ids[first + i], (size_t)lengths[i] * sizeof *ids);
        cu[i + 1] = cu[i] + lengths[i];
    }
    fl_tokens_view view = {.ids = ids, .cu = cu, .S = n, .T = cu[n]};
    assert_int_equal(fl_generator_add(w->generator, &view), FL_OK);
}

static void sequences_come_and_go(void **state)
{
    world *w = *state;
    fl_generator *g = w->generator;
    int which[SEQUENCES] = {0, 1, 2, 3};
    int64_t length[SEQUENCES] = {3, 20, 5, 0};
    fl_generator_reset(g);
    add(w, 0, (const int32_t[]){3, 20, 5}, 3); /* one fits, one is longer than a pass, one fits */
    for (int step = 0; step < 20; step++) {
        int64_t count = fl_generator_count(g);
        for (int64_t s = 0; s < count; s++)
            expect_state(w, s, which[s], length[s]);
        if (step == 4) { /* the last one takes the place of the first */
            fl_generator_drop(g, 0);
            count--;
            which[0] = which[count];
            length[0] = length[count];
            expect_state(w, 0, which[0], length[0]);
        }
        if (step == 9) { /* one more beside those that run */
            add(w, 3, (const int32_t[]){9}, 1);
            which[count] = 3;
            length[count++] = 9;
        }
        int32_t next[SEQUENCES];
        for (int64_t s = 0; s < count; s++)
            next[s] = w->ids[which[s]][length[s]++];
        assert_int_equal(fl_generator_step(g, next), FL_OK);
    }
    while (fl_generator_count(g) > 0)
        fl_generator_drop(g, 0);
    assert_int_equal(fl_generator_step(g, NULL), FL_OK);
}

static void conversations_go_on(void **state)
{
    world *w = *state;
    fl_generator *g = w->generator;
    fl_generator_reset(g);
    add(w, 1, (const int32_t[]){4}, 1);
    assert_int_equal(fl_generator_extend(g, 0, w->ids[1] + 4, 1), FL_OK);
    expect_state(w, 0, 1, 5);
    assert_int_equal(fl_generator_extend(g, 0, w->ids[1] + 5, 21), FL_OK); /* three passes */
    expect_state(w, 0, 1, 26);
    /* the end is taken back and comes again */
    int32_t wrong[10] = {0};
    assert_int_equal(fl_generator_extend(g, 0, wrong, 10), FL_OK);
    fl_generator_rewind(g, 0, 20);
    assert_int_equal(fl_generator_extend(g, 0, w->ids[1] + 20, 7), FL_OK);
    expect_state(w, 0, 1, 27);
    fl_generator_rewind(g, 0, 0);
    assert_int_equal(fl_generator_extend(g, 0, w->ids[1], 12), FL_OK);
    expect_state(w, 0, 1, 12);
}

static void what_does_not_fit_is_an_error(void **state)
{
    world *w = *state;
    fl_generator *g = w->generator;
    fl_generator_reset(g);
    add(w, 0, (const int32_t[]){LONGEST}, 1);
    expect_state(w, 0, 0, LONGEST);
    assert_int_equal(fl_generator_step(g, w->ids[0]), FL_ERR_INTERNAL);
    assert_int_equal(fl_generator_extend(g, 0, w->ids[0], 1), FL_ERR_INTERNAL);
    const int32_t cu[] = {0, 1, 2, 3, 4}, none[] = {0, 0};
    fl_tokens_view four = {.ids = w->ids[0], .cu = cu, .S = 4, .T = 4};
    fl_tokens_view empty = {.ids = w->ids[0], .cu = none, .S = 1};
    assert_int_equal(fl_generator_add(g, &four), FL_ERR_INTERNAL);
    assert_int_equal(fl_generator_add(g, &empty), FL_ERR_INTERNAL);
    const int32_t outside = VOCAB;
    fl_generator_reset(g);
    add(w, 0, (const int32_t[]){2}, 1);
    assert_int_equal(fl_generator_step(g, &outside), FL_ERR_INPUT);
}

/* The bits of a sequence do not depend on what is answered beside it. */
static void neighbours_do_not_matter(void **state)
{
    world *w = *state;
    fl_generator *g = w->generator;
    float alone[VOCAB];
    int32_t next[SEQUENCES] = {0};
    fl_generator_reset(g);
    add(w, 2, (const int32_t[]){6}, 1);
    next[0] = w->ids[2][6];
    assert_int_equal(fl_generator_step(g, next), FL_OK);
    memcpy(alone, fl_generator_logits(g, 0), sizeof alone);
    fl_generator_reset(g);
    add(w, 0, (const int32_t[]){11, 2, 6, 1}, 4);
    next[2] = w->ids[2][6];
    assert_int_equal(fl_generator_step(g, next), FL_OK);
    assert_memory_equal(alone, fl_generator_logits(g, 2), sizeof alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_come_and_go),
        cmocka_unit_test(conversations_go_on),
        cmocka_unit_test(what_does_not_fit_is_an_error),
        cmocka_unit_test(neighbours_do_not_matter),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
