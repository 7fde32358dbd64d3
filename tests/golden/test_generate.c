/* Generation against Transformers: greedy answers token by token, and the probabilities that its
 * logits processors leave.  See make_generate_golden.py. */
#include "golden/golden.h"
#include "io/adapter.h"
#include "model/generate.h"
#include "model/merge.h"
#include "model/sampling.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PROMPTS = 5, NEW = 64, MOST = 128, V = 160 };

typedef struct world {
    golden g;
    fl_model *model;
    fl_params adapter;
    fl_lora_config lora;
    int32_t ids[PROMPTS * MOST], pos[PROMPTS * MOST], cu[PROMPTS + 1];
} world;

static int open_world(void **state)
{
    static world w;
    w.g = golden_open("generate");
    w.lora = golden_lora(&w.g, NULL);
    OK(fl_model_open(&w.model, golden_path("model"), fl_backend_find("cpu"), 0));
    OK(fl_lora_create(&w.adapter, &w.lora, &w.model->config, 1));
    golden_fill(&w.g, "adapter", &w.adapter);
    const json_t *prompts = golden_get(w.g.json, "prompts");
    assert_int_equal(json_array_size(prompts), PROMPTS);
    assert_int_equal(golden_int(w.g.json, "max_new_tokens"), NEW);
    for (size_t s = 0; s < PROMPTS; s++) {
        const json_t *prompt = json_array_get(prompts, s);
        w.cu[s + 1] = w.cu[s];
        for (size_t i = 0; i < json_array_size(prompt); i++, w.cu[s + 1]++) {
            w.ids[w.cu[s + 1]] = (int32_t)json_integer_value(json_array_get(prompt, i));
            w.pos[w.cu[s + 1]] = (int32_t)i;
        }
    }
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    fl_params_fini(&w->adapter);
    fl_model_close(w->model);
    golden_close(&w->g);
    return 0;
}

static fl_tokens_view prompts_of(const world *w)
{
    return (fl_tokens_view){
        .ids = w->ids, .pos = w->pos, .cu = w->cu, .S = PROMPTS, .T = w->cu[PROMPTS]};
}

static void expect_answer(const world *w, const char *key, size_t prompt, const int32_t *answer,
                          size_t count)
{
    const json_t *expected = json_array_get(golden_get(w->g.json, key), prompt);
    if (count != json_array_size(expected))
        fail_msg("%s: answer %zu has %zu tokens, not %zu", key, prompt, count,
                 json_array_size(expected));
    for (size_t i = 0; i < count; i++)
        if (answer[i] != json_integer_value(json_array_get(expected, i)))
            fail_msg("%s: answer %zu differs at token %zu", key, prompt, i);
}

/* All prompts at once, with a pass that holds them all and with passes so small that prompts go
 * through in pieces. */
static void expect_greedy(world *w, const char *key, bool with_adapter, int32_t eos)
{
    static const int64_t passes[] = {PROMPTS * MOST, 24, 5};
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        fl_decoder_limits limits = {.max_tokens = passes[i], .max_sequences = PROMPTS};
        fl_decoder *decoder;
        fl_generator *generator;
        int32_t out[PROMPTS * NEW];
        int64_t counts[PROMPTS];
        OK(fl_decoder_create(&decoder, w->model, &w->lora, &limits));
        fl_decoder_set_adapter(decoder, with_adapter ? w->adapter.data : NULL);
        OK(fl_generator_create(&generator, decoder, PROMPTS, MOST));
        fl_tokens_view prompts = prompts_of(w);
        OK(fl_generate_greedy(generator, &prompts, NEW, eos, out, counts));
        for (size_t s = 0; s < PROMPTS; s++)
            expect_answer(w, key, s, out + s * NEW, (size_t)counts[s]);
        fl_generator_destroy(generator);
        fl_decoder_destroy(decoder);
    }
}

static void greedy_equals_transformers(void **state)
{
    world *w = *state;
    expect_greedy(w, "greedy", false, -1);
    expect_greedy(w, "greedy_eos", false, (int32_t)golden_int(w->g.json, "eos"));
    expect_greedy(w, "greedy_adapter", true, -1);
}

/* The base with the adapter merged into its weights answers as the adapter does. */
static void merged_equals_adapter(void **state)
{
    world *w = *state;
    char folder[] = "merged-XXXXXX", adapter[64], out[64], command[128];
    static const char *const names[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                        "gate_proj", "up_proj", "down_proj"};
    fl_adapter_info info = {.lora_r = (int)w->lora.r,
                            .lora_alpha = w->lora.alpha,
                            .target_modules = names,
                            .num_target_modules = FL_NUM_MODULES};
    assert_non_null(mkdtemp(folder));
    snprintf(adapter, sizeof adapter, "%s/adapter", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    OK(fl_adapter_save(adapter, &w->adapter, &info));
    fl_merge_job job = {.model = golden_path("model"), .adapter = adapter, .out = out};
    fl_merge_result result;
    OK(fl_merge(&job, &result));
    fl_model *base = w->model;
    OK(fl_model_open(&w->model, out, fl_backend_find("cpu"), 0));
    expect_greedy(w, "greedy_adapter", false, -1);
    fl_model_close(w->model);
    w->model = base;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* Greedy with the penalty goes through the sampler and the token-by-token calls. */
static void penalty_equals_transformers(void **state)
{
    world *w = *state;
    fl_decoder_limits limits = {.max_tokens = PROMPTS * MOST, .max_sequences = PROMPTS};
    fl_sampling options = {.top_p = 1,
                           .repetition_penalty = golden_real(w->g.json, "repetition_penalty")};
    fl_decoder *decoder;
    fl_generator *generator;
    fl_sampler *sampler;
    static int32_t history[PROMPTS][MOST];
    int32_t next[PROMPTS];
    OK(fl_decoder_create(&decoder, w->model, &w->lora, &limits));
    OK(fl_generator_create(&generator, decoder, PROMPTS, MOST));
    OK(fl_generator_keep_logits(generator));
    OK(fl_sampler_create(&sampler, V));
    fl_tokens_view prompts = prompts_of(w);
    OK(fl_generator_add(generator, &prompts));
    for (size_t s = 0; s < PROMPTS; s++)
        memcpy(history[s], w->ids + w->cu[s], (size_t)(w->cu[s + 1] - w->cu[s]) * sizeof(int32_t));
    for (int i = 0; i < NEW; i++) {
        for (int32_t s = 0; s < PROMPTS; s++) {
            int32_t length = w->cu[s + 1] - w->cu[s] + i;
            assert_int_equal(fl_generator_length(generator, s), length);
            OK(fl_sampler_next(sampler, &options, fl_generator_logits(generator, s), history[s],
                               length, (fl_draw){0}, &next[s]));
            history[s][length] = next[s];
        }
        if (i + 1 < NEW) OK(fl_generator_step(generator, next));
    }
    for (size_t s = 0; s < PROMPTS; s++)
        expect_answer(w, "greedy_penalty", s, history[s] + (w->cu[s + 1] - w->cu[s]), NEW);
    fl_sampler_destroy(sampler);
    fl_generator_destroy(generator);
    fl_decoder_destroy(decoder);
}

static const void *data_of(const world *w, const char *name, int64_t *rows, int64_t *cols)
{
    const fl_tensor *tensor = fl_safetensors_find(w->g.tensors, name);
    if (!tensor) fail_msg("golden file has no %s", name);
    *rows = tensor->dim[0];
    *cols = tensor->ndim > 1 ? tensor->dim[1] : 1;
    return tensor->data;
}

static void probabilities_equal_transformers(void **state)
{
    world *w = *state;
    int64_t rows, size, n, one, count, cols;
    const float *logits = data_of(w, "warper_logits", &rows, &size);
    const int32_t *history = data_of(w, "warper_history", &n, &one);
    const float *expected = data_of(w, "warper_probs", &count, &cols);
    const json_t *cases = golden_get(w->g.json, "warpers");
    fl_sampler *sampler;
    double probs[64], worst = 0;
    assert_int_equal(size, 64);
    OK(fl_sampler_create(&sampler, size));
    for (int64_t i = 0; i < count; i++) {
        const json_t *c = json_array_get(cases, (size_t)i);
        fl_sampling options = {.temperature = golden_real(c, "temperature"),
                               .top_k = golden_int(c, "top_k"),
                               .top_p = golden_real(c, "top_p"),
                               .repetition_penalty = golden_real(c, "repetition_penalty")};
        OK(fl_sampler_probabilities(sampler, &options, logits + golden_int(c, "row") * size,
                                    history, n, probs));
        for (int64_t v = 0; v < size; v++) {
            double p = (double)expected[i * size + v];
            if ((probs[v] == 0) != (p == 0))
                fail_msg("case %lld: token %lld: %g, not %g", (long long)i, (long long)v, probs[v],
                         p);
            worst = fmax(worst, fabs(probs[v] - p));
        }
    }
    print_message("  %lld cases, largest difference %.1e\n", (long long)count, worst);
    assert_true(worst < 1e-6);
    fl_sampler_destroy(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_equals_transformers),
                                       cmocka_unit_test(merged_equals_adapter),
                                       cmocka_unit_test(penalty_equals_transformers),
                                       cmocka_unit_test(probabilities_equal_transformers)};
    return cmocka_run_group_tests(tests, open_world, close_world);
}
