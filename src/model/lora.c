#include "model/lora.h"

#include <math.h>
#include <stdio.h>

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

/* Rows of the linears before `end` that have this holder. */
static int64_t rows_before(fl_module holder, int end, const fl_model_config *config)
{
    int64_t sum = 0, rows, cols;
    for (int m = 0; m < end; m++) {
        if (config->family->linear[m].holder != holder) continue;
        fl_module_shape((fl_module)m, config, &rows, &cols);
        sum += rows;
    }
    return sum;
}

int64_t fl_module_row(fl_module module, const fl_model_config *config)
{
    return rows_before(config->family->linear[module].holder, (int)module, config);
}

int64_t fl_holder_rows(fl_module holder, const fl_model_config *config)
{
    return rows_before(holder, FL_NUM_MODULES, config);
}

static fl_lora_size size_of(const fl_lora_config *lora, int64_t layer, fl_module holder)
{
    if (!lora->sizes) return (fl_lora_size){.r = lora->r, .alpha = lora->alpha};
    return lora->sizes[layer * FL_NUM_MODULES + (int64_t)holder];
}

int64_t fl_lora_rank(const fl_lora_config *lora, int64_t layer, fl_module holder)
{
    return size_of(lora, layer, holder).r;
}

float fl_lora_scale(const fl_lora_config *lora, int64_t layer, fl_module holder)
{
    fl_lora_size size = size_of(lora, layer, holder);
    double r = (double)size.r;
    return (float)(size.alpha / (lora->rslora ? sqrt(r) : r));
}

/* true for the linear that stands for an adapted module */
static bool adapted(const fl_lora_config *lora, const fl_model_config *config, int module)
{
    return lora->target[module] && (int)config->family->linear[module].holder == module;
}

size_t fl_lora_tensors(const fl_lora_config *lora, const fl_model_config *config, size_t *counts)
{
    size_t n = 0;
    for (int64_t l = 0; l < config->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++) {
            if (!adapted(lora, config, m)) continue;
            int64_t rows, cols, r = fl_lora_rank(lora, l, (fl_module)m);
            fl_module_shape((fl_module)m, config, &rows, &cols);
            if (counts) {
                counts[n] = (size_t)(r * cols);
                counts[n + 1] = (size_t)(r * fl_holder_rows((fl_module)m, config));
            }
            n += 2;
        }
    return n;
}

/* Numbers in the factors of all layers' module m: of the adapter's ranks or, with `most`, of as
 * many as that and the matrix have room for. */
static int64_t count_factors(const fl_lora_config *lora, const fl_model_config *config, int m,
                             const int64_t *most)
{
    int64_t rows, cols, ranks = 0;
    fl_module_shape((fl_module)m, config, &rows, &cols);
    rows = fl_holder_rows((fl_module)m, config);
    int64_t side = rows < cols ? rows : cols;
    for (int64_t l = 0; l < config->num_layers; l++)
        ranks += !most ? fl_lora_rank(lora, l, (fl_module)m) : *most < side ? *most : side;
    return ranks * (rows + cols);
}

static size_t count_all(const fl_lora_config *lora, const fl_model_config *config,
                        const int64_t *most)
{
    int64_t count = 0;
    for (int m = 0; m < FL_NUM_MODULES; m++)
        if (adapted(lora, config, m)) count += count_factors(lora, config, m, most);
    return (size_t)count;
}

size_t fl_lora_count(const fl_lora_config *lora, const fl_model_config *config)
{
    return count_all(lora, config, NULL);
}

size_t fl_lora_side_count(const fl_lora_config *lora, const fl_model_config *config, int64_t most)
{
    return count_all(lora, config, &most);
}

int64_t fl_lora_most_rank(const fl_lora_config *lora, const fl_model_config *config)
{
    int64_t most = 0;
    for (int64_t l = 0; l < config->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++)
            if (adapted(lora, config, m) && fl_lora_rank(lora, l, (fl_module)m) > most)
                most = fl_lora_rank(lora, l, (fl_module)m);
    return most;
}

size_t fl_lora_target_names(const fl_lora_config *lora, const fl_model_config *config,
                            const char *names[FL_NUM_MODULES])
{
    size_t count = 0;
    for (int m = 0; m < FL_NUM_MODULES; m++)
        if (adapted(lora, config, m)) names[count++] = config->family->linear[m].name;
    return count;
}

static fl_status add_pair(fl_params *params, int64_t layer, fl_module module, int64_t r,
                          const fl_model_config *config)
{
    int64_t rows, cols;
    fl_module_shape(module, config, &rows, &cols);
    char name[128];
    const char *format = "base_model.model.model.layers.%lld.%s.lora_%c.weight";
    const char *path = config->family->linear[module].path;
    snprintf(name, sizeof name, format, (long long)layer, path, 'A');
    FL_TRY(fl_params_add(params, name, 2, (const int64_t[]){r, cols}));
    snprintf(name, sizeof name, format, (long long)layer, path, 'B');
    return fl_params_add(params, name, 2, (const int64_t[]){fl_holder_rows(module, config), r});
}

static fl_status add_all(fl_params *params, const fl_lora_config *lora,
                         const fl_model_config *config)
{
    for (int64_t layer = 0; layer < config->num_layers; layer++)
        for (int module = 0; module < FL_NUM_MODULES; module++)
            if (adapted(lora, config, module))
                FL_TRY(add_pair(params, layer, (fl_module)module,
                                fl_lora_rank(lora, layer, (fl_module)module), config));
    return fl_params_allocate(params);
}

/* Kaiming uniform with a = sqrt(5), as PEFT: the bound is 1/sqrt(fan in). */
void fl_lora_draw(float *values, const fl_param *a, fl_rng *rng)
{
    float bound = 1.0f / sqrtf((float)a->dim[1]);
    for (size_t j = 0; j < a->count; j++)
        values[j] = bound * (2.0f * fl_rng_uniform(rng) - 1.0f);
}

/* Only A; B stays zero. */
static void init_values(fl_params *params, uint64_t seed)
{
    for (size_t i = 0; i < params->num_params; i += 2) {
        const fl_param *a = &params->params[i];
        fl_rng rng = fl_rng_make(seed, FL_PURPOSE_LORA_INIT, i, 0, 0, 0);
        fl_lora_draw(params->data + a->offset, a, &rng);
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
