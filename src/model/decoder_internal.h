/* Inside of fl_decoder, for decoder_*.c and generate.c only. */
#ifndef FL_MODEL_DECODER_INTERNAL_H
#define FL_MODEL_DECODER_INTERNAL_H

#include "model/decoder.h"

/* Where one adapted linear finds its part of the adapter. */
typedef struct fl_lora_slot {
    size_t a, b; /* element offsets of A [R, cols] and B [rows, R] in the adapter */
    int64_t r;   /* R */
    float scale;
    float *t; /* [T, R] = dropout(x) A^T of the last forward pass, kept when backward */
} fl_lora_slot;

/* Activations of one layer that the backward pass reads.  Without backward all layers share one;
 * with limits.recompute they share all of it but x_in. */
typedef struct fl_layer_state {
    float *x_in;      /* [T, C] residual at the layer's start */
    float *rstd1;     /* [T] */
    float *q;         /* [T, H*D] after RoPE */
    float *k, *v;     /* [T, KV*D], k after RoPE */
    float *att;       /* [T, H*D] */
    float *lse;       /* [T, H] */
    float *x_mid;     /* [T, C] residual before the MLP */
    float *rstd2;     /* [T] */
    float *gate, *up; /* [T, F] */
    /* where the family has the norm: what goes into it, and its rstd */
    float *before[FL_NUM_NORMS]; /* query [T, H*D], key [T, KV*D], after a block [T, C] */
    float *rstd[FL_NUM_NORMS];   /* [T, H], [T, KV], [T] */
    fl_lora_slot slot[FL_NUM_MODULES];
    fl_lora_slot side[FL_NUM_MODULES]; /* of the base's change; t is side_t of the decoder */
} fl_layer_state;

enum { FL_LOSS_CHUNK = 256 }; /* rows of logits that exist at a time */

struct fl_decoder {
    const fl_model *model;
    const fl_backend_ops *ops;
    fl_lora_config lora;
    fl_decoder_limits limits;
    const float *adapter;   /* NULL: bare base */
    unsigned frozen;        /* factors without gradient */
    double factor;          /* on every scale of the adapter */
    const float *side;      /* change of the base; NULL: none */
    float *side_t;          /* [T, smaller side of any adapted matrix]; NULL: the base stays */
    fl_layer_state *layers; /* [num_layers] */
    float *x_out;           /* [T, C] residual after the last layer */

    /* scratch, valid inside one layer */
    float *norm;    /* [T, C] normalised input */
    float *act;     /* [T, F] SwiGLU product; also the widest dropped input */
    float *dropped; /* [T, max(C, H*D, F)] dropout(x); NULL when dropout is 0 */

    /* backward only */
    float *dx;           /* [T, C] gradient of the residual */
    float *dnorm;        /* [T, C] */
    float *dact, *dup;   /* [T, F] */
    float *dq, *dk, *dv; /* as q, k, v */
    float *datt;         /* [T, H*D] */
    float *dheads;       /* [T, H*D] gradient before a head norm; NULL: the family has none */
    float *dblock;       /* [T, C] gradient before a block's norm; NULL as above */
    float *dt;           /* [T, R] */
    float *attn_scratch;

    /* loss, FL_LOSS_CHUNK rows */
    float *rows_x, *rows_norm, *rows_rstd, *rows_dx, *logits;
    float *capped; /* a copy of the logits for the slope of their cap; NULL: no cap */
    double *rows_loss;

    /* device copies of the batch */
    int32_t *ids, *pos, *cu;      /* [T] [T] [S+1] */
    int32_t *prefix;              /* [S] */
    int32_t *loss_rows, *targets; /* [T] */
    float *weights;               /* [T] */

    /* of the running pass */
    fl_attn_shape shape;
    const fl_dropout_keys *keys; /* NULL: no dropout */
    int64_t num_targets;         /* of the forward half */

    void *block; /* all of the above */
    fl_arena *arena;
};

/* Attention of one layer: reads layer->q, k, v and writes layer->att.  The packed form is
 * the decoder's own; generation puts one that reads a cache in its place. */
typedef void fl_attend(fl_decoder *decoder, int64_t layer, void *context);

/* Copies the batch to the device and checks it against the limits. */
fl_status fl_decoder_load_tokens(fl_decoder *decoder, const fl_tokens_view *tokens);

/* x_out = the decoder's residual stream for the loaded tokens. */
void fl_decoder_run_layers(fl_decoder *decoder, fl_attend *attend, void *context);
fl_attend fl_decoder_attend_packed;

/* Fills the activations that layer l shares with the others, from its x_in, for its backward pass.
 */
void fl_decoder_rerun_layer(fl_decoder *decoder, int64_t layer);

/* logits[n, V] (device, at most FL_LOSS_CHUNK rows) for the token rows[n] (device). */
void fl_decoder_head(fl_decoder *decoder, const int32_t *rows, int64_t N);

/* y = x W^T + lora (accumulate: +=), keeping x A^T.  x [T, cols], y [T, rows]. */
void fl_decoder_linear(fl_decoder *decoder, int64_t layer, fl_module module, float *y,
                       const float *x, bool accumulate);

/* The scale of an adapted linear in the running pass. */
float fl_decoder_lora_scale(const fl_decoder *decoder, const fl_lora_slot *slot);

/* out = activation(gate) * up, [T, F] */
void fl_decoder_activate(fl_decoder *decoder, float *out, const float *gate, const float *up);

/* The stream of dropout words of one adapted linear in the running pass. */
fl_rng fl_decoder_dropout_stream(const fl_decoder *decoder, int64_t layer, fl_module module);

/* From decoder->dx = gradient of x_out to the adapter's gradient. */
void fl_decoder_backward_layers(fl_decoder *decoder, float *grads);

/* The widest input of a linear of the layers. */
int64_t fl_decoder_widest(const fl_model_config *config);

/* Lays all buffers out over `base` and returns the bytes they take (base = NULL: only counts). */
fl_decoder_plan fl_decoder_layout(fl_decoder *decoder, char *base);

#endif
