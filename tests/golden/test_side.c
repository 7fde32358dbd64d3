/* The change of the base beside an adapter is one adapter of both: the same logits, and the same
 * gradients of the adapter's part, through every layer.  That is what a run's adapter folder holds
 * when the method moves the base.  Families with and without fused linears. */
#include "fed/side.h"
#include "golden/golden.h"
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_PAIRS = 64, MOST_VALUES = 1 << 16 };

/* Two orders of summation; see test_families.c for the noise of one. */
static const double limit = 5e-6;

typedef struct world {
    golden g;
    fl_model *model;
    fl_lora_config lora, joined_lora;
    fl_params adapter, joined;
    fl_side side;
    double scale[MOST_PAIRS];
    int64_t rank[MOST_PAIRS];
} world;

/* Some pairs without a change, some appended to, some with as many factors as the matrix has. */
static void make_side(world *x)
{
    OK(fl_side_init(&x->side, &x->adapter));
    size_t pairs = x->adapter.num_params / 2;
    assert_true(pairs <= MOST_PAIRS);
    for (uint64_t part = 0; part < 3; part++) {
        fl_side more;
        size_t rank[MOST_PAIRS];
        OK(fl_side_init(&more, &x->adapter));
        for (size_t i = 0; i < pairs; i++)
            rank[i] = (i + part) % 4 * 4;
        OK(fl_side_set_ranks(&more, rank));
        fl_rng rng = fl_rng_make(3, FL_PURPOSE_TEST, part, 0, 0, 0);
        for (size_t i = 0; i < more.values.count; i++)
            more.values.data[i] = 0.2f * (fl_rng_uniform(&rng) - 0.5f);
        OK(fl_side_add(&x->side, &more));
        fl_side_fini(&more);
    }
    for (size_t i = 0; i < pairs; i++)
        x->rank[i] = (int64_t)fl_side_rank(&x->side, i);
    OK(fl_side_check(&x->side));
}

/* As adapter_config.json says it: scale 1, ranks by pattern. */
static void join(world *x)
{
    size_t pairs = x->adapter.num_params / 2;
    fl_pattern items[MOST_PAIRS];
    char paths[MOST_PAIRS][96];
    for (size_t i = 0; i < pairs; i++)
        x->scale[i] = (double)fl_lora_scale(&x->lora, 0, FL_Q_PROJ);
    OK(fl_side_join(&x->joined, &x->side, x->adapter.data, x->scale));
    for (size_t i = 0; i < pairs; i++) {
        const fl_param *a = &x->joined.params[2 * i];
        const char *name = a->name + strlen("base_model.model.");
        snprintf(paths[i], sizeof paths[i], "%.*s", (int)(strlen(name) - strlen(".lora_A.weight")),
                 name);
        items[i] = (fl_pattern){.expression = paths[i], .value = (double)a->dim[0]};
    }
    fl_patterns patterns = {.items = items, .count = pairs};
    x->joined_lora = x->lora;
    x->joined_lora.rslora = x->joined_lora.has_side = false;
    OK(fl_lora_set_patterns(&x->joined_lora, &x->model->config, &patterns, &patterns, true));
}

static void open_world(world *x, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "families/%s/case", name);
    *x = (world){.g = golden_open(path)};
    snprintf(path, sizeof path, "families/%s", name);
    OK(fl_model_open(&x->model, golden_path(path), fl_backend_find("cpu"), 0));
    x->lora = golden_lora(&x->g, &x->model->config);
    x->lora.has_side = true;
    OK(fl_lora_create(&x->adapter, &x->lora, &x->model->config, 1));
    golden_fill(&x->g, "adapter", &x->adapter);
    make_side(x);
    join(x);
}

static void close_world(world *x)
{
    fl_params_fini(&x->adapter);
    fl_params_fini(&x->joined);
    fl_side_fini(&x->side);
    fl_lora_fini(&x->joined_lora);
    fl_model_close(x->model);
    golden_close(&x->g);
}

/* Loss and gradient of one batch. */
static void gradient(const world *x, bool joined, double *loss, float *out)
{
    const fl_lora_config *lora = joined ? &x->joined_lora : &x->lora;
    fl_examples *examples = golden_examples(golden_get(x->g.json, "sequences"));
    fl_train_config config = {.objective = "sft",
                              .batch_size = (int64_t)examples->count,
                              .gradient_accumulation_steps = 1,
                              .max_steps = 1};
    fl_trainer_limits limits = {.longest = examples->max_length, .most_examples = examples->count};
    fl_trainer *trainer;
    OK(fl_trainer_create(&trainer, x->model, lora, &config, &limits));
    fl_trainer_set_adapter(trainer, joined ? x->joined.data : x->adapter.data);
    if (!joined)
        OK(fl_trainer_set_side(trainer, x->side.values.data, x->side.values.count, x->rank));
    uint32_t all[16];
    for (uint32_t i = 0; i < 16; i++)
        all[i] = i;
    OK(fl_trainer_gradient(trainer, &(fl_train_data){.examples = examples}, all, examples->count,
                           loss, out));
    fl_trainer_destroy(trainer);
    fl_examples_destroy(examples);
}

/* The part of the joined adapter's gradient that is the adapter's; dL/dB = s dL/d(s B). */
static void adapters_part(const world *x, const float *joined, float *out)
{
    for (size_t i = 0; i < x->adapter.num_params; i++) {
        const fl_param *own = &x->adapter.params[i], *both = &x->joined.params[i];
        int64_t r = own->dim[i % 2], before = both->dim[i % 2] - r;
        for (size_t e = 0; e < own->count; e++) {
            int64_t row = (int64_t)e / own->dim[1], col = (int64_t)e % own->dim[1];
            int64_t at =
                i % 2 == 0 ? (row + before) * own->dim[1] + col : row * both->dim[1] + before + col;
            out[own->offset + e] =
                joined[both->offset + (size_t)at] * (i % 2 == 0 ? 1.0f : (float)x->scale[i / 2]);
        }
    }
}

static void check_family(void **state)
{
    static float beside[MOST_VALUES], together[MOST_VALUES], part[MOST_VALUES];
    double loss, joined_loss, without;
    world x;
    open_world(&x, *state);
    assert_true(x.joined.count <= MOST_VALUES);
    gradient(&x, false, &loss, beside);
    gradient(&x, true, &joined_loss, together);
    adapters_part(&x, together, part);
    expect_real("loss", loss, joined_loss, limit);
    expect_close("gradient", beside, part, x.adapter.count, 10 * limit);
    /* and the change does change something */
    size_t none[MOST_PAIRS] = {0};
    OK(fl_side_set_ranks(&x.side, none));
    gradient(&x, false, &without, beside);
    assert_true(without / loss > 1.001 || without / loss < 0.999);
    close_world(&x);
}

int main(void)
{
    static char names[][16] = {"llama_llama3", "phi3", "gemma2", "qwen3"};
    enum { COUNT = sizeof names / sizeof names[0] };
    struct CMUnitTest tests[COUNT] = {{0}};
    for (size_t i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = check_family, .initial_state = names[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
