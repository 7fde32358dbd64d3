#include "model/model_config.h"

#include "base/file.h"
#include "base/json.h"

#include <string.h>

static const char known_architectures[] = "LlamaForCausalLM";

static fl_status check_architecture(const json_t *root, const char *path)
{
    json_t *list;
    FL_TRY(fl_json_get_array_or(&list, root, "architectures", path));
    const char *name = list ? json_string_value(json_array_get(list, 0)) : NULL;
    const char *type;
    FL_TRY(fl_json_get_string_or(&type, root, "model_type", "", path));
    bool known = name ? strcmp(name, known_architectures) == 0 : strcmp(type, "llama") == 0;
    FL_CHECK(known, FL_ERR_UNSUPPORTED, "%s: architecture \"%s\" is not supported; known: %s", path,
             name ? name : type, known_architectures);
    return FL_OK;
}

/* Variants of Llama that this decoder does not compute must not pass silently. */
static fl_status check_variant(const json_t *root, const char *path)
{
    const char *activation;
    FL_TRY(fl_json_get_string_or(&activation, root, "hidden_act", "silu", path));
    FL_CHECK(strcmp(activation, "silu") == 0, FL_ERR_UNSUPPORTED,
             "%s: hidden_act \"%s\" is not supported; known: silu", path, activation);
    static const char *const biases[] = {"attention_bias", "mlp_bias"};
    for (size_t i = 0; i < 2; i++) {
        bool bias;
        FL_TRY(fl_json_get_bool_or(&bias, root, biases[i], false, path));
        FL_CHECK(!bias, FL_ERR_UNSUPPORTED, "%s: %s = true is not supported", path, biases[i]);
    }
    const json_t *quantised = json_object_get(root, "quantization_config");
    FL_CHECK(!quantised || json_is_null(quantised), FL_ERR_UNSUPPORTED,
             "%s: quantization_config is not supported: give the unquantised model", path);
    return FL_OK;
}

/* rope_theta stands on the top level, or (newer files) in rope_parameters with a rope_type. */
static fl_status load_rope(fl_model_config *out, const json_t *root, const char *path)
{
    json_t *parameters, *scaling;
    FL_TRY(fl_json_get_object_or(&parameters, root, "rope_parameters", path));
    FL_TRY(fl_json_get_object_or(&scaling, root, "rope_scaling", path));
    const json_t *holder = parameters ? parameters : root;
    FL_TRY(fl_json_get_number_or(&out->rope_theta, holder, "rope_theta", 10000.0, path));
    FL_CHECK(out->rope_theta > 0, FL_ERR_INPUT, "%s: rope_theta must be positive", path);
    const json_t *typed = scaling ? scaling : parameters;
    if (!typed) return FL_OK;
    const char *old_word, *type;
    FL_TRY(fl_json_get_string_or(&old_word, typed, "type", "default", path));
    FL_TRY(fl_json_get_string_or(&type, typed, "rope_type", old_word, path));
    FL_CHECK(strcmp(type, "default") == 0, FL_ERR_UNSUPPORTED,
             "%s: rope_scaling \"%s\" is not supported; known: default", path, type);
    return FL_OK;
}

enum { MAX_SIZE = 1 << 24, MAX_LAYERS = 1024, MAX_HEADS = 4096 };

static fl_status load_sizes(fl_model_config *c, const json_t *root, const char *path)
{
    const struct {
        const char *key;
        int64_t *out, maximum;
    } rows[] = {
        {"vocab_size", &c->vocab_size, MAX_SIZE},
        {"hidden_size", &c->hidden_size, MAX_SIZE},
        {"intermediate_size", &c->intermediate_size, MAX_SIZE},
        {"num_hidden_layers", &c->num_layers, MAX_LAYERS},
        {"num_attention_heads", &c->num_heads, MAX_HEADS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        FL_TRY(fl_json_get_int(rows[i].out, root, rows[i].key, 1, rows[i].maximum, path));
    FL_TRY(fl_json_get_int_or(&c->num_kv_heads, root, "num_key_value_heads", 1, MAX_HEADS,
                              c->num_heads, path));
    FL_TRY(fl_json_get_int_or(&c->head_dim, root, "head_dim", 1, 4096,
                              c->hidden_size / c->num_heads, path));
    FL_TRY(fl_json_get_int_or(&c->max_positions, root, "max_position_embeddings", 1,
                              (int64_t)1 << 30, 2048, path));
    FL_CHECK(c->num_heads % c->num_kv_heads == 0, FL_ERR_INPUT,
             "%s: num_attention_heads %lld is not a multiple of num_key_value_heads %lld", path,
             (long long)c->num_heads, (long long)c->num_kv_heads);
    FL_CHECK(c->head_dim >= 2 && c->head_dim % 2 == 0, FL_ERR_INPUT,
             "%s: the head size %lld is not an even number", path, (long long)c->head_dim);
    return FL_OK;
}

static fl_status load(fl_model_config *out, const json_t *root, const char *path)
{
    double eps;
    FL_TRY(check_architecture(root, path));
    FL_TRY(check_variant(root, path));
    FL_TRY(load_sizes(out, root, path));
    FL_TRY(load_rope(out, root, path));
    FL_TRY(fl_json_get_number_or(&eps, root, "rms_norm_eps", 1e-6, path));
    FL_CHECK(eps >= 0 && eps < 1, FL_ERR_INPUT, "%s: rms_norm_eps is outside [0, 1)", path);
    out->rms_norm_eps = (float)eps;
    return fl_json_get_bool_or(&out->tied_head, root, "tie_word_embeddings", false, path);
}

fl_status fl_model_config_load(fl_model_config *out, const char *dir)
{
    fl_buf path = {0};
    json_t *root = NULL;
    fl_model_config config = {0};
    fl_status status = FL_OK;
    FL_CHECK(fl_path_is_dir(dir), FL_ERR_IO,
             "%s: no such folder (model_name_or_path is a local Hugging Face model folder)", dir);
    FL_TRY_GOTO(fl_path_join(&path, dir, "config.json"), done);
    FL_TRY_GOTO(fl_json_load_file(&root, fl_buf_text(&path)), done);
    FL_TRY_GOTO(load(&config, root, fl_buf_text(&path)), done);
    *out = config;
done:
    json_decref(root);
    fl_buf_fini(&path);
    return status;
}
