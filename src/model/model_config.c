#include "model/model_config.h"

#include "base/file.h"
#include "model/rope_config.h"

#include <math.h>
#include <string.h>

static fl_status known_families(fl_buf *out)
{
    for (size_t i = 0; i < fl_num_families; i++)
        FL_TRY(fl_buf_addf(out, "%s%s", i ? ", " : "", fl_families[i].architecture));
    return FL_OK;
}

static fl_status find_family(fl_model_config *config, const json_t *root, const char *path)
{
    json_t *list;
    FL_TRY(fl_json_get_array_or(&list, root, "architectures", path));
    const char *name = list ? json_string_value(json_array_get(list, 0)) : NULL;
    const char *type;
    FL_TRY(fl_json_get_string_or(&type, root, "model_type", "", path));
    config->family = fl_family_find(name, type);
    if (config->family) return FL_OK;
    fl_buf known = {0};
    fl_status status = known_families(&known);
    if (status == FL_OK)
        status = fl_fail(FL_ERR_UNSUPPORTED, "%s: architecture \"%s\" is not supported; known: %s",
                         path, name ? name : type, fl_buf_text(&known));
    fl_buf_fini(&known);
    return status;
}

/* Variants that this decoder does not compute must not pass silently.  Gemma's first files say
 * "gelu" and mean its tanh form, as Transformers reads them. */
static fl_status check_activation(const fl_family *family, const json_t *root, const char *path)
{
    static const char *const names[] = {[FL_SILU] = "silu", [FL_GELU_TANH] = "gelu_pytorch_tanh"};
    const char *expected = names[family->activation], *given;
    FL_TRY(fl_json_get_string_or(&given, root, family->activation_key, expected, path));
    bool legacy = family->activation == FL_GELU_TANH && strcmp(given, "gelu") == 0;
    FL_CHECK(strcmp(given, expected) == 0 || legacy, FL_ERR_UNSUPPORTED,
             "%s: %s \"%s\" is not supported; known: %s", path, family->activation_key, given,
             expected);
    return FL_OK;
}

static fl_status check_variant(const fl_family *family, const json_t *root, const char *path)
{
    FL_TRY(check_activation(family, root, path));
    double dropout;
    FL_TRY(fl_json_get_number_or(&dropout, root, "resid_pdrop", 0, path));
    FL_CHECK(dropout == 0, FL_ERR_UNSUPPORTED, "%s: resid_pdrop = %g is not supported; known: 0",
             path, dropout);
    bool both_ways;
    FL_TRY(fl_json_get_bool_or(&both_ways, root, "use_bidirectional_attention", false, path));
    FL_CHECK(!both_ways, FL_ERR_UNSUPPORTED, "%s: use_bidirectional_attention is not supported",
             path);
    return FL_OK;
}

/* Checkpoints that bitsandbytes wrote; the bytes themselves are checked when they are loaded. */
static fl_status load_quantisation(fl_model_config *c, const json_t *root, const char *path)
{
    json_t *object;
    const char *method, *type;
    bool four, eight;
    FL_TRY(fl_json_get_object_or(&object, root, "quantization_config", path));
    if (!object) return FL_OK;
    FL_TRY(fl_json_get_string_or(&method, object, "quant_method", "", path));
    FL_TRY(fl_json_get_string_or(&type, object, "bnb_4bit_quant_type", "fp4", path));
    FL_TRY(fl_json_get_bool_or(&four, object, "load_in_4bit", false, path));
    FL_TRY(fl_json_get_bool_or(&eight, object, "load_in_8bit", false, path));
    bool nf4 = four && !eight && strcmp(type, "nf4") == 0;
    FL_CHECK(strcmp(method, "bitsandbytes") == 0 && (nf4 || (eight && !four)), FL_ERR_UNSUPPORTED,
             "%s: this quantization_config (%s) is not supported; known: bitsandbytes with NF4 or "
             "int8",
             path, method[0] ? method : "no quant_method");
    c->stored = nf4 ? FL_NF4 : FL_INT8;
    return FL_OK;
}

static fl_status load_biases(fl_model_config *c, const json_t *root, const char *path)
{
    bool attention = c->family->bias == FL_BIAS_QKV, mlp = false, output = false;
    if (c->family->bias == FL_BIAS_BY_KEY) {
        FL_TRY(fl_json_get_bool_or(&attention, root, "attention_bias", false, path));
        FL_TRY(fl_json_get_bool_or(&mlp, root, "mlp_bias", false, path));
        output = attention;
    }
    for (int m = 0; m < FL_NUM_MODULES; m++)
        c->bias[m] = m < FL_O_PROJ ? attention : m == FL_O_PROJ ? output : mlp;
    return FL_OK;
}

enum { MAX_SIZE = 1 << 24, MAX_HEADS = 4096 };

static fl_status load_sizes(fl_model_config *c, const json_t *root, const char *path)
{
    const struct {
        const char *key;
        int64_t *out, maximum;
    } rows[] = {
        {"vocab_size", &c->vocab_size, MAX_SIZE},
        {"hidden_size", &c->hidden_size, MAX_SIZE},
        {"intermediate_size", &c->intermediate_size, MAX_SIZE},
        {"num_hidden_layers", &c->num_layers, FL_MAX_LAYERS},
        {"num_attention_heads", &c->num_heads, MAX_HEADS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        FL_TRY(fl_json_get_int(rows[i].out, root, rows[i].key, 1, rows[i].maximum, path));
    int64_t usual = c->family->default_head_dim;
    if (!usual) usual = c->hidden_size / c->num_heads;
    FL_TRY(fl_json_get_int_or(&c->num_kv_heads, root, "num_key_value_heads", 1, MAX_HEADS,
                              c->num_heads, path));
    FL_TRY(fl_json_get_int_or(&c->head_dim, root, "head_dim", 1, 4096, usual, path));
    FL_TRY(fl_json_get_int_or(&c->max_positions, root, "max_position_embeddings", 1,
                              (int64_t)1 << 30, 2048, path));
    FL_CHECK(c->num_heads % c->num_kv_heads == 0, FL_ERR_INPUT,
             "%s: num_attention_heads %lld is not a multiple of num_key_value_heads %lld", path,
             (long long)c->num_heads, (long long)c->num_kv_heads);
    FL_CHECK(c->head_dim >= 2 && c->head_dim % 2 == 0, FL_ERR_INPUT,
             "%s: the head size %lld is not an even number", path, (long long)c->head_dim);
    return FL_OK;
}

/* The list that newer files have; without it the family's rule. */
static fl_status load_layer_types(fl_model_config *c, json_t *list, const char *path)
{
    FL_CHECK(json_array_size(list) == (size_t)c->num_layers, FL_ERR_INPUT,
             "%s: layer_types has %zu entries for %lld layers", path, json_array_size(list),
             (long long)c->num_layers);
    for (int64_t l = 0; l < c->num_layers; l++) {
        const char *type = json_string_value(json_array_get(list, (size_t)l));
        c->slides[l] = type && strcmp(type, "sliding_attention") == 0;
        FL_CHECK(c->slides[l] || (type && strcmp(type, "full_attention") == 0), FL_ERR_UNSUPPORTED,
                 "%s: layer type \"%s\" is not supported; known: full_attention, sliding_attention",
                 path, type ? type : "");
    }
    return FL_OK;
}

static fl_status load_window(fl_model_config *c, const json_t *root, const char *path)
{
    const fl_family *family = c->family;
    bool said = json_object_get(root, "sliding_window") != NULL, used = true;
    int64_t upper = 0;
    json_t *types;
    FL_TRY(fl_json_get_int_or(&c->window, root, "sliding_window", 1, (int64_t)1 << 30,
                              said ? 0 : family->default_window, path));
    if (family->window == FL_WINDOW_UPPER) {
        FL_TRY(fl_json_get_bool_or(&used, root, "use_sliding_window", false, path));
        FL_TRY(fl_json_get_int_or(&upper, root, "max_window_layers", 0, 1 << 20, 28, path));
    }
    if (!used || family->window == FL_WINDOW_NEVER) c->window = 0;
    for (int64_t l = 0; l < c->num_layers; l++)
        c->slides[l] = family->window == FL_WINDOW_EVEN ? l % 2 == 0 : l >= upper;
    FL_TRY(fl_json_get_array_or(&types, root, "layer_types", path));
    return types && family->window != FL_WINDOW_ALL ? load_layer_types(c, types, path) : FL_OK;
}

int64_t fl_model_window(const fl_model_config *config, int64_t layer)
{
    return config->slides[layer] ? config->window : 0;
}

/* A positive number; null means none. */
static fl_status load_cap(float *out, const json_t *root, const char *key, double fallback,
                          const char *path)
{
    double value;
    if (json_object_get(root, key)) fallback = 0;
    FL_TRY(fl_json_get_number_or(&value, root, key, fallback, path));
    FL_CHECK(value >= 0 && value <= 1e9, FL_ERR_INPUT, "%s: %s is outside [0, 1e9]", path, key);
    *out = (float)value;
    return FL_OK;
}

static fl_status load_scales(fl_model_config *c, const json_t *root, const char *path)
{
    double divisor = (double)c->head_dim, eps;
    FL_TRY(fl_json_get_number_or(&eps, root, "rms_norm_eps", 1e-6, path));
    FL_CHECK(eps >= 0 && eps < 1, FL_ERR_INPUT, "%s: rms_norm_eps is outside [0, 1)", path);
    c->rms_norm_eps = (float)eps;
    c->attn_scale = 1.0f / sqrtf((float)c->head_dim);
    c->embedding_scale = c->family->scale_embedding ? (float)sqrt((double)c->hidden_size) : 1.0f;
    if (!c->family->softcaps) return FL_OK;
    FL_TRY(fl_json_get_number_or(&divisor, root, "query_pre_attn_scalar", 256, path));
    FL_CHECK(divisor >= 1e-6 && divisor <= 1e9, FL_ERR_INPUT,
             "%s: query_pre_attn_scalar is outside [1e-6, 1e9]", path);
    c->attn_scale = (float)(1.0 / sqrt(divisor));
    FL_TRY(load_cap(&c->attn_softcap, root, "attn_logit_softcapping", 50, path));
    return load_cap(&c->final_softcap, root, "final_logit_softcapping", 30, path);
}

static fl_status load(fl_model_config *out, const json_t *root, const char *path)
{
    FL_TRY(find_family(out, root, path));
    FL_TRY(check_variant(out->family, root, path));
    FL_TRY(load_quantisation(out, root, path));
    FL_TRY(load_sizes(out, root, path));
    FL_TRY(fl_rope_config_load(out, root, path));
    FL_TRY(load_biases(out, root, path));
    FL_TRY(load_window(out, root, path));
    FL_TRY(load_scales(out, root, path));
    return fl_json_get_bool_or(&out->tied_head, root, "tie_word_embeddings", out->family->tied_head,
                               path);
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
