/* What config.json of a Hugging Face model folder says about a decoder, checked. */
#ifndef FL_MODEL_MODEL_CONFIG_H
#define FL_MODEL_MODEL_CONFIG_H

#include "base/status.h"
#include "model/family.h"
#include "tensor/quant.h"

#include <stdint.h>

enum { FL_MAX_LAYERS = 1024 };

typedef enum fl_rope_kind {
    FL_ROPE_DEFAULT,
    FL_ROPE_LINEAR,  /* all frequencies / factor */
    FL_ROPE_DYNAMIC, /* as default up to max_position_embeddings, which is all that is served */
    FL_ROPE_LLAMA3   /* low frequencies / factor, high ones kept, a ramp between them */
} fl_rope_kind;

typedef struct fl_rope_config {
    fl_rope_kind kind;
    double theta, factor, low_freq_factor, high_freq_factor;
    int64_t original_positions;
} fl_rope_config;

typedef struct fl_model_config {
    const fl_family *family;
    int64_t vocab_size;        /* V */
    int64_t hidden_size;       /* C */
    int64_t intermediate_size; /* F */
    int64_t num_layers;
    int64_t num_heads;     /* H */
    int64_t num_kv_heads;  /* KV, divides H */
    int64_t head_dim;      /* D, even */
    int64_t max_positions; /* longest sequence that the model serves */
    fl_rope_config rope;
    float rms_norm_eps;
    float attn_scale;                  /* of scores: 1/sqrt(D) as a rule */
    float attn_softcap, final_softcap; /* of scores and logits; 0 = none */
    float embedding_scale;             /* 1 as a rule */
    int64_t window;                    /* keys that a sliding layer sees; 0: no layer slides */
    bool slides[FL_MAX_LAYERS];        /* per layer */
    bool bias[FL_NUM_MODULES];
    fl_format stored; /* FL_STORED, or how bitsandbytes quantised the linears */
    bool tied_head;   /* the output layer is the embedding table */
} fl_model_config;

/* Reads DIR/config.json.  Errors: FL_ERR_IO, FL_ERR_INPUT (a value out of range, sizes that do not
 * fit together), FL_ERR_UNSUPPORTED (another architecture, or a variant that the decoder does not
 * compute; the text names it and lists what is known). */
fl_status fl_model_config_load(fl_model_config *out, const char *dir);

/* Keys that a query of this layer sees, itself included; 0 = all before it. */
int64_t fl_model_window(const fl_model_config *config, int64_t layer);

/* [D/2] angle per position of each pair, in fp32 as the field's implementations have it. */
void fl_rope_frequencies(float *out, const fl_model_config *config);

#endif
