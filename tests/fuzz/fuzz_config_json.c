#include "fuzz_file.h"

#include "model/model_config.h"

#include <math.h>

static void use(const fl_model_config *config)
{
    static float frequencies[4096];
    fuzz_require(config->family && config->num_layers > 0 && config->num_layers <= FL_MAX_LAYERS);
    fuzz_require(config->num_heads % config->num_kv_heads == 0);
    fuzz_require(config->head_dim % 2 == 0 && config->head_dim / 2 <= 4096);
    fuzz_require(config->vocab_size > 0 && config->hidden_size > 0 && config->max_positions > 0);
    for (int64_t l = 0; l < config->num_layers; l++)
        fuzz_require(fl_model_window(config, l) >= 0);
    fuzz_require(isfinite(config->attn_scale) && isfinite(config->embedding_scale));
    fl_rope_frequencies(frequencies, config);
    for (int64_t i = 0; i < config->head_dim / 2; i++)
        fuzz_require(isfinite(frequencies[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fl_model_config config;
    fuzz_file("config.json", data, size);
    if (fl_model_config_load(&config, fuzz_folder()) == FL_OK)
        use(&config);
    else
        fuzz_require(*fl_error_text());
    return 0;
}
