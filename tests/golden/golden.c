#include "golden/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void golden_ok(fl_status status, const char *call)
{
    if (status != FL_OK) fail_msg("%s: %s", call, fl_error_text());
}

static const fl_backend_ops *backend = &fl_backend_cpu;

void golden_choose_backend(int argc, char **argv)
{
    if (argc < 2) return;
    backend = fl_backend_find(argv[1]);
    if (!backend || !backend->present()) exit(77);
    if (backend->open(0) != FL_OK) {
        fprintf(stderr, "%s\n", fl_error_text());
        exit(1);
    }
}

const fl_backend_ops *golden_backend(void)
{
    return backend;
}

float *golden_to_backend(const float *host, size_t count)
{
    float *copy = NULL;
    if (!host) return NULL;
    OK(backend->alloc(&copy, count * sizeof *copy));
    backend->copy_in(copy, host, count * sizeof *copy);
    return copy;
}

const char *golden_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/data/%s", FL_TEST_SOURCE_DIR, name);
    return path;
}

golden golden_open(const char *name)
{
    golden g = {0};
    char file[256];
    json_error_t error;
    snprintf(file, sizeof file, "%s.json", name);
    g.json = json_load_file(golden_path(file), 0, &error);
    if (!g.json) fail_msg("%s: %s", golden_path(file), error.text);
    snprintf(file, sizeof file, "%s.safetensors", name);
    FILE *there = fopen(golden_path(file), "rb");
    if (there) {
        fclose(there);
        OK(fl_safetensors_open(&g.tensors, golden_path(file)));
    }
    return g;
}

void golden_close(golden *g)
{
    json_decref(g->json);
    if (g->tensors) fl_safetensors_close(g->tensors);
    *g = (golden){0};
}

json_t *golden_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (!value) fail_msg("golden file has no %s", key);
    return value;
}

double golden_real(const json_t *object, const char *key)
{
    return json_number_value(golden_get(object, key));
}

int64_t golden_int(const json_t *object, const char *key)
{
    return json_integer_value(golden_get(object, key));
}

enum { MOST_PATTERNS = 8 };

static fl_patterns read_patterns(const json_t *lora, const char *key, fl_pattern *items)
{
    json_t *object = json_object_get(lora, key), *value;
    fl_patterns out = {.items = items};
    const char *expression;
    json_object_foreach(object, expression, value)
    {
        assert_true(out.count < MOST_PATTERNS);
        items[out.count++] = (fl_pattern){expression, json_number_value(value)};
    }
    return out;
}

fl_lora_config golden_lora(const golden *g, const fl_model_config *config)
{
    const json_t *object = golden_get(g->json, "lora");
    fl_lora_config lora = {.r = golden_int(object, "r"),
                           .alpha = golden_real(object, "lora_alpha"),
                           .rslora = json_is_true(json_object_get(object, "use_rslora")),
                           .dropout = (float)golden_real(object, "lora_dropout")};
    const json_t *targets = golden_get(object, "target_modules");
    const char *names[FL_NUM_MODULES];
    size_t count = json_array_size(targets);
    assert_in_range(count, 1, FL_NUM_MODULES);
    for (size_t i = 0; i < count; i++)
        names[i] = json_string_value(json_array_get(targets, i));
    static const fl_model_config llama = {.family = &fl_families[0], .num_layers = 1};
    OK(fl_lora_set_targets(&lora, config ? config : &llama, names, count));
    fl_pattern ranks[MOST_PATTERNS], alphas[MOST_PATTERNS];
    fl_patterns rank_pattern = read_patterns(object, "rank_pattern", ranks);
    fl_patterns alpha_pattern = read_patterns(object, "alpha_pattern", alphas);
    assert_true(config || rank_pattern.count + alpha_pattern.count == 0);
    OK(fl_lora_set_patterns(&lora, config, &rank_pattern, &alpha_pattern, true));
    return lora;
}

fl_train_config golden_train(const golden *g)
{
    const json_t *o = golden_get(g->json, "optimizer"), *dpo = json_object_get(g->json, "dpo");
    fl_train_config config = {.objective = dpo ? "dpo" : "sft",
                              .batch_size = 1,
                              .gradient_accumulation_steps = 1,
                              .max_steps = 1,
                              .max_grad_norm = golden_real(o, "max_grad_norm"),
                              .weight_decay = golden_real(o, "weight_decay"),
                              .adam_beta1 = golden_real(o, "beta1"),
                              .adam_beta2 = golden_real(o, "beta2"),
                              .adam_epsilon = golden_real(o, "eps"),
                              .seed = 2023};
    if (!dpo) return config;
    config.dpo_loss = json_string_value(golden_get(dpo, "loss"));
    config.dpo_beta = golden_real(dpo, "beta");
    config.dpo_label_smoothing = golden_real(dpo, "label_smoothing");
    return config;
}

void golden_fill(const golden *g, const char *prefix, fl_params *params)
{
    for (size_t i = 0; i < params->num_params; i++) {
        const fl_param *param = &params->params[i];
        char name[512];
        snprintf(name, sizeof name, "%s.%s", prefix, param->name);
        const fl_tensor *tensor = fl_safetensors_find(g->tensors, name);
        if (!tensor) fail_msg("golden file has no tensor %s", name);
        assert_int_equal(tensor->dim[0], param->dim[0]);
        assert_int_equal(tensor->dim[1], param->dim[1]);
        fl_to_f32(params->data + param->offset, tensor->data, tensor->dtype, param->count);
    }
}

typedef struct sequence_lists {
    int32_t *ids, *labels;
    int64_t *lengths;
    size_t tokens, token_capacity, label_capacity, count, count_capacity;
} sequence_lists;

static void add_sequence(sequence_lists *lists, const json_t *sequence)
{
    const json_t *ids = golden_get(sequence, "ids"), *labels = json_object_get(sequence, "labels");
    size_t length = json_array_size(ids);
    OK(fl_grow(&lists->ids, &lists->token_capacity, lists->tokens + length, sizeof(int32_t)));
    OK(fl_grow(&lists->labels, &lists->label_capacity, lists->tokens + length, sizeof(int32_t)));
    OK(fl_grow(&lists->lengths, &lists->count_capacity, lists->count + 1, sizeof(int64_t)));
    for (size_t i = 0; i < length; i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
        lists->ids[lists->tokens + i] = id;
        lists->labels[lists->tokens + i] =
            labels ? (int32_t)json_integer_value(json_array_get(labels, i)) : id;
    }
    lists->tokens += length;
    lists->lengths[lists->count++] = (int64_t)length;
}

fl_examples *golden_examples(const json_t *sequences)
{
    sequence_lists lists = {0};
    size_t i, j;
    json_t *entry, *inner;
    json_array_foreach(sequences, i, entry)
    {
        if (json_is_object(entry))
            add_sequence(&lists, entry);
        else
            json_array_foreach(entry, j, inner) add_sequence(&lists, inner);
    }
    fl_examples *examples;
    OK(fl_examples_from_ids(&examples, lists.ids, lists.labels, lists.lengths, lists.count));
    fl_free(lists.ids);
    fl_free(lists.labels);
    fl_free(lists.lengths);
    return examples;
}

/* ---- pairs ---------------------------------------------------------------------------------- */

enum { GOLDEN_EOS = 2, LONGEST_PART = 64 };

/* Ids of one part; answers with the closing eos. */
static size_t read_part(const json_t *pair, int part, int32_t ids[LONGEST_PART])
{
    static const char *const names[FL_NUM_PARTS] = {"prompt", "chosen", "rejected"};
    const json_t *list = golden_get(pair, names[part]);
    size_t count = json_array_size(list);
    assert_in_range(count, 1, LONGEST_PART - 1);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    if (part != FL_PART_PROMPT) ids[count++] = GOLDEN_EOS;
    return count;
}

static void add_pair(fl_pairs *pairs, const fl_pair_rules *rules, const json_t *object)
{
    int32_t ids[FL_NUM_PARTS][LONGEST_PART];
    fl_pair_ids pair;
    for (int part = 0; part < FL_NUM_PARTS; part++) {
        pair.ids[part] = ids[part];
        pair.count[part] = read_part(object, part, ids[part]);
    }
    OK(fl_pairs_add(pairs, rules, &pair));
}

static fl_pairs *golden_pairs(const json_t *dpo, const json_t *samples)
{
    const fl_pair_rules rules = {.compat = true,
                                 .max_length = golden_int(dpo, "max_length"),
                                 .max_prompt_length = golden_int(dpo, "max_prompt_length"),
                                 .bos = -1,
                                 .eos = GOLDEN_EOS};
    fl_pairs *pairs;
    OK(fl_pairs_create(&pairs));
    size_t i, j;
    json_t *entry, *inner;
    json_array_foreach(samples, i, entry)
    {
        if (json_is_object(entry))
            add_pair(pairs, &rules, entry);
        else
            json_array_foreach(entry, j, inner) add_pair(pairs, &rules, inner);
    }
    return pairs;
}

fl_train_data golden_data(const golden *g, const json_t *samples)
{
    const json_t *dpo = json_object_get(g->json, "dpo");
    if (!dpo) return (fl_train_data){.examples = golden_examples(samples)};
    fl_train_data data = {.pairs = golden_pairs(dpo, samples)};
    OK(fl_alloc(&data.reference, 2 * data.pairs->count, sizeof *data.reference));
    for (size_t i = 0; i < 2 * data.pairs->count; i++)
        data.reference[i] = NAN;
    return data;
}

void golden_data_fini(fl_train_data *data)
{
    fl_examples_destroy((fl_examples *)(uintptr_t)data->examples);
    fl_pairs_destroy((fl_pairs *)(uintptr_t)data->pairs);
    fl_free(data->reference);
}

double relative_l2(const float *a, const float *b, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        size += (double)b[i] * (double)b[i];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

void expect_close(const char *what, const float *a, const float *b, size_t count, double limit)
{
    double error = relative_l2(a, b, count);
    print_message("  %-24s relative L2 %.2e (limit %.0e)\n", what, error, limit);
    if (!(error <= limit)) fail_msg("%s: relative L2 %.3e is above %.0e", what, error, limit);
}

void expect_real(const char *what, double value, double expected, double limit)
{
    double error = fabs(value - expected) / fmax(fabs(expected), 1e-30);
    print_message("  %-24s %.9g, expected %.9g\n", what, value, expected);
    if (!(error <= limit))
        fail_msg("%s: %.12g, expected %.12g (relative %.2e, limit %.0e)", what, value, expected,
                 error, limit);
}
