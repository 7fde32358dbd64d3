#include "model/lora.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *path;
} modules[FL_NUM_MODULES] = {
    [FL_Q_PROJ] = {"q_proj", "self_attn.q_proj"},    [FL_K_PROJ] = {"k_proj", "self_attn.k_proj"},
    [FL_V_PROJ] = {"v_proj", "self_attn.v_proj"},    [FL_O_PROJ] = {"o_proj", "self_attn.o_proj"},
    [FL_GATE_PROJ] = {"gate_proj", "mlp.gate_proj"}, [FL_UP_PROJ] = {"up_proj", "mlp.up_proj"},
    [FL_DOWN_PROJ] = {"down_proj", "mlp.down_proj"},
};

const char *fl_module_name(fl_module module)
{
    return modules[module].name;
}

const char *fl_module_path(fl_module module)
{
    return modules[module].path;
}

void fl_module_shape(fl_module module, const fl_model_config *config, int64_t *rows, int64_t *cols)
{
    int64_t C = config->hidden_size, F = config->intermediate_size;
    int64_t HD = config->num_heads * config->head_dim,
            KVD = config->num_kv_heads * config->head_dim;
    const int64_t shapes[FL_NUM_MODULES][2] = {
        [FL_Q_PROJ] = {HD, C},   [FL_K_PROJ] = {KVD, C},  [FL_V_PROJ] = {KVD, C},
        [FL_O_PROJ] = {C, HD},   [FL_GATE_PROJ] = {F, C}, [FL_UP_PROJ] = {F, C},
        [FL_DOWN_PROJ] = {C, F},
    };
    *rows = shapes[module][0];
    *cols = shapes[module][1];
}

fl_status fl_lora_set_targets(fl_lora_config *lora, const char *const *names, size_t count)
{
    FL_CHECK(count > 0, FL_ERR_USAGE, "target_modules is empty");
    memset(lora->target, 0, sizeof lora->target);
    for (size_t i = 0; i < count; i++) {
        int module = 0;
        while (module < FL_NUM_MODULES && strcmp(names[i], modules[module].name) != 0)
            module++;
        FL_CHECK(module < FL_NUM_MODULES, FL_ERR_USAGE,
                 "target_modules: \"%s\" is none of q_proj, k_proj, v_proj, o_proj, gate_proj, "
                 "up_proj, down_proj",
                 names[i]);
        FL_CHECK(!lora->target[module], FL_ERR_USAGE, "target_modules: %s stands twice", names[i]);
        lora->target[module] = true;
    }
    return FL_OK;
}

static fl_status add_pair(fl_params *params, int64_t layer, fl_module module, int64_t r,
                          const fl_model_config *config)
{
    int64_t rows, cols;
    fl_module_shape(module, config, &rows, &cols);
    char name[128];
    const char *format = "base_model.model.model.layers.%lld.%s.lora_%c.weight";
    snprintf(name, sizeof name, format, (long long)layer, modules[module].path, 'A');
    FL_TRY(fl_params_add(params, name, 2, (const int64_t[]){r, cols}));
    snprintf(name, sizeof name, format, (long long)layer, modules[module].path, 'B');
    return fl_params_add(params, name, 2, (const int64_t[]){rows, r});
}

static fl_status add_all(fl_params *params, const fl_lora_config *lora,
                         const fl_model_config *config)
{
    for (int64_t layer = 0; layer < config->num_layers; layer++)
        for (int module = 0; module < FL_NUM_MODULES; module++)
            if (lora->target[module])
                FL_TRY(add_pair(params, layer, (fl_module)module, lora->r, config));
    return fl_params_allocate(params);
}

/* Kaiming uniform with a = sqrt(5), as PEFT: the bound is 1/sqrt(fan in).  Only A; B stays zero. */
static void init_values(fl_params *params, uint64_t seed)
{
    for (size_t i = 0; i < params->num_params; i += 2) {
        const fl_param *a = &params->params[i];
        fl_rng rng = fl_rng_make(seed, FL_PURPOSE_LORA_INIT, i, 0, 0, 0);
        float bound = 1.0f / sqrtf((float)a->dim[1]);
        for (size_t j = 0; j < a->count; j++)
            params->data[a->offset + j] = bound * (2.0f * fl_rng_uniform(&rng) - 1.0f);
    }
}

fl_status fl_lora_create(fl_params *out, const fl_lora_config *lora, const fl_model_config *config,
                         uint64_t seed)
{
    fl_params params;
    FL_TRY(fl_params_init(&params, (size_t)config->num_layers * FL_NUM_MODULES * 2));
    fl_status status = add_all(&params, lora, config);
    if (status != FL_OK) {
        fl_params_fini(&params);
        return status;
    }
    init_values(&params, seed);
    *out = params;
    return FL_OK;
}
