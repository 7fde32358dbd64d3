/* The folder says how the adapter was made; a run that uses it need not repeat that. */
#include "io/adapter.h"
#include "model/lora.h"

static fl_status read_config(fl_lora_config *lora, const fl_model_config *config,
                             const fl_adapter_info *info, const char *dir)
{
    *lora =
        (fl_lora_config){.r = info->lora_r, .alpha = info->lora_alpha, .rslora = info->use_rslora};
    fl_status status =
        fl_lora_set_targets(lora, config, info->target_modules, info->num_target_modules);
    if (status == FL_OK)
        status =
            fl_lora_set_patterns(lora, config, &info->rank_pattern, &info->alpha_pattern, false);
    /* what is a wrong option of a run is wrong input here */
    return status == FL_OK ? FL_OK : fl_fail_context(FL_ERR_INPUT, "%s/adapter_config.json", dir);
}

/* fl_lora_create gives the layout; its values are all replaced, or loading fails. */
fl_status fl_lora_load(fl_lora_config *lora, fl_params *out, const char *dir,
                       const fl_model_config *config)
{
    fl_adapter_info info;
    fl_params params = {0};
    FL_TRY(fl_adapter_read_info(&info, dir));
    fl_status status = read_config(lora, config, &info, dir);
    fl_adapter_info_fini(&info);
    FL_TRY(status);
    FL_TRY_GOTO(fl_lora_create(&params, lora, config, 0), out);
    status = fl_adapter_load(dir, &params);
out:
    if (status != FL_OK) {
        fl_lora_fini(lora);
        fl_params_fini(&params);
    } else {
        *out = params;
    }
    return status;
}
