/* What config.json of a Hugging Face model folder says about a decoder, checked. */
#ifndef FL_MODEL_MODEL_CONFIG_H
#define FL_MODEL_MODEL_CONFIG_H

#include "base/status.h"

#include <stdint.h>

typedef struct fl_model_config {
    int64_t vocab_size;        /* V */
    int64_t hidden_size;       /* C */
    int64_t intermediate_size; /* F */
    int64_t num_layers;
    int64_t num_heads;    /* H */
    int64_t num_kv_heads; /* KV, divides H */
    int64_t head_dim;     /* D, even */
    int64_t max_positions;
    double rope_theta;
    float rms_norm_eps;
    bool tied_head; /* the output layer is the embedding table */
} fl_model_config;

/* Reads DIR/config.json.  Errors: FL_ERR_IO, FL_ERR_INPUT (a value out of range, sizes that do not
 * fit together), FL_ERR_UNSUPPORTED (another architecture or a variant of Llama that the decoder
 * does not compute; the text names it and lists what is known). */
fl_status fl_model_config_load(fl_model_config *out, const char *dir);

#endif
