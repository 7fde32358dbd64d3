/* Several clients in one pass over the base: each gets the bits that it gets alone.
 * test_clients [BACKEND] */
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char model_dir[] = FL_TEST_SOURCE_DIR "/tests/golden/data/model";

enum { CLIENTS = 4, EXAMPLES = 12, PAIRS = 8, LONGEST = 14, VOCAB = 160, MASKED = 0 };

static const fl_backend_ops *ops;

/* What a client's hooks add; each its own. */
typedef struct pull {
    size_t count;
    float *vector; /* [count] backend memory */
    int calls;
} pull;

typedef struct world {
    fl_model *model;
    fl_lora_config lora;
    fl_train_config config;
    fl_params start[CLIENTS]; /* adapters that the clients begin with */
    fl_examples *examples;    /* example MASKED has no label that counts */
    fl_pairs *pairs;
    double reference[2 * PAIRS];
    pull pulls[CLIENTS];
    fl_train_hooks hooks[CLIENTS];
    fl_local_job jobs[CLIENTS];
} world;

/* What became of a client. */
typedef struct outcome {
    fl_local_result result;
    fl_params adapter;
} outcome;

#define OK(call) assert_int_equal((call), FL_OK)

/* ---- data ----------------------------------------------------------------------------------- */

static fl_examples *make_examples(void)
{
    int32_t ids[EXAMPLES * LONGEST], labels[EXAMPLES * LONGEST];
    int64_t lengths[EXAMPLES];
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 1, 0, 0, 0);
    size_t at = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        lengths[i] = 3 + fl_rng_below(&rng, LONGEST - 2);
        for (int64_t t = 0; t < lengths[i]; t++, at++) {
            ids[at] = (int32_t)fl_rng_below(&rng, VOCAB);
            labels[at] = i == MASKED || t < 1 ? FL_LABEL_IGNORE : ids[at];
        }
    }
    fl_examples *examples;
    OK(fl_examples_from_ids(&examples, ids, labels, lengths, EXAMPLES));
    return examples;
}

static fl_pairs *make_pairs(void)
{
    const fl_pair_rules rules = {.max_length = 64, .max_prompt_length = 8, .bos = -1, .eos = -1};
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 5, 0, 0, 0);
    fl_pairs *pairs;
    OK(fl_pairs_create(&pairs));
    for (int i = 0; i < PAIRS; i++) {
        int32_t ids[FL_NUM_PARTS][LONGEST];
        fl_pair_ids pair;
        for (int part = 0; part < FL_NUM_PARTS; part++) {
            pair.ids[part] = ids[part];
            pair.count[part] = 1 + fl_rng_below(&rng, LONGEST / 2);
            for (size_t t = 0; t < pair.count[part]; t++)
                ids[part][t] = (int32_t)fl_rng_below(&rng, VOCAB);
        }
        OK(fl_pairs_add(pairs, &rules, &pair));
    }
    return pairs;
}

static double add_pull(void *context, const float *weights, float *grads, double copies)
{
    pull *p = context;
    (void)weights;
    p->calls++;
    ops->axpy(grads, p->vector, (float)copies, (int64_t)p->count);
    return 1;
}

static void shrink(void *context, float *weights, double learning_rate)
{
    pull *p = context;
    ops->axpy(weights, p->vector, (float)-learning_rate, (int64_t)p->count);
}

/* An adapter with B that is not zero; client 1's has a smaller rank: the other row of A and column
 * of B are zero. */
static void make_start(world *w, uint32_t client)
{
    fl_params *p = &w->start[client];
    OK(fl_lora_create(p, &w->lora, &w->model->config, 3));
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 2, client, 0, 0);
    for (size_t i = 0; i < p->count; i++)
        p->data[i] += 0.1f * (fl_rng_uniform(&rng) - 0.5f);
    for (size_t i = 0; i < p->num_params && client == 1; i++) {
        const fl_param *part = &p->params[i];
        for (size_t n = 0; n < part->count; n++) {
            size_t cols = (size_t)part->dim[1];
            if ((i % 2 == 0 ? n / cols : n % cols) == 1) p->data[part->offset + n] = 0;
        }
    }
}

static void make_hooks(world *w, uint32_t client)
{
    pull *p = &w->pulls[client];
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 3, client, 0, 0);
    float *values = calloc(w->start[client].count, sizeof *values);
    p->count = w->start[client].count;
    for (size_t i = 0; i < p->count; i++)
        values[i] = 0.02f * (fl_rng_uniform(&rng) - 0.5f);
    OK(ops->alloc(&p->vector, p->count * sizeof *p->vector));
    ops->copy_in(p->vector, values, p->count * sizeof *values);
    free(values);
    w->hooks[client] =
        (fl_train_hooks){.context = p, .after_backward = add_pull, .after_step = shrink};
}

/* Other numbers of examples, rates, scales and hooks for each. */
static void make_jobs(world *w)
{
    static const uint32_t indices[CLIENTS][5] = {
        {1, 2, 3, 4, 5}, {MASKED, 6, 7, 8}, {9, 10, 11}, {5, 3, 9, 1, 11}};
    static const size_t counts[CLIENTS] = {5, 4, 3, 5};
    static const double scales[CLIENTS] = {1, 2, 0.5, 0};
    for (uint32_t c = 0; c < CLIENTS; c++)
        w->jobs[c] = (fl_local_job){.data = {.examples = w->examples},
                                    .indices = indices[c],
                                    .count = counts[c],
                                    .learning_rate = 1e-2 / (c + 1),
                                    .round = 2,
                                    .client = 10 + c,
                                    .hooks = c % 2 ? &w->hooks[c] : NULL,
                                    .scale = scales[c]};
}

static int open_world(void **state)
{
    static world w;
    w = (world){.lora = {.r = 2, .alpha = 4, .dropout = 0.2f}};
    w.lora.target[FL_Q_PROJ] = w.lora.target[FL_V_PROJ] = w.lora.target[FL_DOWN_PROJ] = true;
    w.config = (fl_train_config){.objective = "sft",
                                 .dpo_loss = "dpo",
                                 .dpo_beta = 0.5,
                                 .batch_size = 2,
                                 .gradient_accumulation_steps = 2,
                                 .max_steps = 3,
                                 .max_grad_norm = 1,
                                 .weight_decay = 0.01,
                                 .adam_beta1 = 0.9,
                                 .adam_beta2 = 0.999,
                                 .adam_epsilon = 1e-8,
                                 .seed = 9};
    OK(fl_model_open(&w.model, model_dir, ops, 64));
    w.examples = make_examples();
    w.pairs = make_pairs();
    for (uint32_t c = 0; c < CLIENTS; c++) {
        make_start(&w, c);
        make_hooks(&w, c);
    }
    make_jobs(&w);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    world *w = *state;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        ops->release(w->pulls[c].vector);
        fl_params_fini(&w->start[c]);
    }
    fl_examples_destroy(w->examples);
    fl_pairs_destroy(w->pairs);
    fl_model_close(w->model);
    return 0;
}

/* ---- training ------------------------------------------------------------------------------- */

static fl_trainer *make_trainer(const world *w, int64_t clients)
{
    fl_trainer *trainer;
    const fl_train_data data = {.examples = w->examples, .pairs = w->pairs};
    fl_trainer_limits limits = {.longest = fl_objective_find(w->config.objective)->longest(&data),
                                .most_examples = EXAMPLES,
                                .clients = clients};
    OK(fl_trainer_create(&trainer, w->model, &w->lora, &w->config, &limits));
    return trainer;
}

static void load(fl_trainer *trainer, size_t slot, const fl_params *adapter)
{
    float *copy;
    size_t bytes = adapter->count * sizeof *copy;
    OK(ops->alloc(&copy, bytes));
    ops->copy_in(copy, adapter->data, bytes);
    fl_trainer_load_adapter(trainer, slot, copy);
    ops->release(copy);
}

static void store(const fl_trainer *trainer, size_t slot, fl_params *adapter)
{
    float *copy;
    size_t bytes = adapter->count * sizeof *copy;
    OK(ops->alloc(&copy, bytes));
    fl_trainer_store_adapter(trainer, slot, copy);
    ops->copy_out(adapter->data, copy, bytes);
    ops->release(copy);
}

static void forget_reference(world *w)
{
    for (size_t i = 0; i < 2 * PAIRS; i++)
        w->reference[i] = NAN;
}

/* The clients `who` in one pass, from a trainer for `slots`. */
static void train(world *w, int64_t slots, const uint32_t *who, size_t count, outcome *out)
{
    fl_trainer *trainer = make_trainer(w, slots);
    fl_local_job jobs[CLIENTS];
    fl_local_result results[CLIENTS];
    for (size_t i = 0; i < count; i++) {
        jobs[i] = w->jobs[who[i]];
        load(trainer, i, &w->start[who[i]]);
    }
    OK(fl_trainer_run_many(trainer, jobs, count, results));
    for (size_t i = 0; i < count; i++) {
        out[i].result = results[i];
        OK(fl_params_like(&out[i].adapter, &w->start[who[i]]));
        store(trainer, i, &out[i].adapter);
    }
    fl_trainer_destroy(trainer);
}

static void expect_same_result(const fl_local_result *a, const fl_local_result *b)
{
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_memory_equal(&a->grad_norm, &b->grad_norm, sizeof a->grad_norm);
    assert_memory_equal(a->measures, b->measures, sizeof a->measures);
    assert_int_equal(a->tokens, b->tokens);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->updates, b->updates);
    assert_int_equal(a->reference_needed, b->reference_needed);
    assert_int_equal(a->reference_made, b->reference_made);
    assert_int_equal(a->finite, b->finite);
}

static void forget(outcome *outcomes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fl_params_fini(&outcomes[i].adapter);
}

/* In one pass they are what they are one by one. */
static void expect_alone(world *w, const uint32_t *who, size_t count, int64_t slots)
{
    outcome together[CLIENTS], alone;
    forget_reference(w);
    train(w, slots, who, count, together);
    forget_reference(w);
    for (size_t i = 0; i < count; i++) {
        train(w, 1, &who[i], 1, &alone);
        expect_same_result(&together[i].result, &alone.result);
        assert_memory_equal(together[i].adapter.data, alone.adapter.data,
                            alone.adapter.count * sizeof(float));
        if (alone.result.updates && alone.result.finite)
            assert_memory_not_equal(alone.adapter.data, w->start[who[i]].data,
                                    alone.adapter.count * sizeof(float));
        fl_params_fini(&alone.adapter);
    }
    forget(together, count);
}

static const uint32_t everyone[CLIENTS] = {0, 1, 2, 3};

/* Dropout, accumulation, unequal lengths, passes, ranks, scales and hooks. */
static void clients_are_as_alone(void **state)
{
    world *w = *state;
    expect_alone(w, everyone, CLIENTS, CLIENTS);
    assert_int_equal(w->pulls[0].calls, 0);
    assert_int_equal(w->pulls[1].calls, 2 * w->config.max_steps);
}

/* The place of a client, its company and free slots do not matter. */
static void company_does_not_matter(void **state)
{
    world *w = *state;
    static const uint32_t some[] = {3, 1}, one[] = {2};
    expect_alone(w, some, 2, CLIENTS);
    expect_alone(w, one, 1, CLIENTS);
}

static void frozen_factors(void **state)
{
    world *w = *state;
    for (unsigned frozen = FL_FACTOR_A; frozen <= FL_FACTOR_B; frozen <<= 1) {
        for (size_t c = 0; c < CLIENTS; c++)
            w->jobs[c].frozen = frozen;
        expect_alone(w, everyone, CLIENTS, CLIENTS);
    }
    w->jobs[1].frozen = 0;
    fl_trainer *trainer = make_trainer(w, CLIENTS);
    fl_local_result results[CLIENTS];
    assert_int_equal(fl_trainer_run_many(trainer, w->jobs, CLIENTS, results), FL_ERR_INTERNAL);
    fl_trainer_destroy(trainer);
}

static void activations_made_again(void **state)
{
    world *w = *state;
    w->config.gradient_checkpointing = true;
    expect_alone(w, everyone, CLIENTS, CLIENTS);
}

/* A client without a token that counts, in some micro-batches or in all. */
static void empty_micro_batches(void **state)
{
    world *w = *state;
    static const uint32_t masked[] = {MASKED, MASKED};
    w->config.batch_size = 1; /* client 1 has a masked example among others */
    w->jobs[2].indices = masked;
    w->jobs[2].count = 2;
    expect_alone(w, everyone, CLIENTS, CLIENTS);
    w->jobs[0] = w->jobs[2];
    static const uint32_t idle[] = {0, 2};
    expect_alone(w, idle, 2, CLIENTS);
}

/* One diverges at once, one later; the others do not notice. */
static void divergence_stays_alone(void **state)
{
    world *w = *state;
    w->start[1].data[3] = INFINITY;
    w->jobs[3].learning_rate = 1e30;
    w->config.max_steps = 4;
    expect_alone(w, everyone, CLIENTS, CLIENTS);
    outcome out[CLIENTS];
    train(w, CLIENTS, everyone, CLIENTS, out);
    assert_true(out[0].result.finite && out[2].result.finite);
    assert_false(out[1].result.finite || out[3].result.finite);
    assert_int_equal(out[0].result.steps, 4);
    assert_int_equal(out[1].result.steps, 1);
    assert_in_range(out[3].result.steps, 2, 3);
    forget(out, CLIENTS);
}

static void preferences(void **state)
{
    world *w = *state;
    static const uint32_t pairs[CLIENTS][3] = {{0, 1, 2}, {3, 4}, {5}, {6, 7, 1}};
    static const size_t counts[CLIENTS] = {3, 2, 1, 3};
    w->config.objective = "dpo";
    for (int shared = 0; shared <= (ops->shares_prefixes ? 1 : 0); shared++) {
        for (size_t c = 0; c < CLIENTS; c++) {
            w->jobs[c].data = (fl_train_data){
                .pairs = w->pairs, .reference = w->reference, .share_prompts = shared != 0};
            w->jobs[c].indices = pairs[c];
            w->jobs[c].count = counts[c];
        }
        expect_alone(w, everyone, CLIENTS, CLIENTS);
    }
}

/* The factor on a client's scale is seen, and it is its own. */
static void scales_count(void **state)
{
    world *w = *state;
    outcome plain, scaled;
    w->jobs[0].scale = 1;
    train(w, 1, everyone, 1, &plain);
    w->jobs[0].scale = 1.5;
    train(w, 1, everyone, 1, &scaled);
    assert_true(plain.result.loss != scaled.result.loss);
    fl_params_fini(&plain.adapter);
    fl_params_fini(&scaled.adapter);
}

/* More rows than the head computes at a time: its pieces end inside a client's rows. */
static void rows_in_pieces(void **state)
{
    world *w = *state;
    static const uint32_t all[EXAMPLES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    w->config.batch_size = EXAMPLES;
    w->config.gradient_accumulation_steps = w->config.max_steps = 1;
    for (size_t c = 0; c < CLIENTS; c++) {
        w->jobs[c].indices = all;
        w->jobs[c].count = EXAMPLES - c % 2;
    }
    assert_true(CLIENTS * w->examples->num_targets > 256 && w->examples->num_targets < 256);
    expect_alone(w, everyone, CLIENTS, CLIENTS);
}

static void limits_are_kept(void **state)
{
    world *w = *state;
    fl_trainer *trainer = make_trainer(w, 2);
    fl_local_result results[CLIENTS];
    assert_int_equal(fl_trainer_run_many(trainer, w->jobs, 3, results), FL_ERR_INTERNAL);
    assert_int_equal(fl_trainer_run_many(trainer, w->jobs, 0, results), FL_ERR_INTERNAL);
    w->jobs[1].count = EXAMPLES + 1;
    assert_int_equal(fl_trainer_run_many(trainer, w->jobs, 2, results), FL_ERR_INTERNAL);
    fl_trainer_destroy(trainer);
}

static void nothing_is_allocated(void **state)
{
    world *w = *state;
    fl_trainer *trainer = make_trainer(w, CLIENTS);
    fl_local_result results[CLIENTS];
    for (size_t c = 0; c < CLIENTS; c++)
        load(trainer, c, &w->start[c]);
    OK(fl_trainer_run_many(trainer, w->jobs, CLIENTS, results)); /* warms the kernels' scratch */
    uint64_t before = fl_alloc_count();
    OK(fl_trainer_run_many(trainer, w->jobs, CLIENTS, results));
    assert_true(fl_alloc_count() == before);
    fl_trainer_destroy(trainer);
}

/* Exit code 77 where the backend is not there. */
static void choose_backend(const char *name)
{
    ops = fl_backend_find(name);
    if (!ops || !ops->present()) exit(77);
    if (ops->open(0) == FL_OK) return;
    fprintf(stderr, "%s\n", fl_error_text());
    exit(1);
}

int main(int argc, char **argv)
{
    choose_backend(argc > 1 ? argv[1] : "cpu");
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(clients_are_as_alone), IN_WORLD(company_does_not_matter),
        IN_WORLD(frozen_factors),       IN_WORLD(activations_made_again),
        IN_WORLD(empty_micro_batches),  IN_WORLD(divergence_stays_alone),
        IN_WORLD(preferences),          IN_WORLD(scales_count),
        IN_WORLD(rows_in_pieces),       IN_WORLD(limits_are_kept),
        IN_WORLD(nothing_is_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
