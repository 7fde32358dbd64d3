/* The operations a backend provides: everything the decoder, the objectives and the optimiser do to
 * tensors goes through this table.  The decoder is written once against it.
 *
 * Shapes, outermost first: T tokens of the packed batch, C hidden size, H query heads, KV key/value
 * heads, D head size, F feed-forward size, V vocabulary, N rows, R LoRA rank, S sequences.
 * Buffers live where the backend's alloc puts them.  `float *` is contiguous fp32; fl_act is a
 * matrix with a type and a row stride of its own.  Counts are int64_t.  Arguments do not alias
 * unless a line says so. "overwrite": the old content is not read; "accumulate": added to the old
 * content.
 *
 * Determinism: every output element is computed in an order that depends on the shapes only, not on
 * the number of threads and not on the other rows of the batch unless the formula says so.  In
 * particular row t of `linear_fwd` has the same bits whatever T is; `cuda` promises that only for
 * the same T, because its library chooses the way of a product by the shape.
 *
 * To add an op: formula here, kernels/cpu first, a case with a double-precision check and finite
 * differences in tests/kernels, then a checked wrapper in backend/backend.h, then use it.
 */
#ifndef FL_BACKEND_OPS_H
#define FL_BACKEND_OPS_H

#include "backend/device.h"
#include "backend/types.h"
#include "base/buf.h"
#include "base/rng.h"

typedef struct fl_linears fl_linears; /* backend/linears.h */

/* What libraries beside the backend need to work on its memory, and what its own library is told.
 * After `open`. */
typedef struct fl_device_ops {
    bool emulated; /* no library of a device can reach its memory */
    /* The name under which this machine has the device: two ranks of a machine that read the same
     * share it.  Cut to fit. */
    fl_status (*identity)(char *out, size_t size);
    /* The queue that all ops go through, a cudaStream_t, and whether everything in it is done. */
    void *(*stream)(void);
    bool (*is_idle)(void);
    /* Host memory that copies are fastest with.  Errors: FL_ERR_MEMORY. */
    fl_status (*alloc_host)(void *out, size_t bytes);
    void (*release_host)(void *data); /* accepts NULL */

    /* Algorithms of products as a text.  They change bits: all ranks read the same.  After `open`,
     * before any product.  Errors: FL_ERR_INPUT, also for another device's or library's. */
    fl_status (*read_plans)(const char *path, const fl_buf *text);
    /* From now on every product that is met for the first time is timed with several algorithms.
     * What it leaves may be wrong: for passes that nobody reads. */
    void (*start_tuning)(void);
    fl_status (*write_plans)(fl_buf *out); /* appends the text */
} fl_device_ops;

typedef struct fl_backend_ops {
    const char *name;
    /* Kernels read the host's memory: frozen weights can stay where they are, in maps of files. */
    bool host_memory;
    fl_dtype best_compute; /* F32 or BF16: what `set_compute` is given when nobody asks */
    int64_t loss_rows;     /* rows of logits that callers should ask for at a time, at least 256 */
    int64_t replay_rows;   /* with `replay`: tokens that a batch is filled up to a multiple of, so
                              that few different ones are repeated */
    bool shares_prefixes;  /* attention_fwd and attention_bwd read fl_attn_shape.prefix */
    size_t host_bytes;     /* of the host's memory that copies take, where it is not host_memory */

    /* -- life --------------------------------------------------------------------------------- */
    /* Whether this machine has what the backend runs on. */
    bool (*present)(void);
    /* Makes it ready; of several devices rank number `local_rank` of this machine takes the one of
     * that number, in turn.  Once per process, before any other op.  Errors: one line. */
    fl_status (*open)(int local_rank);
    /* FL_OK, or the first failure of an op since `open`: ops return nothing, a device may report
     * late.  After a failure ops do nothing and copy_out gives zeros.  What has to be done by then
     * is what copy_out or sum_squares waited for. */
    fl_status (*status)(void);
    /* What the products of linear_* and gemm multiply.  F32, as after `open`: their operands as
     * they are.  BF16: every operand (activations, gradients, LoRA's matrices, the weight's value
     * as its format defines it) is rounded to the nearest bf16, ties to even; sums, alpha, beta,
     * bias and results stay fp32.  Everything else is fp32 in both.  Errors: FL_ERR_UNSUPPORTED. */
    fl_status (*set_compute)(fl_dtype dtype);
    /* Optional; NULL: callers run the body (fl_backend_replay does).  Runs body(context), or
     * repeats what it launched when the same key came before.  The body is a function of the key
     * and of what lies in backend memory alone; it calls no copy_in, copy_out, alloc, release or
     * sum_squares, and its pointers stay valid until the key is forgotten, as all keys are when any
     * memory is released.  A body that does call one of them is found out when it is recorded: what
     * it calls after that does nothing, copy_out gives zeros, alloc fails; then the body is run
     * again from its beginning, and its key is never recorded again.  A body inside a body belongs
     * to it. */
    void (*replay)(const fl_replay_key *key, void (*body)(void *context), void *context);
    /* What activations that enter products are kept in: F32, or BF16 where set_compute was given
     * that and the backend has its kernels for it.  Before `open` too. */
    fl_dtype (*act_dtype)(void);

    /* -- memory (required) -------------------------------------------------------------------- */
    fl_status (*alloc)(void *out, size_t bytes); /* zeroed, aligned to 64 */
    void (*release)(void *data);                 /* accepts NULL */
    void (*copy_in)(void *device, const void *host, size_t bytes);
    void (*copy_out)(void *host, const void *device, size_t bytes);
    void (*copy)(void *to, const void *from, size_t bytes); /* both in backend memory */
    void (*zero)(void *data, size_t bytes);

    /* Optional; NULL: nothing to speak of.  Bytes, of the memory that alloc gives, that the kernels
     * of all threads keep for themselves at the most, once they have met the largest of these
     * calls; with host_memory of the host's.  After set_compute. */
    size_t (*scratch_bytes)(const fl_scratch_need *need);
    /* Optional; NULL: its memory is the host's.  What the device of this rank has at the moment. */
    fl_status (*memory)(fl_device_memory *out);
    /* Optional; NULL: alloc takes what it needs.  Takes all memory of a run at once: `bytes` for
     * what alloc will be asked for, each buffer rounded up to FL_RESERVE_ALIGNMENT, and what
     * scratch_bytes says on top, which is taken now.  A warning is said when a plan was too small,
     * and memory taken beyond it.  Before the first alloc, or when all has been released.  Errors:
     * FL_ERR_MEMORY. */
    fl_status (*reserve)(size_t bytes, const fl_scratch_need *need);

    /* -- embedding and rows ------------------------------------------------------------------- */
    /* out[T,C] = table[ids[t], :]; the table is not quantised.  overwrite */
    void (*embedding)(float *out, const fl_weight *table, const int32_t *ids, int64_t T);
    /* out[N,C] = x[rows[n], :].  overwrite */
    void (*gather_rows)(float *out, const float *x, const int32_t *rows, int64_t N, int64_t C);
    /* x[rows[n], :] += in[n, :]; a row may come again with zeros only.  accumulate */
    void (*scatter_add_rows)(float *x, const float *in, const int32_t *rows, int64_t N, int64_t C);

    /* to[t,c] = from[t,c] for T rows of C elements.  overwrite */
    void (*copy_rows)(fl_act to, fl_act from, int64_t T, int64_t C);

    /* -- normalisation ------------------------------------------------------------------------ */
    /* A row of x[T, G*C] holds G groups (heads) that are normalised one by one; as a rule G = 1.
     * rstd[t,g] = 1/sqrt(mean_c x[t,g,c]^2 + eps);  out[t,g,c] = x[t,g,c] * rstd[t,g] * w[c].  out
     * may alias x where they have the same type and stride; types may differ.  The mean is
     * accumulated in double.  overwrite.  rstd may be NULL. */
    void (*rmsnorm_fwd)(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                        int64_t C, float eps);
    /* dx[t,g,:] += rstd * (w*dout - x * rstd^2 * mean_c(w*dout*x)).  accumulate; dx may not alias;
     * types may differ.  No gradient for w: the base is frozen. */
    void (*rmsnorm_bwd)(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd,
                        int64_t T, int64_t G, int64_t C);

    /* -- matrix products: the types of their fl_act may differ -------------------------------- */
    /* y[T,rows] = x[T,cols] W^T + bias + add[T,rows]; add.data NULL: nothing, add may be y. */
    void (*linear_fwd)(fl_act y, fl_act x, const fl_weight *w, int64_t T, fl_act add);
    /* dx[T,cols] = dy[T,rows] W (+ dx when accumulate). */
    void (*linear_bwd)(fl_act dx, fl_act dy, const fl_weight *w, int64_t T, bool accumulate);
    /* out[rows,cols] in bf16 = w, each value as products in BF16 take it: as its format defines it,
     * rounded to the nearest, ties to even.  overwrite */
    void (*widen)(void *out, const fl_weight *w);
    /* General product, row-major: C[M,N] = alpha * op(A) op(B) + beta * C, where op(A) is
     * [M,K]: A is stored [M,K] (trans_a false) or [K,M] (true); B is [K,N] or [N,K]. */
    void (*gemm)(fl_act c, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
                 bool trans_b, float alpha, float beta);
    /* Linears with one input, their LoRA and all; optional, NULL: made of the ops above.  See
     * backend/linears.h, which also has what callers call. */
    void (*linears_fwd)(const fl_linears *group, fl_act x, int64_t T);
    void (*linears_bwd)(const fl_linears *group, fl_act dx, fl_act x, int64_t T, bool accumulate);

    /* -- element-wise ------------------------------------------------------------------------- */
    /* y[t,c] += x[t,c], T rows of C; types may differ */
    void (*add)(fl_act y, fl_act x, int64_t T, int64_t C);
    /* x[i] *= factor */
    void (*scale)(float *x, float factor, int64_t n);
    /* x[i] = cap * tanh(x[i] / cap); cap > 0 */
    void (*softcap_fwd)(float *x, float cap, int64_t n);
    /* d[t,c] *= 1 - (y[t,c] / cap)^2, y[T,C] what softcap_fwd left */
    void (*softcap_bwd)(fl_act d, const float *y, float cap, int64_t T, int64_t C);
    /* y[i] += a * x[i], the product unrounded or rounded to fp32 */
    void (*axpy)(float *y, const float *x, float a, int64_t n);
    /* out[t,c] = keep(i) ? x[t,c] / (1-p) : 0 with i = t*C + c; keep(i) = word (i mod 4) of block
     * i/4 of the stream *rng (in backend memory), taken as uniform [0,1) with 24 bits, is >= p.
     * out may alias x.  accumulate: +=; then types may differ.  C is a multiple of 4, or both have
     * rows without gaps. */
    void (*dropout)(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                    bool accumulate);
    /* out = silu(gate) * up, silu(z) = z / (1 + exp(-z)).  [T,F]; out may alias gate. */
    void (*swiglu_fwd)(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
    /* dgate = dout * up * silu'(gate); dup = dout * silu(gate).  dgate may alias gate, dup may
     * alias up, dgate or dup may alias dout.  overwrite */
    void (*swiglu_bwd)(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                       int64_t F);
    /* The same with gelu(z) = z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) for silu: the form that
     * Hugging Face calls gelu_pytorch_tanh. */
    void (*geglu_fwd)(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
    void (*geglu_bwd)(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                      int64_t F);

    /* -- attention ---------------------------------------------------------------------------- */
    /* Rotates pairs (i, i + D/2) of each head of x[T, heads*D] in place by the angle
     * pos[t] * inv_freq[i]; inverse = true turns back (the backward pass).  cos and sin are taken
     * from the tables cos_table, sin_table [max_pos, D/2] (row pos[t]). */
    void (*rope)(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
                 int64_t T, int64_t heads, int64_t D, bool inverse);
    /* Causal attention inside each sequence.  q[T, H*D], k,v[T, KV*D], out[T, H*D];
     * lse[T,H] = log sum_j exp(score) is kept for the backward pass.  overwrite */
    void (*attention_fwd)(fl_act out, float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *shape);
    /* dq, dk, dv from dout; scores are recomputed from lse.  overwrite.
     * scratch: attention_bwd_scratch(shape) floats of backend memory; NULL when that is 0. */
    void (*attention_bwd)(fl_act dq, fl_act dk, fl_act dv, fl_act dout, fl_act out,
                          const float *lse, fl_act q, fl_act k, fl_act v,
                          const fl_attn_shape *shape, float *scratch);
    int64_t (*attention_bwd_scratch)(const fl_attn_shape *shape);
    /* One new token per sequence against a cache.  q[S, H*D]; cache k,v[S * capacity, KV*D]: rows
     * s * capacity .. hold lengths[s] entries, the new one included.  out[S, H*D].  cu and T of the
     * shape are not read.  overwrite */
    void (*attention_decode)(fl_act out, fl_act q, fl_act k_cache, fl_act v_cache,
                             const int32_t *lengths, int64_t capacity, const fl_attn_shape *shape);

    /* -- loss --------------------------------------------------------------------------------- */
    /* loss[n] = logsumexp(logits[n]) - logits[n,target[n]] of logits[N,V], and unless grad.data is
     * NULL grad[n,v] = weight[n] * (softmax(logits[n])[v] - [v == target[n]]).  grad may take the
     * place of the logits: in fp32 with stride V, in bf16 with stride 2V at the same address.
     * Accumulated in double per row.  weight may be NULL without grad. */
    void (*cross_entropy)(double *loss, fl_act grad, const float *logits, const int32_t *target,
                          const float *weight, int64_t N, int64_t V);
    /* out[n] = the smallest index of the largest logits[n,:] */
    void (*argmax)(int32_t *out, const float *logits, int64_t N, int64_t V);

    /* -- optimiser ---------------------------------------------------------------------------- */
    /* sum_i x[i]^2 in double, fixed order */
    double (*sum_squares)(const float *x, int64_t n);
    void (*adamw)(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt);

    /* -- updates ------------------------------------------------------------------------------ */
    /* The largest |y[i] - from[i]|, in double; infinity when one is not finite; 0 for n = 0.
     * from = NULL: zeros. */
    double (*largest_change)(const float *y, const float *from, int64_t n);
    /* sum[i] += rint(((double)y[i] - (double)from[i]) * factor), the product in double, ties to
     * even: the same integers on every backend.  It must be below 2^63 in size.  from = NULL:
     * zeros.  accumulate */
    void (*add_change)(int64_t *sum, const float *y, const float *from, double factor, int64_t n);

    /* Optional; NULL: its memory is the host's. */
    const fl_device_ops *device;
} fl_backend_ops;

/* The registry: the backend of that name, or NULL when this build has none.  "auto" is the best one
 * that is present; it never means an emulation. */
const fl_backend_ops *fl_backend_find(const char *name);
/* Finds and opens it; local_rank < 0: only finds it, for a rank that runs no ops.  Errors:
 * FL_ERR_USAGE when it is not in this build, those of `open`. */
fl_status fl_backend_open(const fl_backend_ops **out, const char *name, int local_rank);
/* Number of threads the kernels of this rank use; at least 1. */
void fl_backend_set_threads(int threads);

/* set_compute by the words of the config: float32, bfloat16, or auto for the backend's best. */
fl_status fl_backend_set_compute(const fl_backend_ops *ops, const char *word);

/* ops->replay, or body(context) where there is none. */
void fl_backend_replay(const fl_backend_ops *ops, const fl_replay_key *key,
                       void (*body)(void *context), void *context);

extern const fl_backend_ops fl_backend_cpu;
/* The same source twice (kernels/cuda): for devices, and run by the host; in builds with
 * FL_CUDA, FL_CUDA_EMU. */
extern const fl_backend_ops fl_backend_cuda, fl_backend_cuda_emu;

#endif
