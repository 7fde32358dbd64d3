/* Ten optimiser steps against PyTorch, with and without accumulation.
 *
 * Limits: see the noise table in README.md.  Two fp32 implementations differ by up to 2.7e-6 in the
 * update of all tensors together, 1.3e-6 in the adapter's worst tensor; a wrong eps, clipping or
 * accumulation is at least 6e-3 off in the update. */
#include "golden/golden.h"
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double adapter_limit = 1e-5, update_limit = 1e-4, loss_limit = 2e-6, norm_limit = 5e-6;

static double mean_of(const json_t *list)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += json_number_value(json_array_get(list, i));
    return sum / (double)json_array_size(list);
}

static double last_of(const json_t *list)
{
    return json_number_value(json_array_get(list, json_array_size(list) - 1));
}

static void subtract(float *out, const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = a[i] - b[i];
}

static void compare_adapters(const golden *g, const fl_params *initial, fl_params *final)
{
    fl_params expected;
    OK(fl_params_like(&expected, initial));
    golden_fill(g, "final", &expected);
    for (size_t i = 0; i < final->num_params; i++) {
        const fl_param *p = &final->params[i];
        double error = relative_l2(final->data + p->offset, expected.data + p->offset, p->count);
        if (!(error <= adapter_limit))
            fail_msg("%s: relative L2 %.3e is above %.0e", p->name, error, adapter_limit);
    }
    expect_close("adapter", final->data, expected.data, final->count, adapter_limit);
    subtract(expected.data, expected.data, initial->data, initial->count);
    subtract(final->data, final->data, initial->data, initial->count);
    expect_close("update", final->data, expected.data, final->count, update_limit);
    fl_params_fini(&expected);
}

static fl_local_result train(const golden *g, const fl_model *model, const fl_lora_config *lora,
                             fl_params *adapter)
{
    fl_train_data data = golden_data(g, golden_get(g->json, "batches"));
    fl_train_config config = golden_train(g);
    const fl_objective *objective = fl_objective_find(config.objective);
    size_t count = objective->count(&data);
    config.batch_size = 4;
    config.max_steps = 10;
    config.gradient_accumulation_steps = golden_int(g->json, "gradient_accumulation_steps");
    fl_trainer_limits limits = {.longest = objective->longest(&data), .most_examples = count};
    fl_trainer *trainer;
    OK(fl_trainer_create(&trainer, model, lora, &config, &limits));
    uint32_t indices[80];
    assert_in_range(count, 1, 80);
    for (uint32_t i = 0; i < count; i++)
        indices[i] = i;
    fl_local_job job = {.data = data,
                        .indices = indices,
                        .count = count,
                        .learning_rate = golden_real(g->json, "learning_rate")};
    fl_local_result result;
    fl_trainer_set_adapter(trainer, adapter->data);
    OK(fl_trainer_run(trainer, &job, &result));
    fl_trainer_get_adapter(trainer, adapter->data);
    fl_trainer_destroy(trainer);
    golden_data_fini(&data);
    return result;
}

static void check_case(const char *name)
{
    golden g = golden_open(name);
    fl_lora_config lora = golden_lora(&g, NULL);
    fl_model *model;
    OK(fl_model_open(&model, golden_path("model"), golden_backend(), 0));
    fl_params initial, final;
    OK(fl_lora_create(&initial, &lora, &model->config, 1));
    OK(fl_params_like(&final, &initial));
    golden_fill(&g, "adapter", &initial);
    memcpy(final.data, initial.data, initial.count * sizeof *initial.data);
    fl_local_result result = train(&g, model, &lora, &final);
    assert_true(result.finite);
    assert_int_equal(result.steps, 10);
    expect_real("mean loss", result.loss, mean_of(golden_get(g.json, "losses")), loss_limit);
    expect_real("last gradient norm", result.grad_norm, last_of(golden_get(g.json, "grad_norms")),
                norm_limit);
    compare_adapters(&g, &initial, &final);
    fl_params_fini(&initial);
    fl_params_fini(&final);
    fl_model_close(model);
    golden_close(&g);
}

static void steps_on_q_and_v(void **state)
{
    (void)state;
    check_case("steps_qv");
}

static void steps_on_all_linears(void **state)
{
    (void)state;
    check_case("steps_all");
}

static void steps_with_accumulation(void **state)
{
    (void)state;
    check_case("steps_all_accum2");
}

static void steps_of_dpo(void **state)
{
    (void)state;
    check_case("dpo_steps");
}

int main(int argc, char **argv)
{
    golden_choose_backend(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_on_q_and_v),
        cmocka_unit_test(steps_on_all_linears),
        cmocka_unit_test(steps_with_accumulation),
        cmocka_unit_test(steps_of_dpo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
