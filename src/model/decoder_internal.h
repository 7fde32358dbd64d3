/* Inside of fl_decoder, for decoder_*.c and generate.c only. */
#ifndef FL_MODEL_DECODER_INTERNAL_H
#define FL_MODEL_DECODER_INTERNAL_H

#include "backend/linears.h"
#include "model/decoder.h"

/* Activations of one layer that the backward pass reads.  Without backward all layers share one;
 * with limits.recompute they share all of it but x_in.
 *
 * What linears with one input write stands side by side in the rows of one matrix: gate and up; q,
 * k and v, or in place of q and k what stands before their norm.  So do the gradients of these. */
typedef struct fl_layer_state {
    float *x_in;     /* [T, C] residual at the layer's start */
    float *rstd1;    /* [T] */
    fl_act q;        /* [T, H*D] after RoPE */
    fl_act k, v;     /* [T, KV*D], k after RoPE */
    fl_act att;      /* [T, H*D] */
    float *lse;      /* [T, H] */
    float *x_mid;    /* [T, C] residual before the MLP */
    float *rstd2;    /* [T] */
    fl_act gate, up; /* [T, F] */
    /* where the family has the norm: what goes into it, and its rstd */
    fl_act before[FL_NUM_NORMS]; /* query [T, H*D], key [T, KV*D], after a block [T, C] */
    float *rstd[FL_NUM_NORMS];   /* [T, H], [T, KV], [T] */
    fl_lora_slot slot[FL_NUM_MODULES];
    fl_lora_slot side[FL_NUM_MODULES]; /* of the base's change; all share one t */
} fl_layer_state;

enum { FL_LOSS_CHUNK = 256 }; /* rows of logits that there are on every backend */

struct fl_decoder {
    const fl_model *model;
    const fl_backend_ops *ops;
    fl_lora_config lora;
    fl_decoder_limits limits;
    fl_adapters adapters;   /* weights NULL: bare base */
    const float *side;      /* change of the base; NULL: none */
    uint64_t side_number;   /* another one whenever `side` or its ranks may be others; 0: none */
    uint64_t num_sides;     /* so far */
    fl_act side_t;          /* [T, smaller side of any adapted matrix]; not there: the base stays */
    fl_layer_state *layers; /* [num_layers] */
    float *x_out;           /* [T, C] residual after the last layer */

    /* scratch, valid inside one layer */
    fl_act norm;    /* [T, C] normalised input */
    fl_act act;     /* [T, F] SwiGLU product */
    fl_act dropped; /* [T, max(C, H*D, F)] dropout(x); not there when dropout is 0 */

    /* backward only */
    float *dx;         /* [T, C] gradient of the residual */
    fl_act dnorm;      /* [T, C] */
    fl_act dact, dup;  /* [T, F] */
    fl_act dheads;     /* all gradients that the linears of q, k and v read */
    fl_act dq, dk, dv; /* as q, k, v */
    fl_act datt;       /* [T, H*D] */
    /* as dq, dk: gradients before the norm of heads; not there: the family has none */
    fl_act dq_before, dk_before;
    fl_act dblock; /* [T, C] gradient before a block's norm; as above */
    fl_act dt;     /* [T, R] */
    float *attn_scratch;

    /* loss, ops->loss_rows rows; rows_loss: all */
    fl_act rows_norm;
    float *rows_x, *rows_rstd, *rows_dx, *logits;
    float *capped;     /* a copy of the logits for the slope of their cap; NULL: no cap */
    double *rows_loss; /* [T] */
    double *host_loss; /* [T] host memory, of the arena */

    /* device copies of the batch */
    int32_t *ids, *pos, *cu;      /* [T] [T] [S+1] */
    int32_t *prefix;              /* [S] */
    int32_t *loss_rows, *targets; /* [T] */
    float *weights;               /* [T] */
    int32_t *client_first;        /* [clients + 1] */
    double *client_factor;        /* [clients] */
    fl_rng *streams;              /* [clients][a stream per module]; NULL: dropout is 0 */

    /* of the running pass */
    fl_attn_shape shape;
    int64_t num_targets;   /* of the forward half, with those that fill up */
    int64_t asked_targets; /* without */
    int64_t num_adapters;  /* that were set; the batch may have rows of the first of them only */
    int32_t *host_first;   /* [max_clients + 1] of the arena, like the next two */
    double *host_factor;   /* [max_clients] */
    fl_rng *host_streams;  /* [max_clients][a stream per module] */

    void *block; /* all of the above */
    fl_arena *arena;
};

/* Attention of one layer: reads layer->q, k, v and writes layer->att.  The packed form is
 * the decoder's own; generation puts one that reads a cache in its place. */
typedef void fl_attend(fl_decoder *decoder, int64_t layer, void *context);

/* What belongs to clients, behind the layout. */
fl_status fl_decoder_open_clients(fl_decoder *decoder);

/* Copies the batch to the device and checks it against the limits; no dropout from then on. */
fl_status fl_decoder_load_tokens(fl_decoder *decoder, const fl_tokens_view *tokens);
fl_status fl_decoder_load_targets(fl_decoder *decoder, const fl_targets_view *targets);
/* Where the backend repeats bodies: adds a sequence, empty ones, and targets of weight 0 at its
 * last row, until the batch has a size that others have too. */
void fl_decoder_fill_up(fl_decoder *decoder, const fl_targets_view *targets);
/* A stream for every client and linear, or none without keys. */
void fl_decoder_set_dropout(fl_decoder *decoder, const fl_dropout_keys *keys);

/* x_out = the decoder's residual stream for the loaded tokens. */
void fl_decoder_run_layers(fl_decoder *decoder, fl_attend *attend, void *context);
fl_attend fl_decoder_attend_packed;

/* Fills the activations that layer l shares with the others, from its x_in, for its backward pass.
 */
void fl_decoder_rerun_layer(fl_decoder *decoder, int64_t layer);

/* logits[n, V] (device, at most ops->loss_rows rows) for the token rows[n] (device). */
void fl_decoder_head(fl_decoder *decoder, const int32_t *rows, int64_t N);

/* The `count` linears from `module` on, which read the same input, for backend/linears.h; y and
 * add are the caller's to fill. */
fl_linears fl_decoder_linears(fl_decoder *decoder, int64_t layer, fl_module module, int count);

/* out = activation(gate) * up, [T, F] */
void fl_decoder_activate(fl_decoder *decoder, fl_act out, fl_act gate, fl_act up);

/* From decoder->dx = gradient of x_out to the gradients of the adapters. */
void fl_decoder_backward_layers(fl_decoder *decoder);

/* Dropout streams of one client: one for each linear of each layer. */
int64_t fl_decoder_streams(const fl_decoder *decoder);

/* Rows of a batch of at most max_tokens tokens once it is filled up; the last one then holds no
 * token of a client. */
int64_t fl_decoder_rows(const fl_backend_ops *ops, int64_t max_tokens);
int64_t fl_decoder_capacity(const fl_decoder *decoder); /* of the decoder's limits */

/* The widest input of a linear of the layers. */
int64_t fl_decoder_widest(const fl_model_config *config);

/* Lays all buffers out over `base` and returns the bytes they take (base = NULL: only counts). */
fl_decoder_plan fl_decoder_layout(fl_decoder *decoder, char *base);

#endif
