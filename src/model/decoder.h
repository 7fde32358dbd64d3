/* Forward and backward of the decoder with a LoRA adapter, on packed batches, through the ops
 * table.
 *
 * An fl_decoder is the workspace for one model: all activations for `max_tokens` tokens are laid
 * out in one block when it is created, nothing is allocated afterwards.  Life: fl_decoder_create,
 * then any number of fl_decoder_set_adapter / fl_decoder_loss / fl_decoder_logits,
 * fl_decoder_destroy. Not thread-safe; one per rank.
 *
 * A batch may hold the tokens of several clients, each with an adapter and dropout of its own over
 * the one base.  Where the backend computes a row of a product alike in any batch (cpu, cuda_emu),
 * each gets the bits that it would get alone.
 *
 * What is kept of a layer for the backward pass: its input, q, k, v after RoPE, attention output,
 * log-sum-exp, the residual before the MLP, gate and up, and x A^T of every adapted linear.
 * Normalised inputs and the SwiGLU product are recomputed.  With `recompute` only its input is
 * kept; all else is one set of buffers, filled again layer by layer in the backward pass (Chen et
 * al. 2016, arXiv 1604.06174): the same bits for one more forward pass.
 */
#ifndef FL_MODEL_DECODER_H
#define FL_MODEL_DECODER_H

#include "model/model.h"

typedef struct fl_decoder fl_decoder;

typedef struct fl_decoder_limits {
    int64_t max_tokens;    /* of one packed batch */
    int64_t max_sequences; /* of one packed batch */
    int64_t max_clients;   /* of one packed batch; 0: 1 */
    bool backward;         /* false: forward and generation only, much less memory */
    bool recompute;        /* with backward: keep a layer's input only */
} fl_decoder_limits;

/* A packed batch: sequence s is tokens cu[s] <= t < cu[s+1].  Host memory. */
typedef struct fl_tokens_view {
    const int32_t *ids; /* [T], each in [0, V) */
    const int32_t *pos; /* [T], position in its sequence */
    const int32_t *cu;  /* [S+1] */
    int64_t S, T;
    const int32_t *prefix; /* [S] as in fl_attn_shape, where the backend shares prefixes; or NULL */
    /* [clients+1] client c has the tokens first[c] <= t < first[c+1], whole sequences, maybe none;
     * NULL: all are those of one client */
    const int32_t *first;
    int64_t clients; /* with `first`: at most as many as adapters were set */
} fl_tokens_view;

/* The positions that enter the loss.  Host memory. */
typedef struct fl_targets_view {
    const int32_t *rows;    /* [N] token index, ascending, distinct */
    const int32_t *targets; /* [N] the token that should follow */
    const float *weights;   /* [N] weight of each row in the loss */
    int64_t N;
} fl_targets_view;

/* Errors: FL_ERR_MEMORY.  lora is copied; model is borrowed and must outlive the decoder. */
fl_status fl_decoder_create(fl_decoder **out, const fl_model *model, const fl_lora_config *lora,
                            const fl_decoder_limits *limits);
void fl_decoder_destroy(fl_decoder *decoder); /* accepts NULL */

/* Bytes that a decoder would take, for a model that need not be open. */
typedef struct fl_decoder_plan {
    size_t layers;    /* what is kept of each layer for the backward pass */
    size_t workspace; /* what all layers use in turn, and the batch */
    size_t loss;      /* logits of some rows at a time and what belongs to them */
} fl_decoder_plan;
fl_status fl_decoder_plan_for(fl_decoder_plan *out, const fl_model_config *config,
                              const fl_backend_ops *ops, const fl_lora_config *lora,
                              const fl_decoder_limits *limits);
/* Its largest calls, on a base in that format or expanded, and of an optimiser for its adapter. */
fl_scratch_need fl_decoder_scratch_need(const fl_model_config *config, const fl_model_sizes *sizes,
                                        fl_format format, bool expanded, const fl_backend_ops *ops,
                                        const fl_lora_config *lora,
                                        const fl_decoder_limits *limits);
size_t fl_decoder_plan_total(const fl_decoder_plan *plan); /* of the block */

/* Adapters of the following calls, one for each client of a batch: weights [clients, stride] in
 * backend memory in the order of fl_lora_create, borrowed, or NULL for the bare base; factor
 * [clients] multiplies the scale of fl_lora_config, NULL: 1.  clients: at most limits.max_clients.
 */
void fl_decoder_set_adapters(fl_decoder *decoder, const float *weights, size_t stride,
                             const double *factor, int64_t clients);
/* The same for batches of one client. */
void fl_decoder_set_adapter(fl_decoder *decoder, const float *weights);

/* The change of the base in the following calls with an adapter: W = W0 + B A with a pair for every
 * adapted module, in the order of fl_lora_create.  rank[pairs] may be anything up to the smaller
 * side of the matrix; 0: none.  values: A [rank, cols], B [rows, rank] of each pair in turn, in
 * backend memory, borrowed; NULL: no change.  The bare base (no adapter) stays what it was.
 * The decoder's fl_lora_config has has_side. */
void fl_decoder_set_side(fl_decoder *decoder, const float *values, const int64_t *rank);

/* The following backward passes leave the gradients of these factors (FL_FACTOR_A, FL_FACTOR_B) as
 * they are. */
void fl_decoder_freeze(fl_decoder *decoder, unsigned factors);

/* Dropout of one client in one call: a stream per module is derived from these keys; a dropout of 0
 * in fl_lora_config, or no keys, switches it off. */
typedef struct fl_dropout_keys {
    uint64_t seed, round, client, step;
} fl_dropout_keys;

/* loss[c] = sum over client c's rows n of weights[n] * -log p(targets[n]).  When grads [clients,
 * stride] is not NULL, the gradient of that loss with respect to the client's adapter is added to
 * its part (backend memory, layout and stride of the adapters).  keys: one for each client; NULL:
 * no dropout.  N = 0 gives 0 and adds nothing.
 * Errors: FL_ERR_INTERNAL when the batch exceeds the limits. */
fl_status fl_decoder_loss(fl_decoder *decoder, const fl_tokens_view *tokens,
                          const fl_targets_view *targets, const fl_dropout_keys *keys, double *loss,
                          float *grads);

/* nll[n] = -log p(targets[n]) (host memory), weights are not used. */
fl_status fl_decoder_nll(fl_decoder *decoder, const fl_tokens_view *tokens,
                         const fl_targets_view *targets, double *nll);

/* The two halves of fl_decoder_loss, for a loss whose weights depend on the nll: the layers run
 * once, only the head's logits are computed a second time.  fl_decoder_forward is fl_decoder_nll
 * with dropout; fl_decoder_backward, the next call on this decoder, adds the gradient of the sum of
 * weights[n] * nll[n] over each client's rows to its part of grads. */
fl_status fl_decoder_forward(fl_decoder *decoder, const fl_tokens_view *tokens,
                             const fl_targets_view *targets, const fl_dropout_keys *keys,
                             double *nll);
void fl_decoder_backward(fl_decoder *decoder, const float *weights, float *grads);

/* out[n, :] = logits[V] at token rows[n], host memory [N, V]. */
fl_status fl_decoder_logits(fl_decoder *decoder, const fl_tokens_view *tokens, const int32_t *rows,
                            int64_t N, float *out);

#endif
