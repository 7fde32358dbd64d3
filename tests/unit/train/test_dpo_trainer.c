/* DPO in the trainer: its gradient, the reference, margins that grow. */
#include "base/mem.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char model_dir[] = FL_TEST_SOURCE_DIR "/tests/golden/data/model";

enum { PAIRS = 6, VOCAB = 160, LONGEST = 9 };
static const uint32_t all[PAIRS] = {0, 1, 2, 3, 4, 5};

typedef struct world {
    fl_model *model;
    fl_lora_config lora;
    fl_train_config config;
    fl_params adapter;
    fl_pairs *pairs;
    double reference[2 * PAIRS];
    fl_train_data data;
    fl_trainer *trainer;
} world;

static void add_pair(fl_pairs *pairs, fl_rng *rng)
{
    const fl_pair_rules rules = {.max_length = 64, .max_prompt_length = 8, .bos = -1, .eos = -1};
    int32_t ids[FL_NUM_PARTS][LONGEST];
    fl_pair_ids pair;
    for (int part = 0; part < FL_NUM_PARTS; part++) {
        pair.ids[part] = ids[part];
        pair.count[part] = 1 + fl_rng_below(rng, LONGEST);
        for (size_t t = 0; t < pair.count[part]; t++)
            ids[part][t] = (int32_t)fl_rng_below(rng, VOCAB);
    }
    assert_int_equal(fl_pairs_add(pairs, &rules, &pair), FL_OK);
}

static void forget_reference(world *w)
{
    for (size_t i = 0; i < 2 * PAIRS; i++)
        w->reference[i] = NAN;
}

static int open_world(void **state)
{
    static world w;
    w = (world){.lora = {.r = 2, .alpha = 4, .dropout = 0.3f}};
    w.lora.target[FL_Q_PROJ] = w.lora.target[FL_DOWN_PROJ] = true;
    w.config = (fl_train_config){.objective = "dpo",
                                 .dpo_loss = "dpo",
                                 .dpo_beta = 0.5,
                                 .dpo_label_smoothing = 0.2,
                                 .batch_size = 4,
                                 .gradient_accumulation_steps = 1,
                                 .max_steps = 6,
                                 .max_grad_norm = 1,
                                 .adam_beta1 = 0.9,
                                 .adam_beta2 = 0.999,
                                 .adam_epsilon = 1e-8,
                                 .seed = 9};
    assert_int_equal(fl_model_open(&w.model, model_dir, fl_backend_find("cpu"), 64), FL_OK);
    assert_int_equal(fl_lora_create(&w.adapter, &w.lora, &w.model->config, 3), FL_OK);
    assert_int_equal(fl_pairs_create(&w.pairs), FL_OK);
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 5, 0, 0, 0);
    for (int i = 0; i < PAIRS; i++)
        add_pair(w.pairs, &rng);
    w.data = (fl_train_data){.pairs = w.pairs, .reference = w.reference};
    forget_reference(&w);
    fl_trainer_limits limits = {.longest = w.pairs->max_tokens[0], .most_examples = PAIRS};
    assert_int_equal(fl_trainer_create(&w.trainer, w.model, &w.lora, &w.config, &limits), FL_OK);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    fl_trainer_destroy(w->trainer);
    fl_pairs_destroy(w->pairs);
    fl_params_fini(&w->adapter);
    fl_model_close(w->model);
    return 0;
}

/* Loss and gradient of the first four pairs at these weights. */
static double loss_at(world *w, const float *weights, float *gradient)
{
    double loss;
    fl_trainer_set_adapter(w->trainer, weights);
    assert_int_equal(fl_trainer_gradient(w->trainer, &w->data, all, 4, &loss, gradient), FL_OK);
    return loss;
}

/* Along the gradient, at random weights: fp32 noise of the log-probabilities, 1e-6 over 2h = 4e-3,
 * is the smaller part of the limit, curvature the larger. */
static void gradient_is_a_difference(void **state)
{
    world *w = *state;
    static const char *const losses[] = {"dpo", "cdpo", "ipo"};
    fl_params at, moved, gradient;
    assert_int_equal(fl_params_like(&at, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&moved, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&gradient, &w->adapter), FL_OK);
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 6, 0, 0, 0);
    for (size_t i = 0; i < at.count; i++)
        at.data[i] = 0.3f * (fl_rng_uniform(&rng) - 0.5f);
    for (size_t k = 0; k < 3; k++) {
        w->config.dpo_loss = losses[k];
        loss_at(w, at.data, gradient.data);
        double norm = 0, value[2];
        for (size_t i = 0; i < at.count; i++)
            norm += (double)gradient.data[i] * (double)gradient.data[i];
        norm = sqrt(norm);
        const double h = 2e-3;
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < at.count; i++)
                moved.data[i] =
                    at.data[i] + (float)((side ? h : -h) * (double)gradient.data[i] / norm);
            value[side] = loss_at(w, moved.data, NULL);
        }
        double slope = (value[1] - value[0]) / (2 * h);
        print_message("  %s: slope %.6f, gradient norm %.6f\n", losses[k], slope, norm);
        assert_true(norm > 0.01);
        assert_true(fabs(slope - norm) < 2e-3 * norm);
    }
    fl_params_fini(&at);
    fl_params_fini(&moved);
    fl_params_fini(&gradient);
}

/* The prompt's tokens computed once or twice: the same numbers up to the order of sums. */
static void shared_prompts_change_nothing(void **state)
{
    world *w = *state;
    fl_params at, once, twice;
    assert_int_equal(fl_params_like(&at, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&once, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&twice, &w->adapter), FL_OK);
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 7, 0, 0, 0);
    for (size_t i = 0; i < at.count; i++)
        at.data[i] = 0.3f * (fl_rng_uniform(&rng) - 0.5f);
    double loss = loss_at(w, at.data, twice.data);
    forget_reference(w);
    w->data.share_prompts = true;
    double shared = loss_at(w, at.data, once.data), difference = 0, norm = 0;
    for (size_t i = 0; i < at.count; i++) {
        difference += pow((double)once.data[i] - (double)twice.data[i], 2);
        norm += pow((double)twice.data[i], 2);
    }
    print_message("  loss %.9f and %.9f, gradients %.1e apart\n", loss, shared,
                  sqrt(difference / norm));
    assert_true(fabs(shared / loss - 1) < 1e-6);
    assert_true(sqrt(difference / norm) < 1e-6);
    fl_params_fini(&at);
    fl_params_fini(&once);
    fl_params_fini(&twice);
}

static fl_local_result train(world *w, float *out)
{
    fl_local_job job = {.data = w->data, .indices = all, .count = PAIRS, .learning_rate = 1e-2};
    fl_local_result result;
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_run(w->trainer, &job, &result), FL_OK);
    fl_trainer_get_adapter(w->trainer, out);
    return result;
}

/* B is zero: policy and reference are the same bits, although LoRA's dropout is configured. */
static void the_start_is_the_reference(void **state)
{
    world *w = *state;
    assert_true(loss_at(w, w->adapter.data, NULL) == log(2));
}

static void margins_grow(void **state)
{
    world *w = *state;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    fl_local_result result = train(w, y.data);
    print_message("  loss %.4f, margin %.4f, accuracy %.2f\n", result.loss, result.measures[0],
                  result.measures[1]);
    assert_true(result.loss < log(2) && result.measures[0] > 0);
    assert_true(loss_at(w, y.data, NULL) < result.loss);
    fl_params_fini(&y);
}

/* Computed once, and the same bits whatever is computed beside it and whatever the adapter is. */
static void reference_is_made_once(void **state)
{
    world *w = *state;
    double alone[2 * PAIRS];
    fl_params first, second;
    assert_int_equal(fl_params_like(&first, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&second, &w->adapter), FL_OK);
    assert_int_equal(train(w, first.data).reference_made, PAIRS);
    assert_int_equal(train(w, second.data).reference_made, 0);
    assert_memory_equal(first.data, second.data, first.count * sizeof(float));
    fl_trainer_set_adapter(w->trainer, first.data);
    memcpy(alone, w->reference, sizeof alone);
    forget_reference(w);
    for (uint32_t i = 0; i < PAIRS; i++) {
        double loss;
        assert_int_equal(fl_trainer_gradient(w->trainer, &w->data, &i, 1, &loss, NULL), FL_OK);
    }
    assert_memory_equal(alone, w->reference, sizeof alone);
    w->reference[2 * 3] = NAN;
    assert_int_equal(train(w, second.data).reference_made, 1);
    assert_memory_equal(first.data, second.data, first.count * sizeof(float));
    fl_params_fini(&first);
    fl_params_fini(&second);
}

static double add_nothing(void *context, const float *weights, float *grads, double copies)
{
    (void)weights, (void)grads, (void)copies;
    *(int *)context += 1;
    return 0.25;
}

static void hooks_see_every_step(void **state)
{
    world *w = *state;
    int calls = 0;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    const fl_train_hooks hooks = {.context = &calls, .after_backward = add_nothing};
    fl_local_result plain = train(w, y.data), hooked;
    fl_local_job job = {
        .data = w->data, .indices = all, .count = PAIRS, .learning_rate = 1e-2, .hooks = &hooks};
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_run(w->trainer, &job, &hooked), FL_OK);
    assert_int_equal(calls, 6);
    assert_true(fabs(hooked.loss - plain.loss - 0.25) < 1e-12);
    fl_params_fini(&y);
}

static void nothing_is_allocated_in_training(void **state)
{
    world *w = *state;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    train(w, y.data);
    forget_reference(w);
    uint64_t before = fl_alloc_count();
    train(w, y.data);
    assert_true(fl_alloc_count() == before);
    fl_params_fini(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gradient_is_a_difference, open_world, close_world),
        cmocka_unit_test_setup_teardown(shared_prompts_change_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(the_start_is_the_reference, open_world, close_world),
        cmocka_unit_test_setup_teardown(margins_grow, open_world, close_world),
        cmocka_unit_test_setup_teardown(reference_is_made_once, open_world, close_world),
        cmocka_unit_test_setup_teardown(hooks_see_every_step, open_world, close_world),
        cmocka_unit_test_setup_teardown(nothing_is_allocated_in_training, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
