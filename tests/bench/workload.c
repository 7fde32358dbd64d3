#include "workload.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

// clang-format off
const workload workloads[] = {
    /* name      objective batch prompt answer spread longest r alpha dropout all format  layers */
    {"g1",       "sft", 16,   0,  512, 0,    512, 16, 32, 0,    true,  FL_STORED, 32},
    {"g2",       "sft",  8,   0, 2048, 0,   2048, 16, 32, 0,    true,  FL_STORED, 32},
    {"g4-int8",  "sft", 16,  70,   70, 0.75, 512, 32, 64, 0.05, false, FL_INT8,    8},
    {"g4-nf4",   "sft", 16,  70,   70, 0.75, 512, 32, 64, 0.05, false, FL_NF4,     8},
    {"g5-short", "dpo",  8, 128,  128, 0,    384, 16, 32, 0,    true,  FL_STORED, 32},
    {"g5-long",  "dpo",  8, 512,  128, 0,    768, 16, 32, 0,    true,  FL_STORED, 32},
};
// clang-format on
const size_t workload_count = sizeof workloads / sizeof workloads[0];

enum { TINY_TIMES = 32, TINY_BATCH = 2, TINY_R = 4, SEED = 1 };

const workload *workload_find(const char *name)
{
    for (size_t i = 0; i < workload_count; i++)
        if (strcmp(workloads[i].name, name) == 0) return &workloads[i];
    return NULL;
}

workload workload_tiny(const workload *w)
{
    workload tiny = *w;
    tiny.batch = TINY_BATCH;
    tiny.prompt = (w->prompt + TINY_TIMES - 1) / TINY_TIMES;
    tiny.answer = (w->answer + TINY_TIMES - 1) / TINY_TIMES;
    tiny.longest = w->longest / TINY_TIMES;
    tiny.r = TINY_R;
    return tiny;
}

/* ---- data ----------------------------------------------------------------------------------- */

/* Prompt and answer of one example. */
typedef struct lengths {
    int64_t prompt, answer;
} lengths;

static lengths draw_lengths(const workload *w, fl_rng *rng)
{
    if (w->spread == 0) return (lengths){w->prompt, w->answer};
    /* Box and Muller's normal deviate; the logarithm's argument is in (0, 1] */
    double radius = sqrt(-2 * log(1 - (double)fl_rng_uniform(rng)));
    double normal = radius * cos(2 * 3.14159265358979323846 * (double)fl_rng_uniform(rng));
    double wanted = (double)(w->prompt + w->answer) * exp(w->spread * normal);
    int64_t all = wanted > (double)w->longest ? w->longest : (int64_t)wanted;
    all = all < 4 ? 4 : all;
    int64_t prompt = all * w->prompt / (w->prompt + w->answer);
    return (lengths){prompt, all - prompt};
}

static void draw_ids(int32_t *ids, int64_t count, int64_t vocab, fl_rng *rng)
{
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)fl_rng_below(rng, (uint64_t)vocab);
}

static fl_status make_examples(workload_data *data, const workload *w, int64_t vocab, fl_rng *rng)
{
    int64_t *length = NULL;
    int32_t *ids = NULL, *labels = NULL;
    size_t used = 0;
    fl_status status = FL_OK;
    FL_TRY_GOTO(fl_alloc(&length, data->count, sizeof *length), out);
    FL_TRY_GOTO(fl_alloc(&ids, data->count * (size_t)w->longest, sizeof *ids), out);
    FL_TRY_GOTO(fl_alloc(&labels, data->count * (size_t)w->longest, sizeof *labels), out);
    for (size_t i = 0; i < data->count; i++) {
        lengths l = draw_lengths(w, rng);
        length[i] = l.prompt + l.answer;
        draw_ids(ids + used, length[i], vocab, rng);
        for (int64_t t = 0; t < length[i]; t++)
            labels[used + (size_t)t] = t < l.prompt ? FL_LABEL_IGNORE : ids[used + (size_t)t];
        used += (size_t)length[i];
    }
    status = fl_examples_from_ids(&data->examples, ids, labels, length, data->count);
out:
    fl_free(length);
    fl_free(ids);
    fl_free(labels);
    return status;
}

static fl_status make_pairs(workload_data *data, const workload *w, int64_t vocab, fl_rng *rng)
{
    const fl_pair_rules rules = {
        .max_length = w->prompt + w->answer, .max_prompt_length = w->prompt, .bos = -1, .eos = -1};
    int64_t total = w->prompt + 2 * w->answer;
    int32_t *ids = NULL;
    fl_status status = FL_OK;
    FL_TRY_GOTO(fl_alloc(&ids, (size_t)total, sizeof *ids), out);
    FL_TRY_GOTO(fl_pairs_create(&data->pairs), out);
    for (size_t i = 0; i < data->count; i++) {
        draw_ids(ids, total, vocab, rng);
        const fl_pair_ids pair = {
            .ids = {ids, ids + w->prompt, ids + w->prompt + w->answer},
            .count = {(size_t)w->prompt, (size_t)w->answer, (size_t)w->answer}};
        FL_TRY_GOTO(fl_pairs_add(data->pairs, &rules, &pair), out);
    }
    FL_TRY_GOTO(fl_alloc(&data->reference, 2 * data->count, sizeof *data->reference), out);
    for (size_t i = 0; i < 2 * data->count; i++)
        data->reference[i] = NAN;
out:
    fl_free(ids);
    return status;
}

fl_status workload_make_data(workload_data *out, const workload *w, int64_t steps, int64_t vocab,
                             bool share_prompts)
{
    fl_rng rng = fl_rng_make(SEED, FL_PURPOSE_TEST, 0, 0, 0, 0);
    bool dpo = strcmp(w->objective, "dpo") == 0;
    *out = (workload_data){.count = (size_t)(w->batch * steps), .share_prompts = share_prompts};
    FL_TRY(fl_alloc(&out->indices, out->count, sizeof *out->indices));
    for (size_t i = 0; i < out->count; i++)
        out->indices[i] = (uint32_t)i;
    FL_TRY(dpo ? make_pairs(out, w, vocab, &rng) : make_examples(out, w, vocab, &rng));
    const fl_objective *objective = fl_objective_find(w->objective);
    fl_train_data data = workload_train_data(out);
    out->longest = objective->longest(&data);
    out->positions = objective->positions(&data);
    return FL_OK;
}

void workload_free_data(workload_data *data)
{
    fl_examples_destroy(data->examples);
    fl_pairs_destroy(data->pairs);
    fl_free(data->reference);
    fl_free(data->indices);
    *data = (workload_data){0};
}

fl_train_data workload_train_data(const workload_data *data)
{
    return (fl_train_data){.examples = data->examples,
                           .pairs = data->pairs,
                           .reference = data->reference,
                           .share_prompts = data->share_prompts};
}

/* ---- sizes ---------------------------------------------------------------------------------- */

double workload_tokens(const workload *w, const workload_data *data, workload_steps steps)
{
    double all = 0;
    size_t first = (size_t)(steps.first * w->batch), end = first + (size_t)(steps.count * w->batch);
    for (size_t i = first; i < end; i++) {
        if (data->examples) all += (double)fl_example_length(data->examples, i);
        if (data->pairs)
            all += 2 * (double)fl_pair_length(data->pairs, i, FL_PART_PROMPT) +
                   (double)fl_pair_length(data->pairs, i, FL_PART_CHOSEN) +
                   (double)fl_pair_length(data->pairs, i, FL_PART_REJECTED);
    }
    return all;
}

/* What the operations depend on, summed over examples. */
typedef struct amounts {
    double tokens, targets;
    double seen; /* pairs of a query and a key that it sees */
} amounts;

static void add_example(amounts *a, const fl_examples *examples, size_t i)
{
    double length = (double)fl_example_length(examples, i);
    a->tokens += length;
    a->seen += length * length / 2;
    for (size_t t = examples->offset[i] + 1; t < examples->offset[i + 1]; t++)
        a->targets += examples->labels[t] != FL_LABEL_IGNORE;
}

static void add_pair(amounts *a, const fl_pairs *pairs, size_t i)
{
    double prompt = (double)fl_pair_length(pairs, i, FL_PART_PROMPT);
    a->tokens += (double)fl_pair_tokens(pairs, i, true);
    a->seen += prompt * prompt / 2;
    for (int part = FL_PART_CHOSEN; part <= FL_PART_REJECTED; part++) {
        double answer = (double)fl_pair_length(pairs, i, part);
        a->seen += answer * (prompt + answer / 2);
        a->targets += answer;
    }
}

double workload_flops(const workload *w, const workload_data *data, workload_steps steps,
                      const fl_model_config *model, size_t adapter)
{
    amounts a = {0};
    size_t first = (size_t)(steps.first * w->batch), end = first + (size_t)(steps.count * w->batch);
    for (size_t i = first; i < end; i++) {
        if (data->examples) add_example(&a, data->examples, i);
        if (data->pairs) add_pair(&a, data->pairs, i);
    }
    double C = (double)model->hidden_size, F = (double)model->intermediate_size;
    double V = (double)model->vocab_size, L = (double)model->num_layers;
    double Q = (double)(model->num_heads * model->head_dim);
    double K = (double)(model->num_kv_heads * model->head_dim);
    double qkv = C * (Q + 2 * K), rest = Q * C + 3 * C * F;
    double linears = 4 * L * (qkv + rest) * a.tokens;
    double first_layer = 2 * qkv * a.tokens;
    double last_layer = 4 * (C * Q + rest) * (a.tokens - a.targets);
    double attention = 3.5 * 4 * Q * L * a.seen; /* forward two products, backward five */
    double head = 4 * V * C * a.targets, lora = 6 * (double)adapter * a.tokens;
    return linears - first_layer - last_layer + attention + head + lora;
}
