#include "base/file.h"
#include "io/adapter.h"
#include "io/safetensors.h"
#include "unit/io/io_test.h"

#include <math.h>
#include <string.h>

/* What PEFT 0.21.2 writes for
 * LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, bias="none", task_type="CAUSAL_LM",
 * target_modules=["q_proj", "v_proj"]) on a base model loaded from /models/base. */
static const char peft_config[] = "{\n"
                                  "  \"alora_invocation_tokens\": null,\n"
                                  "  \"alpha_pattern\": {},\n"
                                  "  \"arrow_config\": null,\n"
                                  "  \"auto_mapping\": null,\n"
                                  "  \"base_model_name_or_path\": \"/models/base\",\n"
                                  "  \"bias\": \"none\",\n"
                                  "  \"corda_config\": null,\n"
                                  "  \"ensure_weight_tying\": false,\n"
                                  "  \"eva_config\": null,\n"
                                  "  \"exclude_modules\": null,\n"
                                  "  \"fan_in_fan_out\": false,\n"
                                  "  \"inference_mode\": true,\n"
                                  "  \"init_lora_weights\": true,\n"
                                  "  \"kasa_config\": null,\n"
                                  "  \"layer_replication\": null,\n"
                                  "  \"layers_pattern\": null,\n"
                                  "  \"layers_to_transform\": null,\n"
                                  "  \"loftq_config\": {},\n"
                                  "  \"lora_alpha\": 16,\n"
                                  "  \"lora_bias\": false,\n"
                                  "  \"lora_dropout\": 0.05,\n"
                                  "  \"lora_ga_config\": null,\n"
                                  "  \"megatron_config\": null,\n"
                                  "  \"megatron_core\": \"megatron.core\",\n"
                                  "  \"modules_to_save\": null,\n"
                                  "  \"monteclora_config\": null,\n"
                                  "  \"peft_type\": \"LORA\",\n"
                                  "  \"peft_version\": \"0.21.2\",\n"
                                  "  \"qalora_group_size\": 16,\n"
                                  "  \"r\": 8,\n"
                                  "  \"rank_pattern\": {},\n"
                                  "  \"revision\": null,\n"
                                  "  \"target_modules\": [\n"
                                  "    \"q_proj\",\n"
                                  "    \"v_proj\"\n"
                                  "  ],\n"
                                  "  \"target_parameters\": null,\n"
                                  "  \"task_type\": \"CAUSAL_LM\",\n"
                                  "  \"trainable_token_indices\": null,\n"
                                  "  \"use_bdlora\": null,\n"
                                  "  \"use_dora\": false,\n"
                                  "  \"use_qalora\": false,\n"
                                  "  \"use_rslora\": false,\n"
                                  "  \"velora_config\": null\n"
                                  "}";

static const char *const modules[] = {"v_proj", "q_proj"}; /* any order */
static const fl_adapter_info info = {.lora_r = 8,
                                     .lora_alpha = 16,
                                     .lora_dropout = 0.05,
                                     .base_model = "/models/base",
                                     .target_modules = modules,
                                     .num_target_modules = 2};

static void writes_the_config_as_peft(void **state)
{
    (void)state;
    fl_params params;
    make_params(&params, 1);
    assert_ok(fl_adapter_save(temp_path("peft/new/folder"), &params, &info));
    fl_buf text = {0};
    read_whole(&text, temp_path("peft/new/folder/adapter_config.json"));
    assert_string_equal(fl_buf_text(&text), peft_config);
    fl_buf_fini(&text);
    fl_params_fini(&params);
}

static void comes_back(void **state)
{
    (void)state;
    const char *dir = temp_path("back");
    fl_params saved, loaded;
    make_params(&saved, 1);
    make_params(&loaded, 70);
    assert_ok(fl_adapter_save(dir, &saved, &info));
    assert_ok(fl_adapter_load(dir, &loaded));
    assert_memory_equal(loaded.data, saved.data, saved.count * sizeof(float));
    fl_adapter_info read;
    assert_ok(fl_adapter_read_info(&read, dir));
    assert_int_equal(read.lora_r, 8);
    assert_true(read.lora_alpha == 16 && read.lora_dropout == 0.05 && !read.use_rslora);
    assert_string_equal(read.base_model, "/models/base");
    assert_int_equal(read.num_target_modules, 2);
    assert_string_equal(read.target_modules[0], "q_proj");
    assert_string_equal(read.target_modules[1], "v_proj");
    fl_adapter_info_fini(&read);
    fl_params_fini(&saved);
    fl_params_fini(&loaded);
}

static void writes_the_same_bytes(void **state)
{
    (void)state;
    fl_params params;
    fl_buf first = {0}, second = {0};
    make_params(&params, 1);
    assert_ok(fl_adapter_save(temp_path("same"), &params, &info));
    read_whole(&first, temp_path("same/adapter_model.safetensors"));
    assert_ok(fl_adapter_save(temp_path("same"), &params, &info));
    read_whole(&second, temp_path("same/adapter_model.safetensors"));
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    fl_buf_fini(&first);
    fl_buf_fini(&second);
    fl_params_fini(&params);
}

/* Writes DIR/adapter_model.safetensors with the tensors of make_params and one change. */
static const char *write_changed(fl_tensor change, int index, size_t count)
{
    static const float zeros[6];
    fl_tensor tensors[4] = {{"layers.0.q_proj.lora_A.weight", FL_F32, 2, {2, 3}, zeros},
                            {"layers.0.q_proj.lora_B.weight", FL_F32, 2, {3, 2}, zeros},
                            {"bias", FL_F32, 1, {2}, zeros}};
    if (index >= 0) tensors[index] = change;
    const char *dir = temp_path("changed");
    assert_ok(fl_make_dirs(dir));
    assert_ok(fl_safetensors_write(temp_path("changed/adapter_model.safetensors"), tensors, count));
    return dir;
}

static void widens_halves(void **state)
{
    (void)state;
    static const uint16_t half[] = {0x3c00, 0xc000}, brain[] = {0x3f80, 0xc000};
    fl_params params;
    make_params(&params, 9);
    const float *bias = params.data + params.params[2].offset;
    assert_ok(
        fl_adapter_load(write_changed((fl_tensor){"bias", FL_F16, 1, {2}, half}, 2, 3), &params));
    assert_true(bias[0] == 1 && bias[1] == -2);
    assert_ok(
        fl_adapter_load(write_changed((fl_tensor){"bias", FL_BF16, 1, {2}, brain}, 2, 3), &params));
    assert_true(bias[0] == 1 && bias[1] == -2);
    fl_params_fini(&params);
}

static void refuses_other_tensors(void **state)
{
    (void)state;
    static const double zeros[6];
    const float bad[] = {0, NAN}, huge[] = {-INFINITY, 0};
    const struct {
        fl_tensor change;
        int index;
        size_t count;
        fl_status status;
        const char *words;
    } cases[] = {
        {{0}, -1, 2, FL_ERR_INPUT, "tensor bias: is missing"},
        {{"Bias", FL_F32, 1, {2}, zeros}, 2, 3, FL_ERR_INPUT, "tensor bias: is missing"},
        {{"more", FL_F32, 1, {2}, zeros}, 3, 4, FL_ERR_INPUT, "tensor more has no place"},
        {{"bias", FL_F32, 1, {3}, zeros}, 2, 3, FL_ERR_INPUT, "has shape [3], expected [2]"},
        {{"bias", FL_F32, 2, {2, 1}, zeros}, 2, 3, FL_ERR_INPUT, "has shape [2, 1], expected [2]"},
        {{"bias", FL_F64, 1, {2}, zeros}, 2, 3, FL_ERR_UNSUPPORTED, "dtype F64"},
        {{"bias", FL_F32, 1, {2}, bad}, 2, 3, FL_ERR_INPUT, "tensor bias: holds NaN or infinity"},
        {{"bias", FL_F32, 1, {2}, huge}, 2, 3, FL_ERR_INPUT, "holds NaN or infinity"},
    };
    fl_params params;
    make_params(&params, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *dir = write_changed(cases[i].change, cases[i].index, cases[i].count);
        assert_error(fl_adapter_load(dir, &params), cases[i].status, cases[i].words);
        assert_error(fl_adapter_load(dir, &params), cases[i].status, "adapter_model.safetensors");
    }
    assert_error(fl_adapter_load(temp_path("absent"), &params), FL_ERR_IO, "absent/adapter_model");
    fl_params_fini(&params);
}

#define CONFIG(more) \
    "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"target_modules\":[\"q\"]" more "}"

static const struct {
    const char *config;
    fl_status status;
    const char *words;
} broken[] = {
    {"", FL_ERR_INPUT, "invalid JSON"},
    {"[]", FL_ERR_INPUT, "peft_type"},
    {"{\"r\":4}", FL_ERR_INPUT, "peft_type is missing"},
    {"{\"peft_type\":\"IA3\"}", FL_ERR_UNSUPPORTED, "peft_type IA3 is not LORA"},
    {"{\"peft_type\":\"LORA\"}", FL_ERR_INPUT, "r is missing"},
    {"{\"peft_type\":\"LORA\",\"r\":0}", FL_ERR_INPUT, "r = 0 is outside"},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":\"8\"}", FL_ERR_INPUT, "lora_alpha must be"},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8}", FL_ERR_INPUT,
     "target_modules is missing"},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"target_modules\":[]}", FL_ERR_INPUT,
     "target_modules is empty"},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"target_modules\":[3]}", FL_ERR_INPUT,
     "target_modules[0] is not a string"},
    {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"target_modules\":\".*_proj\"}",
     FL_ERR_UNSUPPORTED, "target_modules is a pattern"},
    {CONFIG(",\"use_dora\":true"), FL_ERR_UNSUPPORTED, "use_dora"},
    {CONFIG(",\"bias\":\"all\""), FL_ERR_UNSUPPORTED, "bias"},
    {CONFIG(",\"fan_in_fan_out\":true"), FL_ERR_UNSUPPORTED, "fan_in_fan_out"},
    {CONFIG(",\"rank_pattern\":{\"q\":2.5}"), FL_ERR_INPUT, "rank_pattern: q has no usable number"},
    {CONFIG(",\"rank_pattern\":{\"q\":0}"), FL_ERR_INPUT, "rank_pattern: q has no usable number"},
    {CONFIG(",\"rank_pattern\":[1]"), FL_ERR_INPUT, "rank_pattern is not an object"},
    {CONFIG(",\"rank_pattern\":{\"(?!k)q\":2}"), FL_ERR_UNSUPPORTED, "(?!k)q"},
    {CONFIG(",\"alpha_pattern\":{\"layers.\\\\d.q\":2}"), FL_ERR_UNSUPPORTED, "layers"},
    {CONFIG(",\"alpha_pattern\":{\"(q\":2}"), FL_ERR_UNSUPPORTED, "is not a regular expression"},
    {CONFIG(",\"rank_pattern\":{\"(*ACCEPT)\":2}"), FL_ERR_UNSUPPORTED, "(*ACCEPT)"},
    {CONFIG(",\"rank_pattern\":{\"a{,5}\":2}"), FL_ERR_UNSUPPORTED, "as Python reads it"},
    {CONFIG(",\"rank_pattern\":{\"(((a{1,255}){255}){255})\":2}"), FL_ERR_UNSUPPORTED,
     "too large a one"},
    {CONFIG(",\"rank_pattern\":{\"a{99999999999999999999}\":2}"), FL_ERR_UNSUPPORTED,
     "too large a one"},
    {CONFIG(",\"alpha_pattern\":{\"q\":\"2\"}"), FL_ERR_INPUT, "alpha_pattern: q has no usable"},
    {CONFIG(",\"modules_to_save\":[\"lm_head\"]"), FL_ERR_UNSUPPORTED, "modules_to_save"},
    {CONFIG(",\"init_lora_weights\":\"pissa\""), FL_ERR_UNSUPPORTED, "init_lora_weights"},
    {CONFIG(",\"use_rslora\":1"), FL_ERR_INPUT, "use_rslora must be true or false"},
};

static void refuses_other_configs(void **state)
{
    (void)state;
    assert_ok(fl_make_dirs(temp_path("config")));
    fl_adapter_info read;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_text(temp_path("config/adapter_config.json"), broken[i].config);
        assert_error(fl_adapter_read_info(&read, temp_path("config")), broken[i].status,
                     broken[i].words);
        assert_error(fl_adapter_read_info(&read, temp_path("config")), broken[i].status,
                     "config/adapter_config.json");
    }
    assert_error(fl_adapter_read_info(&read, temp_path("absent")), FL_ERR_IO,
                 "adapter_config.json");
}

/* Neither many brackets nor many ways to match take the program down. */
static void deep_patterns_are_refused(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    static char deep[2 * DEPTH + 2];
    memset(deep, '(', DEPTH);
    deep[DEPTH] = 'a';
    memset(deep + DEPTH + 1, ')', DEPTH);
    assert_error(fl_pattern_check(deep), FL_ERR_UNSUPPORTED, "longer than an expression");
    assert_ok(fl_pattern_check("layers\\.([0-9]|1[0-9]{1,2})\\.[a-z_]+\\..+_proj"));
    bool matches;
    static const char ways[] = "(x+x+)+[yz]",
                      path[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    assert_error(fl_pattern_matches(&matches, ways, false, path), FL_ERR_UNSUPPORTED, "too long");
    assert_ok(fl_pattern_matches(&matches, "q|b.q", true, "a.b.q"));
    assert_true(matches);
    assert_ok(fl_pattern_matches(&matches, "q|b.q", false, "a.b.q"));
    assert_false(matches);
}

/* The order decides, so it has to survive writing and reading. */
static void patterns_come_back_in_order(void **state)
{
    (void)state;
    static const fl_pattern ranks[] = {{"layers\\.1\\.q", 4}, {"q|b", 6}, {"a.*", 3}};
    static const fl_pattern alphas[] = {{"q", 0.5}};
    static const struct {
        const char *path;
        int64_t r;
        double scale;
    } cases[] = {
        {"layers.1.q", 4, 0.125},
        {"model.layers.1.q", 4, 0.125},
        {"model.layers.11.q", 6, 0.5 / 6},
        {"q", 6, 0.5 / 6},
        {"b", 6, 16.0 / 6},
        {"xb", 8, 2},
        {"model.layers.1.ab", 3, 16.0 / 3},
        {"model.b.c", 8, 2},
    };
    fl_adapter_info with = info, read;
    with.rank_pattern = (fl_patterns){ranks, 3};
    with.alpha_pattern = (fl_patterns){alphas, 1};
    assert_ok(fl_make_dirs(temp_path("patterns")));
    assert_ok(fl_adapter_write_info(temp_path("patterns"), &with));
    assert_ok(fl_adapter_read_info(&read, temp_path("patterns")));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t r;
        double scale;
        assert_ok(fl_adapter_module(&read, cases[i].path, &r, &scale));
        assert_int_equal(r, cases[i].r);
        assert_true(scale == cases[i].scale);
    }
    fl_adapter_info_fini(&read);
}

/* Older and newer PEFT: fewer keys, unknown keys, the same in other words. */
static void reads_configs_of_other_versions(void **state)
{
    (void)state;
    assert_ok(fl_make_dirs(temp_path("old")));
    write_text(temp_path("old/adapter_config.json"),
               CONFIG(",\"lora_dropout\":0.1,\"use_rslora\":true,\"modules_to_save\":[],"
                      "\"init_lora_weights\":\"gaussian\",\"layers_to_transform\":[0],"
                      "\"some_later_key\":5,\"base_model_name_or_path\":null"));
    fl_adapter_info read;
    assert_ok(fl_adapter_read_info(&read, temp_path("old")));
    assert_true(read.use_rslora && read.lora_dropout == 0.1 && read.lora_alpha == 8);
    assert_null(read.base_model);
    fl_adapter_info_fini(&read);
}

static void a_full_disk_changes_nothing(void **state)
{
    (void)state;
    fl_params params, loaded;
    make_params(&params, 1);
    make_params(&loaded, 0);
    const char *dir = temp_path("full");
    assert_ok(fl_adapter_save(dir, &params, &info));
    params.data[0] = 77;
    limit_file_size(100);
    fl_status status = fl_adapter_save(dir, &params, &info);
    limit_file_size(0);
    assert_error(status, FL_ERR_IO, "full/adapter_model.safetensors");
    assert_ok(fl_adapter_load(dir, &loaded));
    assert_true(loaded.data[0] == 1);
    fl_params_fini(&params);
    fl_params_fini(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_config_as_peft),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(writes_the_same_bytes),
        cmocka_unit_test(widens_halves),
        cmocka_unit_test(refuses_other_tensors),
        cmocka_unit_test(refuses_other_configs),
        cmocka_unit_test(deep_patterns_are_refused),
        cmocka_unit_test(patterns_come_back_in_order),
        cmocka_unit_test(reads_configs_of_other_versions),
        cmocka_unit_test(a_full_disk_changes_nothing),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
