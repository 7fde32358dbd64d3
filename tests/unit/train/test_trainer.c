/* Local training: nothing of one client is left for the next, passes, masked rows, divergence. */
#include "base/mem.h"
#include "train/schedule.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char model_dir[] = FL_TEST_SOURCE_DIR "/tests/golden/data/model";

enum { EXAMPLES = 10, LENGTH = 12, VOCAB = 160 };

typedef struct world {
    fl_model *model;
    fl_lora_config lora;
    fl_train_config config;
    fl_params adapter;
    fl_examples *examples; /* example 0 has no label that counts */
    fl_trainer *trainer;
} world;

static fl_examples *make_examples(void)
{
    int32_t ids[EXAMPLES * LENGTH], labels[EXAMPLES * LENGTH];
    int64_t lengths[EXAMPLES];
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 1, 0, 0, 0);
    for (int i = 0; i < EXAMPLES; i++) {
        lengths[i] = LENGTH;
        for (int t = 0; t < LENGTH; t++) {
            int32_t id = (int32_t)fl_rng_below(&rng, VOCAB);
            ids[i * LENGTH + t] = id;
            labels[i * LENGTH + t] = i == 0 || t < 4 ? FL_LABEL_IGNORE : id;
        }
    }
    fl_examples *examples;
    assert_int_equal(fl_examples_from_ids(&examples, ids, labels, lengths, EXAMPLES), FL_OK);
    return examples;
}

static int open_world(void **state)
{
    static world w;
    w = (world){.lora = {.r = 2, .alpha = 4, .dropout = 0.1f}};
    w.lora.target[FL_Q_PROJ] = w.lora.target[FL_DOWN_PROJ] = true;
    w.config = (fl_train_config){.objective = "sft",
                                 .batch_size = 4,
                                 .gradient_accumulation_steps = 2,
                                 .max_steps = 5,
                                 .max_grad_norm = 1,
                                 .adam_beta1 = 0.9,
                                 .adam_beta2 = 0.999,
                                 .adam_epsilon = 1e-8,
                                 .seed = 9};
    assert_int_equal(fl_model_open(&w.model, model_dir, fl_backend_find("cpu"), 64), FL_OK);
    assert_int_equal(fl_lora_create(&w.adapter, &w.lora, &w.model->config, 3), FL_OK);
    w.examples = make_examples();
    fl_trainer_limits limits = {.longest = LENGTH, .most_examples = EXAMPLES};
    assert_int_equal(fl_trainer_create(&w.trainer, w.model, &w.lora, &w.config, &limits), FL_OK);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    fl_trainer_destroy(w->trainer);
    fl_examples_destroy(w->examples);
    fl_params_fini(&w->adapter);
    fl_model_close(w->model);
    return 0;
}

static fl_local_result train(world *w, uint64_t client, double rate, float *out)
{
    static const uint32_t indices[] = {1, 2, 3, 4, 5, 6, 7};
    fl_local_job job = {.data = {.examples = w->examples},
                        .indices = indices,
                        .count = 7,
                        .learning_rate = rate,
                        .round = 1,
                        .client = client};
    fl_local_result result;
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_run(w->trainer, &job, &result), FL_OK);
    fl_trainer_get_adapter(w->trainer, out);
    return result;
}

static void clients_leave_nothing_behind(void **state)
{
    world *w = *state;
    fl_params a, b, other;
    assert_int_equal(fl_params_like(&a, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&b, &w->adapter), FL_OK);
    assert_int_equal(fl_params_like(&other, &w->adapter), FL_OK);
    fl_local_result first = train(w, 1, 1e-3, a.data);
    fl_local_result second = train(w, 2, 1e-3, other.data);
    fl_local_result again = train(w, 1, 1e-3, b.data);
    assert_memory_equal(a.data, b.data, a.count * sizeof(float));
    assert_true(first.loss == again.loss);
    /* other dropout and other order: another result */
    assert_true(first.loss != second.loss);
    assert_memory_not_equal(a.data, other.data, a.count * sizeof(float));
    fl_params_fini(&a);
    fl_params_fini(&b);
    fl_params_fini(&other);
}

/* 5 steps of 2 x 4 sequences from 7 examples: passes of 4 + 3 sequences, none dropped. */
static void short_batches_are_not_dropped(void **state)
{
    world *w = *state;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    uint64_t before = fl_alloc_count();
    fl_local_result result = train(w, 1, 1e-3, y.data);
    assert_true(fl_alloc_count() == before);
    assert_int_equal(result.steps, 5);
    assert_int_equal(result.tokens, 5 * 7 * LENGTH);
    assert_true(result.finite);
    fl_params_fini(&y);
}

/* What the hooks of one job saw. */
typedef struct seen {
    const fl_backend_ops *ops;
    size_t count;
    int backward, step;
    double copies, rate;
    float pull; /* added to every gradient */
} seen;

static double see_backward(void *context, const float *weights, float *grads, double copies)
{
    seen *s = context;
    assert_int_equal(s->backward, s->step);
    assert_true(fl_all_finite(weights, s->count));
    for (size_t i = 0; i < s->count; i++)
        grads[i] += (float)copies * s->pull;
    s->copies = copies;
    s->backward++;
    return 100;
}

static void see_step(void *context, float *weights, double rate)
{
    seen *s = context;
    (void)weights;
    s->rate = rate;
    s->step++;
}

/* Once a step each, before and after the weights move; a gradient that the hook adds as often as
 * there are micro-batches is there once in their mean. */
static void hooks_are_called(void **state)
{
    world *w = *state;
    static const uint32_t indices[] = {1, 2, 3, 4, 5, 6, 7};
    seen s = {.ops = fl_backend_find("cpu"), .count = w->adapter.count, .pull = 1e4f};
    fl_train_hooks hooks = {.context = &s, .after_backward = see_backward, .after_step = see_step};
    fl_local_job job = {.data = {.examples = w->examples},
                        .indices = indices,
                        .count = 7,
                        .learning_rate = 1e-3,
                        .hooks = &hooks};
    fl_local_result plain, hooked;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_run(w->trainer, &job, &hooked), FL_OK);
    fl_trainer_get_adapter(w->trainer, y.data);
    assert_int_equal(s.backward, 5);
    assert_int_equal(s.step, 5);
    assert_true(s.copies == 2 && s.rate == 1e-3 && hooked.loss > 100);
    /* the pull is all that counts: the norm is that of the pull, and all weights fall alike */
    double norm = 1e4 * sqrt((double)s.count);
    assert_true(fabs(hooked.grad_norm / norm - 1) < 1e-3);
    for (size_t i = 0; i < y.count; i++)
        assert_true(fabsf(y.data[i] - w->adapter.data[i] + 5e-3f) < 1e-4f);
    s.pull = 0;
    job.hooks = NULL;
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_run(w->trainer, &job, &plain), FL_OK);
    assert_int_equal(s.backward, 5);
    assert_true(plain.loss < 50);
    assert_int_equal(plain.updates, 5);
    fl_params_fini(&y);
}

static void rows_without_labels_teach_nothing(void **state)
{
    world *w = *state;
    static const uint32_t masked[] = {0};
    fl_local_job job = {
        .data = {.examples = w->examples}, .indices = masked, .count = 1, .learning_rate = 1e-3};
    fl_local_result result;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_run(w->trainer, &job, &result), FL_OK);
    fl_trainer_get_adapter(w->trainer, y.data);
    assert_true(result.finite && isnan(result.loss) && result.updates == 0);
    assert_memory_equal(y.data, w->adapter.data, y.count * sizeof(float));
    fl_params_fini(&y);
}

static void divergence_is_seen(void **state)
{
    world *w = *state;
    fl_params y;
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    fl_local_result result = train(w, 1, 1e30, y.data);
    assert_false(result.finite);
    assert_true(result.steps < 5);
    fl_params_fini(&y);
}

static void training_lowers_the_loss(void **state)
{
    world *w = *state;
    fl_params y;
    double before, after;
    const uint32_t all[] = {1, 2, 3, 4};
    assert_int_equal(fl_params_like(&y, &w->adapter), FL_OK);
    fl_trainer_set_adapter(w->trainer, w->adapter.data);
    assert_int_equal(fl_trainer_gradient(w->trainer, &(fl_train_data){.examples = w->examples}, all,
                                         4, &before, NULL),
                     FL_OK);
    train(w, 1, 1e-2, y.data);
    assert_int_equal(fl_trainer_gradient(w->trainer, &(fl_train_data){.examples = w->examples}, all,
                                         4, &after, NULL),
                     FL_OK);
    assert_true(after < before - 0.1);
    fl_params_fini(&y);
}

static void learning_rate_over_rounds(void **state)
{
    (void)state;
    assert_true(fabs(fl_cosine_lr(5e-5, 1e-6, 100, 200) - 2.55e-5) < 1e-18);
    assert_true(fabs(fl_cosine_lr(5e-4, 1e-5, 199, 200) - 1.00302250419932e-05) < 1e-18);
    assert_true(fl_cosine_lr(1e-7, 1e-6, 5, 10) > 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_leave_nothing_behind),
        cmocka_unit_test(short_batches_are_not_dropped),
        cmocka_unit_test(hooks_are_called),
        cmocka_unit_test(rows_without_labels_teach_nothing),
        cmocka_unit_test(divergence_is_seen),
        cmocka_unit_test(training_lowers_the_loss),
        cmocka_unit_test(learning_rate_over_rounds),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
