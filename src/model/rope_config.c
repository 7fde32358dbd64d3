#include "model/rope_config.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    fl_rope_kind kind;
} kinds[] = {{"default", FL_ROPE_DEFAULT},
             {"linear", FL_ROPE_LINEAR},
             {"dynamic", FL_ROPE_DYNAMIC},
             {"llama3", FL_ROPE_LLAMA3}};

static fl_status find_kind(fl_rope_kind *out, const char *name, const char *path)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(name, kinds[i].name) == 0) {
            *out = kinds[i].kind;
            return FL_OK;
        }
    FL_FAIL(FL_ERR_UNSUPPORTED,
            "%s: rope_scaling \"%s\" is not supported; known: default, linear, dynamic, llama3",
            path, name);
}

static fl_status load_llama3(fl_rope_config *rope, const json_t *typed, const char *path)
{
    FL_TRY(fl_json_get_number(&rope->low_freq_factor, typed, "low_freq_factor", path));
    FL_TRY(fl_json_get_number(&rope->high_freq_factor, typed, "high_freq_factor", path));
    FL_TRY(fl_json_get_int(&rope->original_positions, typed, "original_max_position_embeddings", 1,
                           (int64_t)1 << 30, path));
    FL_CHECK(rope->low_freq_factor >= 1e-6 && rope->high_freq_factor <= 1e6, FL_ERR_INPUT,
             "%s: low_freq_factor or high_freq_factor is outside [1e-6, 1e6]", path);
    FL_CHECK((float)rope->high_freq_factor > (float)rope->low_freq_factor, FL_ERR_INPUT,
             "%s: low_freq_factor and high_freq_factor are not in order", path);
    return FL_OK;
}

/* rope_theta stands on the top level, or (newer files) in rope_parameters with a rope_type. */
fl_status fl_rope_config_load(fl_model_config *config, const json_t *root, const char *path)
{
    fl_rope_config *rope = &config->rope;
    json_t *parameters, *scaling;
    double outer, partial;
    FL_TRY(fl_json_get_object_or(&parameters, root, "rope_parameters", path));
    FL_TRY(fl_json_get_object_or(&scaling, root, "rope_scaling", path));
    const json_t *typed = scaling ? scaling : parameters;
    FL_TRY(fl_json_get_number_or(&outer, root, "rope_theta", 10000.0, path));
    FL_TRY(fl_json_get_number_or(&partial, root, "partial_rotary_factor", 1.0, path));
    rope->theta = outer;
    if (parameters) {
        FL_TRY(fl_json_get_number_or(&rope->theta, parameters, "rope_theta", outer, path));
        FL_TRY(fl_json_get_number_or(&partial, parameters, "partial_rotary_factor", partial, path));
    }
    FL_CHECK(rope->theta >= 1 && rope->theta <= 1e30, FL_ERR_INPUT,
             "%s: rope_theta is outside [1, 1e30]", path);
    FL_CHECK(partial == 1.0, FL_ERR_UNSUPPORTED,
             "%s: partial_rotary_factor = %g is not supported; known: 1", path, partial);
    if (!typed) return FL_OK;
    const char *old_word, *type;
    FL_TRY(fl_json_get_string_or(&old_word, typed, "type", "default", path));
    FL_TRY(fl_json_get_string_or(&type, typed, "rope_type", old_word, path));
    FL_TRY(find_kind(&rope->kind, type, path));
    if (rope->kind == FL_ROPE_DEFAULT) return FL_OK;
    FL_TRY(fl_json_get_number(&rope->factor, typed, "factor", path));
    FL_CHECK(rope->factor >= 1 && rope->factor <= 1e6, FL_ERR_INPUT,
             "%s: the factor of rope_scaling is outside [1, 1e6]", path);
    if (rope->kind == FL_ROPE_LINEAR) // older files give the length before stretching
        config->max_positions = (int64_t)((double)config->max_positions * rope->factor);
    return rope->kind == FL_ROPE_LLAMA3 ? load_llama3(rope, typed, path) : FL_OK;
}

/* Wavelengths above original/low are stretched, those below original/high kept (Llama 3.1). */
static float llama3_frequency(const fl_rope_config *rope, float frequency)
{
    float original = (float)rope->original_positions, factor = (float)rope->factor;
    float low = (float)rope->low_freq_factor, high = (float)rope->high_freq_factor;
    float wavelength = 6.283185307179586f / frequency;
    if (wavelength > original / low) return frequency / factor;
    if (wavelength < original / high) return frequency;
    float smooth = (original / wavelength - low) / (high - low);
    return (1 - smooth) * frequency / factor + smooth * frequency;
}

void fl_rope_frequencies(float *out, const fl_model_config *config)
{
    const fl_rope_config *rope = &config->rope;
    for (int64_t i = 0; i < config->head_dim / 2; i++) {
        double exponent = (double)(2 * i) / (double)config->head_dim;
        out[i] = (float)(1.0 / pow(rope->theta, exponent));
        if (rope->kind == FL_ROPE_LINEAR) out[i] /= (float)rope->factor;
        if (rope->kind == FL_ROPE_LLAMA3) out[i] = llama3_frequency(rope, out[i]);
    }
}
