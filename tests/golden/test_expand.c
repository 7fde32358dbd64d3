/* A base that is expanded to bf16 when it is read trains as one that is widened at every product:
 * the same loss, gradients and hash to the last bit, whatever it is stored in, quantised at load or
 * by bitsandbytes, with fused linears or a tied head.  The matrices are small enough to be widened
 * in one piece each. */
#include "golden/golden.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct base {
    const char *model, *sequences; /* folder; the case that has sequences for it */
    fl_format format;
} base;

static const base bases[] = {
    {"families/phi3", "families/phi3/case", FL_STORED},
    {"families/phi3", "families/phi3/case", FL_NF4},
    {"families/gemma", "families/gemma/case", FL_STORED},
    {"families/qwen2", "families/qwen2/case", FL_INT8},
    {"quant/int8", "families/qwen3/case", FL_STORED},
    {"quant/nf4", "families/qwen3/case", FL_STORED},
    {"quant/nf4_plain", "families/qwen3/case", FL_STORED},
};

/* Every weight of the adapter is something: gradients pass through all matrices. */
static fl_params make_adapter(const fl_lora_config *lora, const fl_model_config *config)
{
    fl_params adapter;
    OK(fl_lora_create(&adapter, lora, config, 1));
    for (size_t i = 0; i < adapter.count; i++)
        adapter.data[i] = 0.05f * sinf((float)i);
    return adapter;
}

/* The loss of all sequences of the case, and gradient[adapter.count]. */
static double gradient_of(const fl_model *model, const golden *g, const fl_lora_config *lora,
                          const fl_params *adapter, float *gradient)
{
    fl_examples *examples = golden_examples(golden_get(g->json, "sequences"));
    fl_train_config config = {.objective = "sft",
                              .batch_size = (int64_t)examples->count,
                              .gradient_accumulation_steps = 1,
                              .max_steps = 1};
    fl_trainer_limits limits = {.longest = examples->max_length, .most_examples = examples->count};
    fl_trainer *trainer;
    OK(fl_trainer_create(&trainer, model, lora, &config, &limits));
    fl_trainer_set_adapter(trainer, adapter->data);
    uint32_t indices[64];
    assert_in_range(examples->count, 1, 64);
    for (uint32_t i = 0; i < examples->count; i++)
        indices[i] = i;
    double loss;
    OK(fl_trainer_gradient(trainer, &(fl_train_data){.examples = examples}, indices,
                           examples->count, &loss, gradient));
    fl_trainer_destroy(trainer);
    fl_examples_destroy(examples);
    return loss;
}

static bool is_wide(const fl_weight *w)
{
    return w->quant || w->dtype != FL_BF16;
}

/* What products read is bf16, and linears with one input lie one behind the other; what is read
 * row by row stays as it was. */
static void check_matrices(const fl_model *expanded, const fl_model *packed)
{
    assert_false(is_wide(&expanded->head));
    assert_int_equal(expanded->embedding.dtype, packed->embedding.dtype);
    assert_int_equal(fl_model_parameter_count(expanded), fl_model_parameter_count(packed));
    for (int64_t l = 0; l < expanded->config.num_layers; l++) {
        const fl_weight *linear = expanded->layers[l].linear;
        for (int m = 0; m < FL_NUM_MODULES; m++) {
            assert_false(is_wide(&linear[m]));
            assert_true(is_wide(&packed->layers[l].linear[m]));
            if (m != FL_Q_PROJ && m != FL_K_PROJ && m != FL_GATE_PROJ) continue;
            size_t bytes = (size_t)(linear[m].rows * linear[m].cols) * fl_dtype_size(FL_BF16);
            assert_ptr_equal((const char *)linear[m].data + bytes, linear[m + 1].data);
        }
    }
}

static void check_base(const base *b)
{
    golden g = golden_open(b->sequences);
    fl_model *packed, *expanded;
    OK(fl_model_open_as(&packed, golden_path(b->model), golden_backend(), 0, b->format, false));
    OK(fl_model_open_as(&expanded, golden_path(b->model), golden_backend(), 0, b->format, true));
    check_matrices(expanded, packed);
    fl_lora_config lora = golden_lora(&g, &packed->config);
    fl_params adapter = make_adapter(&lora, &packed->config);
    float *want = test_malloc(adapter.count * sizeof *want);
    float *got = test_malloc(adapter.count * sizeof *got);
    double loss = gradient_of(packed, &g, &lora, &adapter, want);
    print_message("%s in format %d: loss %.17g\n", b->model, (int)b->format, loss);
    assert_true(gradient_of(expanded, &g, &lora, &adapter, got) == loss);
    assert_memory_equal(got, want, adapter.count * sizeof *want);
    assert_true(fl_model_hash(packed) == fl_model_hash(expanded));
    test_free(want);
    test_free(got);
    fl_params_fini(&adapter);
    fl_model_close(expanded);
    fl_model_close(packed);
    golden_close(&g);
}

static void expanded_bases_train_alike(void **state)
{
    (void)state;
    assert_false(fl_model_can_expand(golden_backend())); /* in fp32 */
    if (golden_backend()->set_compute(FL_BF16) != FL_OK) skip();
    assert_true(fl_model_can_expand(golden_backend()));
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++)
        check_base(&bases[i]);
}

int main(int argc, char **argv)
{
    golden_choose_backend(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(expanded_bases_train_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
