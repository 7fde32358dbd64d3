/* adapter_config.json, the second half of adapter.h.
 *
 * Readers differ in which keys they insist on, so all keys of PEFT are written, in PEFT's order
 * and layout: the file is equal to PEFT's byte for byte. */
#include "io/adapter.h"

#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char config_name[] = "adapter_config.json";

/* What PEFT 0.21.2 writes for a LoraConfig that sets nothing.  Saving fills in the adapter's own
 * values; loading refuses other values than these (see `free_keys`). */
static const char defaults[] =
    "{\"alora_invocation_tokens\": null, \"alpha_pattern\": {}, \"arrow_config\": null,"
    " \"auto_mapping\": null, \"base_model_name_or_path\": null, \"bias\": \"none\","
    " \"corda_config\": null, \"ensure_weight_tying\": false, \"eva_config\": null,"
    " \"exclude_modules\": null, \"fan_in_fan_out\": false, \"inference_mode\": true,"
    " \"init_lora_weights\": true, \"kasa_config\": null, \"layer_replication\": null,"
    " \"layers_pattern\": null, \"layers_to_transform\": null, \"loftq_config\": {},"
    " \"lora_alpha\": 8, \"lora_bias\": false, \"lora_dropout\": 0.0, \"lora_ga_config\": null,"
    " \"megatron_config\": null, \"megatron_core\": \"megatron.core\","
    " \"modules_to_save\": null, \"monteclora_config\": null, \"peft_type\": \"LORA\","
    " \"peft_version\": \"0.21.2\", \"qalora_group_size\": 16, \"r\": 8, \"rank_pattern\": {},"
    " \"revision\": null, \"target_modules\": null, \"target_parameters\": null,"
    " \"task_type\": \"CAUSAL_LM\", \"trainable_token_indices\": null, \"use_bdlora\": null,"
    " \"use_dora\": false, \"use_qalora\": false, \"use_rslora\": false,"
    " \"velora_config\": null}";

/* Keys of `defaults` that are read into fl_adapter_info, or that do not change what an adapter
 * computes once it is trained. */
static const char *const free_keys[] = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* PEFT keeps a set; sorted, the bytes do not depend on the order of the config file. */
static fl_status make_module_list(json_t **out, const fl_adapter_info *info)
{
    const char **names;
    FL_TRY(fl_alloc(&names, info->num_target_modules, sizeof *names));
    for (size_t i = 0; i < info->num_target_modules; i++)
        names[i] = info->target_modules[i];
    qsort(names, info->num_target_modules, sizeof *names, compare_texts);
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < info->num_target_modules; i++)
        ok = ok && json_array_append_new(list, json_string(names[i])) == 0;
    fl_free(names);
    if (!ok) json_decref(list);
    FL_CHECK(ok, FL_ERR_INTERNAL, "target_modules cannot be written as JSON");
    *out = list;
    return FL_OK;
}

/* 16 as PEFT's users write it, not 16.0. */
static json_t *make_number(double value)
{
    bool is_whole = value == floor(value) && fabs(value) < 1e15;
    return is_whole ? json_integer((json_int_t)value) : json_real(value);
}

/* In the order in which they are tried, which is the order of the file. */
static json_t *make_patterns(const fl_patterns *patterns)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < patterns->count; i++)
        if (json_object_set_new(object, patterns->items[i].expression,
                                make_number(patterns->items[i].value)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static fl_status fill_config(json_t *config, const fl_adapter_info *info)
{
    json_t *modules;
    FL_TRY(make_module_list(&modules, info));
    json_t *base = info->base_model ? json_string(info->base_model) : json_null();
    bool ok = json_object_set_new(config, "target_modules", modules) == 0;
    ok &= json_object_set_new(config, "base_model_name_or_path", base) == 0;
    ok &= json_object_set_new(config, "r", json_integer(info->lora_r)) == 0;
    ok &= json_object_set_new(config, "lora_alpha", make_number(info->lora_alpha)) == 0;
    ok &= json_object_set_new(config, "lora_dropout", json_real(info->lora_dropout)) == 0;
    ok &= json_object_set_new(config, "use_rslora", json_boolean(info->use_rslora)) == 0;
    ok &= json_object_set_new(config, "rank_pattern", make_patterns(&info->rank_pattern)) == 0;
    ok &= json_object_set_new(config, "alpha_pattern", make_patterns(&info->alpha_pattern)) == 0;
    FL_CHECK(ok, FL_ERR_INTERNAL, "the adapter's config cannot be written as JSON");
    return FL_OK;
}

static int add_to_buf(const char *text, size_t length, void *buf)
{
    return fl_buf_add(buf, text, length) == FL_OK ? 0 : -1;
}

fl_status fl_adapter_write_info(const char *dir, const fl_adapter_info *info)
{
    fl_buf path = {0}, text = {0};
    /* 15 digits: 0.05 stays 0.05, as Python writes it */
    const size_t flags = JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15);
    json_t *config = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, dir, config_name), out);
    FL_TRY_GOTO(fl_json_parse(&config, defaults, strlen(defaults), path.data, 1), out);
    FL_TRY_GOTO(fill_config(config, info), out);
    FL_CHECK_GOTO(json_dump_callback(config, add_to_buf, &text, flags) == 0, out, FL_ERR_MEMORY,
                  "out of memory for %s", path.data);
    status = fl_file_write_atomic(path.data, text.data, text.length);
out:
    json_decref(config);
    fl_buf_fini(&path);
    fl_buf_fini(&text);
    return status;
}

static bool is_free_key(const char *key)
{
    for (size_t i = 0; i < sizeof free_keys / sizeof free_keys[0]; i++)
        if (strcmp(key, free_keys[i]) == 0) return true;
    return false;
}

/* null, false, {} and [] are the ways of PEFT's versions to say "not used". */
static bool is_unused(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* Schemes such as PiSSA change the base weights too, so their adapters fit no plain base. */
static bool is_plain_init(const json_t *value)
{
    static const char *const plain[] = {"gaussian", "eva", "orthogonal"};
    if (!value || json_is_boolean(value) || json_is_null(value)) return true;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0] && json_is_string(value); i++)
        if (strcmp(json_string_value(value), plain[i]) == 0) return true;
    return false;
}

/* A key that only other versions know is passed over, as PEFT itself does. */
static fl_status check_unsupported(json_t *config, const char *path)
{
    json_t *expected;
    FL_TRY(fl_json_parse(&expected, defaults, strlen(defaults), path, 1));
    fl_status status = FL_OK;
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value)
    {
        const json_t *usual = json_object_get(expected, key);
        if (!usual || is_free_key(key) || is_unused(value) || json_equal(value, usual)) continue;
        status = fl_fail(FL_ERR_UNSUPPORTED, "%s: this value of %s is not supported", path, key);
        break;
    }
    json_decref(expected);
    FL_TRY(status);
    FL_CHECK(is_plain_init(json_object_get(config, "init_lora_weights")), FL_ERR_UNSUPPORTED,
             "%s: this value of init_lora_weights is not supported", path);
    return FL_OK;
}

static fl_status copy_text(const char **out, fl_arena *arena, const char *text)
{
    char *copy;
    FL_TRY(fl_arena_text(arena, &copy, text, strlen(text)));
    *out = copy;
    return FL_OK;
}

static fl_status read_modules(fl_adapter_info *out, const json_t *config, const char *path)
{
    json_t *list;
    const json_t *value = json_object_get(config, "target_modules");
    FL_CHECK(!json_is_string(value), FL_ERR_UNSUPPORTED,
             "%s: target_modules is a pattern, a list of names is needed", path);
    FL_TRY(fl_json_get_array(&list, config, "target_modules", path));
    size_t count = json_array_size(list);
    FL_CHECK(count > 0, FL_ERR_INPUT, "%s: target_modules is empty", path);
    const char **names;
    FL_TRY(fl_arena_alloc(out->arena, &names, count, sizeof *names));
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_array_get(list, i);
        FL_CHECK(json_is_string(name), FL_ERR_INPUT, "%s: target_modules[%zu] is not a string",
                 path, i);
        FL_TRY(copy_text(&names[i], out->arena, json_string_value(name)));
    }
    out->target_modules = names;
    out->num_target_modules = count;
    return FL_OK;
}

/* null and {} are no patterns.  maximum: of the numbers, which are whole or not. */
static fl_status read_patterns(fl_patterns *out, const fl_adapter_info *info, json_t *config,
                               const char *key, double maximum, bool whole, const char *path)
{
    const json_t *object = json_object_get(config, key);
    if (!object || is_unused(object)) return FL_OK;
    FL_CHECK(json_is_object(object), FL_ERR_INPUT, "%s: %s is not an object", path, key);
    fl_pattern *items;
    FL_TRY(fl_arena_alloc(info->arena, &items, json_object_size(object), sizeof *items));
    out->items = items;
    const char *expression;
    json_t *value;
    json_object_foreach((json_t *)object, expression, value)
    {
        double number = json_number_value(value);
        FL_CHECK(number > 0 && number <= maximum && (!whole || json_is_integer(value)),
                 FL_ERR_INPUT, "%s: %s: %.80s has no usable number", path, key, expression);
        fl_status status = fl_pattern_check(expression);
        if (status != FL_OK) return fl_fail_context(status, "%s: %s", path, key);
        items[out->count].value = number;
        FL_TRY(copy_text(&items[out->count++].expression, info->arena, expression));
    }
    return FL_OK;
}

static fl_status read_info(fl_adapter_info *out, json_t *config, const char *path)
{
    const char *type, *base;
    int64_t lora_r;
    FL_TRY(fl_json_get_string(&type, config, "peft_type", path));
    FL_CHECK(strcmp(type, "LORA") == 0, FL_ERR_UNSUPPORTED, "%s: peft_type %.40s is not LORA", path,
             type);
    FL_TRY(check_unsupported(config, path));
    FL_TRY(fl_json_get_int(&lora_r, config, "r", 1, FL_MAX_LORA_R, path));
    FL_TRY(fl_json_get_number(&out->lora_alpha, config, "lora_alpha", path));
    FL_TRY(fl_json_get_number_or(&out->lora_dropout, config, "lora_dropout", 0, path));
    FL_TRY(fl_json_get_bool_or(&out->use_rslora, config, "use_rslora", false, path));
    FL_TRY(fl_json_get_string_or(&base, config, "base_model_name_or_path", NULL, path));
    out->lora_r = (int)lora_r;
    if (base) FL_TRY(copy_text(&out->base_model, out->arena, base));
    FL_TRY(
        read_patterns(&out->rank_pattern, out, config, "rank_pattern", FL_MAX_LORA_R, true, path));
    FL_TRY(read_patterns(&out->alpha_pattern, out, config, "alpha_pattern", 1e30, false, path));
    return read_modules(out, config, path);
}

fl_status fl_adapter_read_info(fl_adapter_info *out, const char *dir)
{
    fl_adapter_info info = {0};
    fl_buf path = {0};
    json_t *config = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_arena_create(&info.arena), out);
    FL_TRY_GOTO(fl_path_join(&path, dir, config_name), out);
    FL_TRY_GOTO(fl_json_load_file(&config, path.data), out);
    status = read_info(&info, config, path.data);
out:
    json_decref(config);
    fl_buf_fini(&path);
    if (status != FL_OK)
        fl_adapter_info_fini(&info);
    else
        *out = info;
    return status;
}

fl_status fl_adapter_module(const fl_adapter_info *info, const char *path, int64_t *r,
                            double *scale)
{
    const fl_pattern *rank, *alpha;
    FL_TRY(fl_patterns_find(&info->rank_pattern, path, &rank));
    FL_TRY(fl_patterns_find(&info->alpha_pattern, path, &alpha));
    *r = rank ? (int64_t)rank->value : info->lora_r;
    double divisor = info->use_rslora ? sqrt((double)*r) : (double)*r;
    *scale = (alpha ? alpha->value : info->lora_alpha) / divisor;
    return FL_OK;
}

void fl_adapter_info_fini(fl_adapter_info *info)
{
    fl_arena_destroy(info->arena);
    *info = (fl_adapter_info){0};
}
