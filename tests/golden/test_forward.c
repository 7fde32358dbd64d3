/* Logits, loss and every LoRA gradient against PyTorch + Transformers + PEFT in fp32.
 *
 * Limits: fp32 noise of the golden values themselves against float64 is 5e-7 for logits and 1.2e-6
 * (worst tensor 1.7e-6) for gradients, see README.md; ten times that leaves room for another order
 * of summation and none for a wrong formula. */
#include "golden/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double logits_limit = 5e-6, loss_limit = 2e-6, gradient_limit = 2e-5;

static void check_case(const char *name)
{
    golden g = golden_open(name);
    fl_model *model;
    OK(fl_model_open(&model, golden_path("model"), golden_backend(), 0));
    fl_lora_config lora = golden_lora(&g, &model->config);
    fl_params adapter;
    OK(fl_lora_create(&adapter, &lora, &model->config, 1));
    golden_fill(&g, "adapter", &adapter);
    golden_check_logits(&g, model, &lora, adapter.data, logits_limit);
    golden_check_gradients(&g, model, &lora, &adapter, loss_limit, gradient_limit);
    fl_params_fini(&adapter);
    fl_lora_fini(&lora);
    fl_model_close(model);
    golden_close(&g);
}

static void adapter_on_q_and_v(void **state)
{
    (void)state;
    check_case("forward_qv");
}

static void adapter_on_all_linears(void **state)
{
    (void)state;
    check_case("forward_all");
}

/* Ranks and alphas of single modules. */
static void adapter_with_patterns(void **state)
{
    (void)state;
    check_case("forward_patterns");
}

/* bf16, three shards, tied head, another rope_theta and eps. */
static void sharded_bf16_base(void **state)
{
    (void)state;
    golden g = golden_open("model_sharded_logits");
    fl_lora_config none = {.r = 1, .alpha = 1};
    fl_model *model;
    OK(fl_model_open(&model, golden_path("model_sharded"), golden_backend(), 0));
    golden_check_logits(&g, model, &none, NULL, logits_limit);
    fl_model_close(model);
    golden_close(&g);
}

int main(int argc, char **argv)
{
    golden_choose_backend(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapter_on_q_and_v),
        cmocka_unit_test(adapter_on_all_linears),
        cmocka_unit_test(adapter_with_patterns),
        cmocka_unit_test(sharded_bf16_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
