/* int8 and NF4 against bitsandbytes (data/quant, made by make_quant_golden.py): codes, statistics
 * and values of matrices to the last bit, checkpoints, and training on a base quantised at load. */
#include "golden/golden.h"
#include "tensor/quant.h"
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_ELEMENTS = 150 * 120, MAX_BLOCKS = MAX_ELEMENTS / FL_NF4_BLOCK + 1 };

static fl_safetensors *matrices;

static const void *part(const char *matrix, const char *name, int64_t *count)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", matrix, name);
    const fl_tensor *tensor = fl_safetensors_find(matrices, full);
    if (!tensor) fail_msg("there is no %s", full);
    if (count) *count = fl_tensor_count(tensor);
    return tensor->data;
}

static int open_matrices(void **state)
{
    (void)state;
    OK(fl_safetensors_open(&matrices, golden_path("quant/matrices.safetensors")));
    return 0;
}

static int close_matrices(void **state)
{
    (void)state;
    fl_safetensors_close(matrices);
    return 0;
}

static void same_values(const fl_quant *q, const char *matrix, const char *values)
{
    static float out[MAX_ELEMENTS];
    int64_t count;
    const float *expected = part(matrix, values, &count);
    fl_dequantise(out, q, 0, count);
    assert_memory_equal(out, expected, (size_t)count * sizeof *out);
}

static void check_int8(const char *matrix, int64_t rows, int64_t cols)
{
    static int8_t codes[MAX_ELEMENTS];
    float absmax[150];
    const float *w = part(matrix, "w", NULL);
    for (int64_t r = 0; r < rows; r++)
        absmax[r] = fl_quantise_int8_row(codes + r * cols, w + r * cols, cols);
    assert_memory_equal(codes, part(matrix, "int8.codes", NULL), (size_t)(rows * cols));
    assert_memory_equal(absmax, part(matrix, "int8.absmax", NULL), (size_t)rows * sizeof *absmax);
    fl_quant q = {.format = FL_INT8, .cols = cols, .codes = codes, .absmax = absmax};
    same_values(&q, matrix, "int8.values");
}

/* bitsandbytes finds codes of absmax through a table and their mean in fp32, so codes at a boundary
 * may differ from our rule: the values are then those of the neighbouring code. */
static void check_nested(const char *matrix, const uint8_t *codes, const float *absmax,
                         int64_t blocks, int64_t cols)
{
    uint8_t absmax_codes[MAX_BLOCKS];
    float scale[2], offset, map[FL_ABSMAX_CODES];
    fl_dynamic_map(map);
    assert_memory_equal(map, fl_safetensors_find(matrices, "map")->data, sizeof map);
    fl_quant q = {.format = FL_NF4,
                  .cols = cols,
                  .codes = codes,
                  .absmax_codes = part(matrix, "nested.absmax_codes", NULL),
                  .absmax_map = map,
                  .absmax_scale = part(matrix, "nested.scale", NULL),
                  .absmax_offset = *(const float *)part(matrix, "nested.offset", NULL)};
    same_values(&q, matrix, "nested.values");

    fl_quantise_absmax(absmax_codes, scale, &offset, absmax, blocks);
    int differ = 0;
    for (int64_t b = 0; b < blocks; b++) {
        int apart = abs(absmax_codes[b] - q.absmax_codes[b]);
        assert_in_range(apart, 0, 1);
        differ += apart;
    }
    print_message("  %s: %d of %lld codes of absmax differ, offset %.9g and %.9g\n", matrix, differ,
                  (long long)blocks, (double)offset, (double)q.absmax_offset);
    assert_true(differ <= blocks / 50);
    assert_true(relative_l2(&offset, &q.absmax_offset, 1) < 1e-6);
    assert_true(relative_l2(scale, q.absmax_scale, (size_t)(blocks + 255) / 256) < 1e-6);
}

static void check_nf4(const char *matrix, int64_t count, int64_t cols)
{
    static uint8_t codes[MAX_ELEMENTS / 2];
    float absmax[MAX_BLOCKS];
    const float *w = part(matrix, "w", NULL);
    int64_t blocks = (count + FL_NF4_BLOCK - 1) / FL_NF4_BLOCK;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t at = b * FL_NF4_BLOCK, n = count - at < FL_NF4_BLOCK ? count - at : FL_NF4_BLOCK;
        absmax[b] = fl_quantise_nf4_block(codes + at / 2, w + at, n);
    }
    assert_memory_equal(codes, part(matrix, "nf4.codes", NULL), (size_t)(count / 2));
    assert_memory_equal(absmax, part(matrix, "nf4.absmax", NULL), (size_t)blocks * sizeof *absmax);
    fl_quant q = {.format = FL_NF4, .cols = cols, .codes = codes, .absmax = absmax};
    same_values(&q, matrix, "nf4.values");
    check_nested(matrix, codes, absmax, blocks, cols);
}

static void matrices_are_bitsandbytes(void **state)
{
    (void)state;
    check_int8("small", 6, 50);
    check_int8("large", 150, 120);
    check_nf4("small", 6 * 50, 50);
    check_nf4("large", 150 * 120, 120);
}

static const fl_lora_config none = {.r = 1, .alpha = 1};

static void checkpoints_load_as_they_are(void **state)
{
    (void)state;
    static const char *const names[] = {"nf4", "nf4_plain", "int8"};
    static const fl_format formats[] = {FL_NF4, FL_NF4, FL_INT8};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        fl_model *model, *made;
        snprintf(path, sizeof path, "quant/%s/case", names[i]);
        golden g = golden_open(path);
        snprintf(path, sizeof path, "quant/%s", names[i]);
        OK(fl_model_open(&model, golden_path(path), golden_backend(), 0));
        print_message("%s: %zu bytes\n", names[i], model->weight_bytes);
        golden_check_logits(&g, model, &none, NULL, 5e-6);
        /* quantised at load: the same but for what check_nested allows, and for int8 because
         * Transformers rounds to fp16 before it quantises, which the format does not ask for */
        OK(fl_model_open_as(&made, golden_path("families/qwen3"), golden_backend(), 0, formats[i],
                            false));
        if (i != 1) golden_check_logits(&g, made, &none, NULL, i == 0 ? 1e-3 : 5e-3);
        fl_model_close(made);
        fl_format other = formats[i] == FL_NF4 ? FL_INT8 : FL_NF4;
        assert_int_equal(
            fl_model_open_as(&made, golden_path(path), golden_backend(), 0, other, false),
            FL_ERR_USAGE);
        fl_model_close(model);
        golden_close(&g);
    }
}

/* Losses of 30 steps over the same examples. */
static void train(const golden *g, fl_format format, double *first, double *last)
{
    fl_lora_config lora = golden_lora(g, NULL);
    fl_train_config config = golden_train(g);
    fl_examples *examples = golden_examples(golden_get(g->json, "batches"));
    fl_model *model;
    OK(fl_model_open_as(&model, golden_path("model"), golden_backend(), 0, format, false));
    fl_params adapter;
    OK(fl_lora_create(&adapter, &lora, &model->config, 1));
    config.batch_size = 4;
    config.max_steps = 1;
    fl_trainer_limits limits = {.longest = examples->max_length, .most_examples = 8};
    fl_trainer *trainer;
    OK(fl_trainer_create(&trainer, model, &lora, &config, &limits));
    static const uint32_t indices[] = {0, 1, 2, 3, 4, 5, 6, 7};
    fl_local_job job = {
        .data = {.examples = examples}, .indices = indices, .count = 8, .learning_rate = 5e-3};
    fl_trainer_set_adapter(trainer, adapter.data);
    OK(fl_trainer_gradient(trainer, &(fl_train_data){.examples = examples}, indices, 8 / 2, first,
                           NULL));
    for (job.round = 0; job.round < 30; job.round++) {
        fl_local_result result;
        OK(fl_trainer_run(trainer, &job, &result));
        assert_true(result.finite);
    }
    OK(fl_trainer_gradient(trainer, &(fl_train_data){.examples = examples}, indices, 8 / 2, last,
                           NULL));
    fl_trainer_destroy(trainer);
    fl_params_fini(&adapter);
    fl_model_close(model);
    fl_examples_destroy(examples);
}

static void training_falls_on_every_format(void **state)
{
    (void)state;
    if (golden_backend() != &fl_backend_cpu) skip(); /* takes minutes */
    golden g = golden_open("steps_all");
    double first, last, first_fp32, last_fp32;
    train(&g, FL_STORED, &first_fp32, &last_fp32);
    print_message("  fp32: %.4f -> %.4f\n", first_fp32, last_fp32);
    assert_true(last_fp32 < first_fp32 - 0.3);
    for (fl_format format = FL_INT8; format <= FL_NF4; format++) {
        train(&g, format, &first, &last);
        print_message("  %s: %.4f -> %.4f\n", format == FL_INT8 ? "int8" : "NF4", first, last);
        assert_true((first - last) / (first_fp32 - last_fp32) > 0.9);
    }
    golden_close(&g);
}

int main(int argc, char **argv)
{
    golden_choose_backend(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(matrices_are_bitsandbytes, open_matrices, close_matrices),
        cmocka_unit_test(checkpoints_load_as_they_are),
        cmocka_unit_test(training_falls_on_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
