/* A real pretrained Llama (stories260K, outside the repository) against its oracle, which was
 * computed in double precision: 256 greedy ids and the loss of every token of four texts. */
#include "golden/golden.h"
#include "model/generate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char model_dir[] = FL_TEST_SHARED_DATA "/models/stories260K-hf";
static const char oracle_path[] = FL_TEST_SHARED_DATA "/models/stories260K/oracle.json";

enum { GREEDY = 256 };

typedef struct world {
    json_t *oracle;
    fl_model *model;
    fl_decoder *decoder;
} world;

static int open_world(void **state)
{
    static world w;
    w.oracle = json_load_file(oracle_path, 0, NULL);
    assert_non_null(w.oracle);
    OK(fl_model_open(&w.model, model_dir, fl_backend_find("cpu"), 0));
    fl_lora_config none = {.r = 1, .alpha = 1};
    fl_decoder_limits limits = {.max_tokens = 512, .max_sequences = 4};
    OK(fl_decoder_create(&w.decoder, w.model, &none, &limits));
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    fl_decoder_destroy(w->decoder);
    fl_model_close(w->model);
    json_decref(w->oracle);
    return 0;
}

static void greedy_ids(void **state)
{
    world *w = *state;
    const json_t *expected = golden_get(w->oracle, "greedy_ids");
    assert_int_equal(json_array_size(expected), GREEDY);
    /* three prompts of different length at a time: the answers must not disturb one another */
    int32_t start = (int32_t)golden_int(w->oracle, "start_token");
    int32_t first = (int32_t)json_integer_value(json_array_get(expected, 0));
    int32_t second = (int32_t)json_integer_value(json_array_get(expected, 1));
    const int32_t ids[] = {start, start, first, start, first, second};
    const int32_t pos[] = {0, 0, 1, 0, 1, 2}, cu[] = {0, 1, 3, 6};
    fl_tokens_view prompts = {.ids = ids, .pos = pos, .cu = cu, .S = 3, .T = 6};
    static int32_t out[3 * GREEDY];
    int64_t counts[3];
    fl_generator *generator;
    OK(fl_generator_create(&generator, w->decoder, 3, GREEDY + 3));
    OK(fl_generate_greedy(generator, &prompts, GREEDY, -1, out, counts));
    for (size_t s = 0; s < 3; s++)
        for (size_t i = 0; i + s < GREEDY; i++)
            assert_int_equal(out[s * GREEDY + i],
                             json_integer_value(json_array_get(expected, i + s)));
    fl_generator_destroy(generator);
}

static void token_losses(void **state)
{
    world *w = *state;
    size_t i, t;
    json_t *text, *nll;
    json_array_foreach(golden_get(w->oracle, "scored"), i, text)
    {
        const json_t *ids = golden_get(text, "ids_after_bos");
        int32_t tokens[513], pos[513], rows[512], targets[512];
        double losses[512];
        size_t n = json_array_size(ids);
        assert_in_range(n, 1, 511);
        tokens[0] = (int32_t)golden_int(w->oracle, "start_token");
        for (size_t j = 0; j <= n; j++)
            pos[j] = (int32_t)j;
        for (size_t j = 0; j < n; j++) {
            tokens[j + 1] = targets[j] = (int32_t)json_integer_value(json_array_get(ids, j));
            rows[j] = (int32_t)j;
        }
        const int32_t cu[] = {0, (int32_t)n + 1};
        fl_tokens_view view = {.ids = tokens, .pos = pos, .cu = cu, .S = 1, .T = (int64_t)n + 1};
        fl_targets_view wanted = {.rows = rows, .targets = targets, .N = (int64_t)n};
        OK(fl_decoder_nll(w->decoder, &view, &wanted, losses));
        json_array_foreach(golden_get(text, "token_nll"), t, nll)
            assert_true(fabs(losses[t] - json_number_value(nll)) < 1e-4);
    }
}

int main(void)
{
    if (access(oracle_path, R_OK) != 0) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_ids),
                                       cmocka_unit_test(token_losses)};
    return cmocka_run_group_tests(tests, open_world, close_world);
}
