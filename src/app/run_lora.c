/* How the run's adapter is applied: ranks and alphas of modules, ranks of clients, the base's
 * change on this rank, and the adapter as it is saved. */
#include "app/run.h"
#include "base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fl_status set_patterns(fl_run *run)
{
    const fl_lora_options *o = &run->options.lora;
    FL_TRY(fl_arena_create(&run->texts));
    FL_TRY(fl_lora_parse_patterns(&run->rank_pattern, run->texts, "rank_pattern",
                                  o->rank_pattern.items, o->rank_pattern.count, true));
    FL_TRY(fl_lora_parse_patterns(&run->alpha_pattern, run->texts, "alpha_pattern",
                                  o->alpha_pattern.items, o->alpha_pattern.count, false));
    return fl_lora_set_patterns(&run->lora, &run->model_config, &run->rank_pattern,
                                &run->alpha_pattern, true);
}

/* The scales in the order of the adapter's pairs. */
static fl_status list_scales(fl_run *run)
{
    const fl_family *family = run->model_config.family;
    size_t pairs = run->adapter.num_params / 2, n = 0;
    FL_TRY(fl_arena_alloc(run->texts, &run->lora_scale, pairs, sizeof *run->lora_scale));
    FL_TRY(fl_arena_alloc(run->texts, &run->side_rank, pairs, sizeof *run->side_rank));
    for (int64_t l = 0; l < run->model_config.num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++)
            if (run->lora.target[m] && (int)family->linear[m].holder == m)
                run->lora_scale[n++] = (double)fl_lora_scale(&run->lora, l, (fl_module)m);
    FL_ASSERT(n == pairs);
    return FL_OK;
}

static fl_status parse_rank(const char *word, int64_t most, int64_t *out)
{
    char *end;
    long long value = strtoll(word, &end, 10);
    FL_CHECK(*word && !*end && value >= 1 && value <= most, FL_ERR_USAGE,
             "client_lora_r: \"%.40s\" is no rank from 1 to peft_lora_r = %lld", word,
             (long long)most);
    *out = value;
    return FL_OK;
}

static fl_status list_client_ranks(fl_run *run)
{
    const fl_conf_list *list = &run->options.fed.client_lora_r;
    size_t num_clients = (size_t)run->options.fed.num_clients;
    if (list->count == 0) return FL_OK;
    FL_CHECK(run->rank_pattern.count == 0, FL_ERR_USAGE,
             "client_lora_r and rank_pattern: a client's rank would hold for every module");
    FL_TRY(fl_arena_alloc(run->texts, &run->client_rank, num_clients, sizeof *run->client_rank));
    FL_TRY(
        fl_arena_alloc(run->texts, &run->client_factor, num_clients, sizeof *run->client_factor));
    for (size_t k = 0; k < num_clients; k++) {
        FL_TRY(parse_rank(list->items[k % list->count], run->lora.r, &run->client_rank[k]));
        double ratio = (double)run->lora.r / (double)run->client_rank[k];
        run->client_factor[k] = run->lora.rslora ? sqrt(ratio) : ratio;
    }
    return FL_OK;
}

fl_status fl_run_open_lora(fl_run *run)
{
    const fl_options *o = &run->options;
    run->lora = (fl_lora_config){.r = o->lora.peft_lora_r,
                                 .alpha = (double)o->lora.peft_lora_alpha,
                                 .rslora = o->lora.use_rslora,
                                 .dropout = (float)o->lora.lora_dropout,
                                 .has_side = fl_lora_method_of(&o->fed)->moves_base};
    FL_TRY(fl_lora_set_targets(&run->lora, &run->model_config, o->lora.target_modules.items,
                               o->lora.target_modules.count));
    return set_patterns(run);
}

fl_status fl_run_make_adapter(fl_run *run)
{
    const fl_options *o = &run->options;
    FL_TRY(fl_lora_create(&run->adapter, &run->lora, &run->model_config, (uint64_t)o->train.seed));
    FL_TRY(list_scales(run));
    FL_TRY(list_client_ranks(run));
    run->setup = (fl_lora_setup){.scale = run->lora_scale,
                                 .client_rank = run->client_rank,
                                 .client_factor = run->client_factor};
    return FL_OK;
}

fl_status fl_run_base_moved(void *context)
{
    fl_run *run = context;
    const fl_side *side = &run->server.side;
    if (!run->trainer) return FL_OK;
    for (size_t i = 0; i < run->adapter.num_params / 2; i++)
        run->side_rank[i] = (int64_t)fl_side_rank(side, i);
    return fl_trainer_set_side(run->trainer, side->values.data, side->values.count, run->side_rank);
}

/* ---- saving --------------------------------------------------------------------------------- */

/* "model.layers.0.self_attn.q_proj" of "base_model.model.<that>.lora_A.weight" */
static fl_status module_path(const char **out, fl_arena *arena, const char *name)
{
    static const char before[] = "base_model.model.", behind[] = ".lora_A.weight";
    char *text;
    size_t length = strlen(name) - strlen(before) - strlen(behind);
    FL_TRY(fl_arena_text(arena, &text, name + strlen(before), length));
    *out = text;
    return FL_OK;
}

/* r and alpha of every module are its own: scale 1. */
static fl_status own_ranks(fl_patterns *out, fl_arena *arena, const fl_params *adapter)
{
    fl_pattern *items;
    size_t pairs = adapter->num_params / 2;
    FL_TRY(fl_arena_alloc(arena, &items, pairs, sizeof *items));
    *out = (fl_patterns){.items = items};
    for (size_t i = 0; i < pairs; i++) {
        const fl_param *a = &adapter->params[2 * i];
        if (a->dim[0] == adapter->params[0].dim[0]) continue;
        items[out->count].value = (double)a->dim[0];
        FL_TRY(module_path(&items[out->count++].expression, arena, a->name));
    }
    return FL_OK;
}

static fl_status save_joined(const fl_run *run, const char *dir, const float *adapter,
                             fl_adapter_info *info, fl_arena *arena)
{
    fl_params joined;
    FL_TRY(fl_side_join(&joined, &run->server.side, adapter, run->lora_scale));
    info->lora_r = (int)joined.params[0].dim[0];
    info->lora_alpha = (double)info->lora_r;
    info->use_rslora = false;
    fl_status status = own_ranks(&info->rank_pattern, arena, &joined);
    info->alpha_pattern = info->rank_pattern;
    if (status == FL_OK) status = fl_adapter_save(dir, &joined, info);
    fl_params_fini(&joined);
    return status;
}

fl_status fl_run_save_adapter(const fl_run *run, const char *dir, const fl_params *adapter)
{
    const fl_lora_options *lora = &run->options.lora;
    const char *modules[FL_NUM_MODULES];
    size_t num_modules = fl_lora_target_names(&run->lora, &run->model_config, modules);
    fl_adapter_info info = {.lora_r = (int)lora->peft_lora_r,
                            .lora_alpha = (double)lora->peft_lora_alpha,
                            .lora_dropout = lora->lora_dropout,
                            .base_model = run->options.data.model_name_or_path,
                            .use_rslora = lora->use_rslora,
                            .target_modules = modules,
                            .num_target_modules = num_modules,
                            .rank_pattern = run->rank_pattern,
                            .alpha_pattern = run->alpha_pattern};
    if (!run->method->moves_base) return fl_adapter_save(dir, adapter, &info);
    fl_arena *arena;
    FL_TRY(fl_arena_create(&arena));
    fl_status status = save_joined(run, dir, adapter->data, &info, arena);
    fl_arena_destroy(arena);
    return status;
}
