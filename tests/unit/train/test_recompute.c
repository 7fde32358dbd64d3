/* gradient_checkpointing changes memory and time, never a bit: all families, with dropout. */
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA FL_TEST_SOURCE_DIR "/tests/golden/data/"

enum { EXAMPLES = 6, LONGEST = 14 };

static fl_examples *make_examples(int64_t vocab)
{
    int32_t ids[EXAMPLES * LONGEST], labels[EXAMPLES * LONGEST];
    int64_t lengths[EXAMPLES], at = 0;
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 2, 0, 0, 0);
    for (int i = 0; i < EXAMPLES; i++) {
        lengths[i] = LONGEST - i;
        for (int t = 0; t < lengths[i]; t++, at++) {
            ids[at] = (int32_t)fl_rng_below(&rng, (uint64_t)vocab);
            labels[at] = t < 3 ? FL_LABEL_IGNORE : ids[at];
        }
    }
    fl_examples *examples;
    assert_int_equal(fl_examples_from_ids(&examples, ids, labels, lengths, EXAMPLES), FL_OK);
    return examples;
}

/* out = the adapter after a few steps. */
static void train(const fl_model *model, const fl_lora_config *lora, const fl_params *start,
                  bool recompute, float *out)
{
    static const uint32_t indices[] = {0, 1, 2, 3, 4, 5};
    fl_train_config config = {.objective = "sft",
                              .batch_size = 2,
                              .gradient_accumulation_steps = 2,
                              .max_steps = 3,
                              .gradient_checkpointing = recompute,
                              .adam_beta1 = 0.9,
                              .adam_beta2 = 0.999,
                              .adam_epsilon = 1e-8};
    fl_examples *examples = make_examples(model->config.vocab_size);
    fl_trainer_limits limits = {.longest = LONGEST, .most_examples = EXAMPLES};
    fl_trainer *trainer;
    assert_int_equal(fl_trainer_create(&trainer, model, lora, &config, &limits), FL_OK);
    fl_trainer_set_adapter(trainer, start->data);
    fl_local_job job = {.data = {.examples = examples},
                        .indices = indices,
                        .count = EXAMPLES,
                        .learning_rate = 1e-2};
    fl_local_result result;
    assert_int_equal(fl_trainer_run(trainer, &job, &result), FL_OK);
    assert_true(result.finite && result.updates == 3);
    fl_trainer_get_adapter(trainer, out);
    fl_trainer_destroy(trainer);
    fl_examples_destroy(examples);
}

static void check_plan(const fl_model *model, const fl_lora_config *lora)
{
    fl_decoder_limits limits = {.max_tokens = LONGEST, .max_sequences = 1, .backward = true};
    fl_decoder_plan full, lean;
    assert_int_equal(fl_decoder_plan_for(&full, &model->config, model->ops, lora, &limits), FL_OK);
    limits.recompute = true;
    assert_int_equal(fl_decoder_plan_for(&lean, &model->config, model->ops, lora, &limits), FL_OK);
    size_t inputs = (size_t)(model->config.num_layers * LONGEST * model->config.hidden_size);
    assert_true(lean.layers >= inputs * sizeof(float) && lean.layers < full.layers);
    assert_true(lean.loss == full.loss && lean.workspace > full.workspace);
    assert_true(fl_decoder_plan_total(&lean) <= fl_decoder_plan_total(&full));
}

static void check_model(const char *dir)
{
    print_message("  %s\n", strrchr(dir, '/') + 1);
    fl_model *model;
    fl_lora_config lora = {.r = 3, .alpha = 5, .dropout = 0.3f};
    for (int m = 0; m < FL_NUM_MODULES; m++)
        lora.target[m] = true;
    assert_int_equal(fl_model_open(&model, dir, fl_backend_find("cpu"), LONGEST), FL_OK);
    fl_params start, kept, again;
    assert_int_equal(fl_lora_create(&start, &lora, &model->config, 3), FL_OK);
    assert_int_equal(fl_params_like(&kept, &start), FL_OK);
    assert_int_equal(fl_params_like(&again, &start), FL_OK);
    train(model, &lora, &start, false, kept.data);
    train(model, &lora, &start, true, again.data);
    assert_memory_not_equal(start.data, kept.data, start.count * sizeof(float));
    assert_memory_equal(again.data, kept.data, start.count * sizeof(float));
    check_plan(model, &lora);
    fl_params_fini(&again);
    fl_params_fini(&kept);
    fl_params_fini(&start);
    fl_model_close(model);
}

static void same_bits_in_every_family(void **state)
{
    (void)state;
    static const char *const dirs[] = {
        DATA "model",          DATA "families/gemma",        DATA "families/gemma2",
        DATA "families/phi3",  DATA "families/llama_llama3", DATA "families/mistral",
        DATA "families/qwen2", DATA "families/qwen3",        DATA "quant/nf4",
        DATA "quant/int8"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
        check_model(dirs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_in_every_family)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
