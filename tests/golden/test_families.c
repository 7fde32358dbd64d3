/* Every decoder family against Transformers + PEFT in fp32: logits, loss, every LoRA gradient, and
 * 64 greedy tokens through the key/value cache (data/families, made by make_family_golden.py).
 *
 * Limits: some ten times the fp32 noise of the golden values, see README.md. */
#include "golden/golden.h"
#include "model/generate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const double logits_limit = 5e-6, loss_limit = 2e-6, gradient_limit = 2e-5;

enum { MAX_PROMPT = 16, MAX_NEW = 64 };

static void check_greedy(const golden *g, const fl_model *model, const fl_lora_config *lora,
                         const float *adapter)
{
    const json_t *prompt = golden_get(g->json, "prompt"), *answer = golden_get(g->json, "greedy");
    int32_t ids[MAX_PROMPT], pos[MAX_PROMPT], out[MAX_NEW];
    int32_t length = (int32_t)json_array_size(prompt), cu[] = {0, length};
    assert_in_range(length, 1, MAX_PROMPT);
    assert_int_equal(json_array_size(answer), MAX_NEW);
    for (int32_t t = 0; t < length; t++) {
        ids[t] = (int32_t)json_integer_value(json_array_get(prompt, (size_t)t));
        pos[t] = t;
    }
    fl_decoder *decoder;
    fl_generator *generator;
    fl_decoder_limits limits = {.max_tokens = MAX_PROMPT, .max_sequences = 1};
    OK(fl_decoder_create(&decoder, model, lora, &limits));
    float *weights = golden_to_backend(adapter, fl_lora_count(lora, &model->config));
    fl_decoder_set_adapter(decoder, weights);
    OK(fl_generator_create(&generator, decoder, 1, MAX_PROMPT + MAX_NEW));
    fl_tokens_view view = {.ids = ids, .pos = pos, .cu = cu, .S = 1, .T = length};
    int64_t count;
    OK(fl_generate_greedy(generator, &view, MAX_NEW, -1, out, &count));
    assert_int_equal(count, MAX_NEW);
    for (size_t i = 0; i < MAX_NEW; i++)
        if (out[i] != json_integer_value(json_array_get(answer, i)))
            fail_msg("token %zu of the answer is %d, expected %lld", i, out[i],
                     (long long)json_integer_value(json_array_get(answer, i)));
    fl_generator_destroy(generator);
    fl_decoder_destroy(decoder);
    golden_backend()->release(weights);
}

static void check_family(void **state)
{
    const char *name = *state;
    char path[128];
    print_message("%s\n", name);
    snprintf(path, sizeof path, "families/%s/case", name);
    golden g = golden_open(path);
    snprintf(path, sizeof path, "families/%s", name);
    fl_model *model;
    OK(fl_model_open(&model, golden_path(path), golden_backend(), 0));
    fl_lora_config lora = golden_lora(&g, &model->config);
    fl_params adapter;
    OK(fl_lora_create(&adapter, &lora, &model->config, 1));
    assert_int_equal(adapter.count, fl_lora_count(&lora, &model->config));
    golden_fill(&g, "adapter", &adapter);
    golden_check_logits(&g, model, &lora, adapter.data, logits_limit);
    golden_check_gradients(&g, model, &lora, &adapter, loss_limit, gradient_limit);
    check_greedy(&g, model, &lora, adapter.data);
    fl_params_fini(&adapter);
    fl_model_close(model);
    golden_close(&g);
}

int main(int argc, char **argv)
{
    golden_choose_backend(argc, argv);
    static char names[][16] = {"llama_llama3", "llama_linear", "llama_dynamic", "mistral", "qwen2",
                               "qwen3",        "phi3",         "gemma",         "gemma2"};
    enum { COUNT = sizeof names / sizeof names[0] };
    struct CMUnitTest tests[COUNT] = {{0}};
    for (size_t i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = check_family, .initial_state = names[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
