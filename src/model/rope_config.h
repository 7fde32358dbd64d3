/* The rotary part of config.json, for model_config.c. */
#ifndef FL_MODEL_ROPE_CONFIG_H
#define FL_MODEL_ROPE_CONFIG_H

#include "base/json.h"
#include "model/model_config.h"

/* Sets config->rope; max_positions and head_dim are set already. */
fl_status fl_rope_config_load(fl_model_config *config, const json_t *root, const char *path);

#endif
