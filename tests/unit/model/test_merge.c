/* Model folders made of others: values, element types, shards, the other files, what is refused. */
#include "model/merge.h"

#include "base/file.h"
#include "base/rng.h"
#include "io/adapter.h"
#include "io/safetensors.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA FL_TEST_SOURCE_DIR "/tests/golden/data/"
static const char sharded_dir[] = DATA "model_sharded";
static const char *const shards[] = {"model-00001-of-00003.safetensors",
                                     "model-00002-of-00003.safetensors",
                                     "model-00003-of-00003.safetensors"};

#define OK(call)                                                         \
    do {                                                                 \
        if ((call) != FL_OK) fail_msg("%s: %s", #call, fl_error_text()); \
    } while (0)
#define FAILS(call, code, text)                                                         \
    do {                                                                                \
        assert_int_equal((call), (code));                                               \
        if (!strstr(fl_error_text(), (text))) fail_msg("it says: %s", fl_error_text()); \
    } while (0)

/* ---- folders -------------------------------------------------------------------------------- */

static char folder[64];

static const char *at(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int enter(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "merge-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void write_text(const char *path, const char *text)
{
    OK(fl_file_write_atomic(path, text, strlen(text)));
}

static void expect_same_file(const char *a, const char *b)
{
    fl_buf one = {0}, other = {0};
    OK(fl_file_read(&one, a, 0));
    OK(fl_file_read(&other, b, 0));
    assert_int_equal(one.length, other.length);
    assert_memory_equal(one.data, other.data, one.length);
    fl_buf_fini(&one);
    fl_buf_fini(&other);
}

/* A LoRA adapter for the model with random values, saved below the folder. */
static fl_params save_adapter(const char *model_dir, const char *name, bool use_rslora)
{
    static const char *const modules[] = {"q_proj", "down_proj"};
    fl_model_config config;
    fl_lora_config lora = {.r = 3, .alpha = 6};
    fl_params adapter;
    OK(fl_model_config_load(&config, model_dir));
    OK(fl_lora_set_targets(&lora, &config, modules, 2));
    OK(fl_lora_create(&adapter, &lora, &config, 1));
    fl_rng rng = fl_rng_make(9, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (size_t i = 0; i < adapter.count; i++)
        adapter.data[i] = fl_rng_uniform(&rng) - 0.5f;
    fl_adapter_info info = {.lora_r = 3,
                            .lora_alpha = 6,
                            .use_rslora = use_rslora,
                            .target_modules = modules,
                            .num_target_modules = 2};
    OK(fl_adapter_save(at(name), &adapter, &info));
    return adapter;
}

/* W + scale B A of one element, in double precision. */
static double merged_value(const fl_params *adapter, const char *name, double w, int64_t row,
                           int64_t col, double scale)
{
    char a_name[256], b_name[256];
    int stem = (int)(strlen(name) - strlen(".weight"));
    snprintf(a_name, sizeof a_name, "base_model.model.%.*s.lora_A.weight", stem, name);
    snprintf(b_name, sizeof b_name, "base_model.model.%.*s.lora_B.weight", stem, name);
    const fl_param *a = fl_params_find(adapter, a_name), *b = fl_params_find(adapter, b_name);
    if (!a) return w;
    double sum = 0;
    for (int64_t k = 0; k < a->dim[0]; k++)
        sum += (double)adapter->data[b->offset + (size_t)(row * a->dim[0] + k)] *
               (double)adapter->data[a->offset + (size_t)(k * a->dim[1] + col)];
    return w + scale * sum;
}

/* Every tensor of a shard against its formula; `ulp` is half of the last place of its type. */
static void expect_shard(const char *from, const char *to, fl_dtype dtype, double ulp,
                         const fl_params *adapter, double scale)
{
    fl_safetensors *old, *new;
    OK(fl_safetensors_open(&old, from));
    OK(fl_safetensors_open(&new, to));
    assert_int_equal(fl_safetensors_count(old), fl_safetensors_count(new));
    for (size_t i = 0; i < fl_safetensors_count(old); i++) {
        const fl_tensor *was = fl_safetensors_at(old, i), *is = fl_safetensors_at(new, i);
        assert_string_equal(was->name, is->name);
        assert_int_equal(is->dtype, dtype);
        assert_int_equal(fl_tensor_count(was), fl_tensor_count(is));
        int64_t cols = was->ndim == 2 ? was->dim[1] : was->dim[0];
        static float w[100000], got[100000];
        fl_to_f32(w, was->data, was->dtype, (size_t)fl_tensor_count(was));
        fl_to_f32(got, is->data, is->dtype, (size_t)fl_tensor_count(is));
        for (int64_t j = 0; j < fl_tensor_count(was); j++) {
            double want = (double)w[j];
            if (adapter) want = merged_value(adapter, was->name, want, j / cols, j % cols, scale);
            assert_true(fabs((double)got[j] - want) <= fabs(want) * ulp + 1e-6);
        }
    }
    fl_safetensors_close(old);
    fl_safetensors_close(new);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void merges_into_the_same_shards(void **state)
{
    (void)state;
    fl_merge_result result;
    fl_params adapter = save_adapter(sharded_dir, "adapter", false);
    fl_merge_job job = {.model = sharded_dir, .adapter = at("adapter"), .out = at("new/deep")};
    OK(fl_merge(&job, &result));
    assert_int_equal(result.num_merged, 4);
    assert_int_equal(result.num_files, 6);
    for (int i = 0; i < 3; i++) {
        char from[512], to[512];
        snprintf(from, sizeof from, "%s/%s", sharded_dir, shards[i]);
        snprintf(to, sizeof to, "%s/%s", job.out, shards[i]);
        expect_shard(from, to, FL_BF16, 0x1p-8, &adapter, 2.0);
    }
    expect_same_file(DATA "model_sharded/config.json", at("new/deep/config.json"));
    expect_same_file(DATA "model_sharded/model.safetensors.index.json",
                     at("new/deep/model.safetensors.index.json"));
    fl_model *model;
    OK(fl_model_open(&model, job.out, fl_backend_find("cpu"), 0));
    fl_model_close(model);
    fl_params_fini(&adapter);
}

static void scales_as_rslora_says(void **state)
{
    (void)state;
    fl_merge_result result;
    fl_params adapter = save_adapter(DATA "model", "adapter", true);
    fl_merge_job job = {.model = DATA "model", .adapter = at("adapter"), .out = at("out")};
    OK(fl_merge(&job, &result));
    expect_shard(DATA "model/model.safetensors", at("out/model.safetensors"), FL_F32, 1e-6,
                 &adapter, 6 / sqrt(3));
    fl_params_fini(&adapter);
}

static void changes_the_element_type(void **state)
{
    (void)state;
    fl_merge_result result;
    fl_merge_job job = {
        .model = sharded_dir, .out = at("wide"), .changes_dtype = true, .dtype = FL_F32};
    OK(fl_merge(&job, &result));
    assert_int_equal(result.num_merged, 0);
    job = (fl_merge_job){
        .model = at("wide"), .out = at("half"), .changes_dtype = true, .dtype = FL_F16};
    OK(fl_merge(&job, &result));
    for (int i = 0; i < 3; i++) {
        char from[512], wide[64], half[64];
        snprintf(from, sizeof from, "%s/%s", sharded_dir, shards[i]);
        snprintf(wide, sizeof wide, "wide/%s", shards[i]);
        snprintf(half, sizeof half, "half/%s", shards[i]);
        expect_shard(from, at(wide), FL_F32, 0, NULL, 0);
        expect_shard(from, at(half), FL_F16, 0x1p-11, NULL, 0);
    }
    fl_buf text = {0};
    OK(fl_file_read(&text, at("half/config.json"), 0));
    assert_non_null(strstr(text.data, "\"dtype\": \"float16\""));
    assert_non_null(strstr(text.data, "\"rms_norm_eps\": 1e-6"));
    fl_buf_clear(&text);
    OK(fl_file_read(&text, at("half/model.safetensors.index.json"), 0));
    char total[64];
    snprintf(total, sizeof total, "\"total_size\": %lld", (long long)result.weight_bytes);
    assert_non_null(strstr(text.data, total));
    fl_buf_fini(&text);
    /* bf16 -> fp32 -> bf16 gives the bytes back */
    job = (fl_merge_job){
        .model = at("wide"), .out = at("again"), .changes_dtype = true, .dtype = FL_BF16};
    OK(fl_merge(&job, &result));
    expect_same_file(at("again/model-00002-of-00003.safetensors"),
                     DATA "model_sharded/model-00002-of-00003.safetensors");
}

static void copies_what_belongs_to_the_model(void **state)
{
    (void)state;
    fl_merge_result result;
    char command[256];
    snprintf(command, sizeof command, "cp -r '%s' '%s/base'", DATA "model", folder);
    assert_int_equal(system(command), 0);
    write_text(at("base/tokenizer.json"), "{}");
    write_text(at("base/empty.txt"), "");
    write_text(at("base/pytorch_model.bin"), "old weights");
    write_text(at("base/.hidden"), "x");
    OK(fl_make_dirs(at("base/checkpoints")));
    OK(fl_make_dirs(at("out"))); /* there and empty is fine */
    fl_merge_job job = {.model = at("base"), .out = at("out")};
    OK(fl_merge(&job, &result));
    assert_int_equal(result.num_left_out, 2);
    assert_true(fl_path_exists(at("out/tokenizer.json")));
    assert_true(fl_path_exists(at("out/empty.txt")));
    assert_false(fl_path_exists(at("out/pytorch_model.bin")));
    assert_false(fl_path_exists(at("out/.hidden")));
    assert_false(fl_path_exists(at("out/checkpoints")));
    expect_same_file(at("out/config.json"), at("base/config.json"));
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    fl_merge_result result;
    fl_params adapter = save_adapter(sharded_dir, "adapter", false);
    fl_merge_job job = {.model = DATA "model", .adapter = at("adapter"), .out = at("out")};
    FAILS(fl_merge(&job, &result), FL_ERR_INPUT, "the adapter is made for [32, 56]");
    job.adapter = at("nowhere");
    FAILS(fl_merge(&job, &result), FL_ERR_IO, "nowhere");
    job.adapter = at("adapter");
    job.model = at("nowhere");
    FAILS(fl_merge(&job, &result), FL_ERR_IO, "there is no such model folder");
    job.model = at("adapter");
    FAILS(fl_merge(&job, &result), FL_ERR_IO, "neither model.safetensors");
    job.model = sharded_dir;
    job.out = sharded_dir;
    FAILS(fl_merge(&job, &result), FL_ERR_USAGE, "not an empty folder");
    job.out = at("adapter/adapter_config.json");
    FAILS(fl_merge(&job, &result), FL_ERR_USAGE, "not an empty folder");

    /* a pair without its B; a tensor that nobody knows; one for a layer that is not there */
    const fl_param *a = &adapter.params[0], *b = &adapter.params[1];
    const fl_tensor views[] = {
        {.name = a->name, .ndim = 2, .dim = {a->dim[0], a->dim[1]}, .data = adapter.data},
        {.name = "base_model.model.x.bias", .ndim = 1, .dim = {1}, .data = adapter.data},
        {.name = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight",
         .ndim = 2,
         .dim = {a->dim[0], a->dim[1]},
         .data = adapter.data},
        {.name = "base_model.model.model.layers.7.self_attn.q_proj.lora_B.weight",
         .ndim = 2,
         .dim = {b->dim[0], b->dim[1]},
         .data = adapter.data},
    };
    job.out = at("out");
    const char *file = at("adapter/adapter_model.safetensors");
    OK(fl_safetensors_write(file, views, 1));
    FAILS(fl_merge(&job, &result), FL_ERR_INPUT, "has no lora_B");
    OK(fl_safetensors_write(file, views + 1, 1));
    FAILS(fl_merge(&job, &result), FL_ERR_UNSUPPORTED, "neither lora_A nor lora_B");
    OK(fl_safetensors_write(file, views + 3, 1));
    FAILS(fl_merge(&job, &result), FL_ERR_INPUT, "pairs of lora_A and lora_B");
    OK(fl_safetensors_write(file, views + 2, 2));
    FAILS(fl_merge(&job, &result), FL_ERR_INPUT,
          "no tensor model.layers.7.self_attn.q_proj.weight");
    assert_false(fl_path_exists(at("out")));
    fl_params_fini(&adapter);
}

static void a_failed_merge_leaves_nothing(void **state)
{
    (void)state;
    fl_merge_result result;
    OK(fl_make_dirs(at("base")));
    write_text(at("base/config.json"), "{}");
    const float values[] = {1, -70000, 2};
    const fl_tensor tensor = {.name = "a.b", .ndim = 1, .dim = {3}, .data = values};
    OK(fl_safetensors_write(at("base/model.safetensors"), &tensor, 1));
    fl_merge_job job = {
        .model = at("base"), .out = at("out"), .changes_dtype = true, .dtype = FL_F16};
    FAILS(fl_merge(&job, &result), FL_ERR_INPUT, "tensor a.b: a value is NaN, infinite or too");
    assert_false(fl_path_exists(at("out")));
    job.check_only = true; /* does not look at values */
    OK(fl_merge(&job, &result));
    assert_false(fl_path_exists(at("out")));

    /* a full disk: a limit on the size of files */
    struct rlimit old, now;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    now = old;
    now.rlim_cur = 20000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    OK(fl_make_dirs(at("kept")));
    job = (fl_merge_job){.model = DATA "model", .out = at("kept")};
    fl_status status = fl_merge(&job, &result);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, FL_ERR_IO);
    assert_true(fl_path_exists(at("kept")) && fl_path_is_empty(at("kept")));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    const struct CMUnitTest tests[] = {
        CASE(merges_into_the_same_shards), CASE(scales_as_rslora_says),
        CASE(changes_the_element_type),    CASE(copies_what_belongs_to_the_model),
        CASE(refuses_what_does_not_fit),   CASE(a_failed_merge_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
