/* What the operations of backend/ops.h take: matrices, weights, shapes, options. */
#ifndef FL_BACKEND_TYPES_H
#define FL_BACKEND_TYPES_H

#include "tensor/quant.h"

/* Backend memory is what `alloc` gives.  Callers touch it through the table alone, also where it
 * happens to be the host's: other devices have memory of their own.  All pointers of ops are
 * backend memory, those inside fl_weight, fl_quant and fl_attn_shape too; the structs themselves
 * are read by the host. */

/* A matrix of activations or their gradients, row after row: element c of row t is number
 * t * stride + c of `data`.  dtype is F32, or BF16 where the backend keeps activations so
 * (act_dtype).  data NULL: not there.  Whatever its type, an op computes in fp32 and rounds once,
 * to nearest, ties to even, when it stores; "accumulate" reads, adds in fp32 and rounds.  Unless a
 * line says otherwise all fl_act of a call have the same dtype. */
typedef struct fl_act {
    void *data;
    fl_dtype dtype;
    int64_t stride;
} fl_act;

static inline fl_act fl_f32(const float *data, int64_t stride)
{
    return (fl_act){.data = (void *)(uintptr_t)data, .dtype = FL_F32, .stride = stride};
}

/* The same matrix from row `row` and column `col` on. */
static inline fl_act fl_act_from(fl_act x, int64_t row, int64_t col)
{
    int64_t bytes = (row * x.stride + col) * (int64_t)fl_dtype_size(x.dtype);
    if (x.data) x.data = (char *)x.data + bytes;
    return x;
}

/* A frozen matrix [rows, cols], as stored: y = x W^T maps cols -> rows, as in Hugging Face files.
 * dtype F32, F16 or BF16, or int8 or NF4; the GEMM widens while it packs panels, there is no
 * widened copy. */
typedef struct fl_weight {
    const void *data; /* backend memory, or with host_memory a read-only file map, aligned to its
                         element */
    fl_dtype dtype;
    const fl_quant *quant; /* not NULL: data and dtype are not read, and the matrix begins at
                              element `first` of the quantised one, which has as many columns */
    int64_t first;
    int64_t rows, cols;
    const float *bias; /* [rows], added by linear_fwd; NULL: none */
} fl_weight;

/* A packed batch for attention: sequence s has the tokens cu[s] <= t < cu[s+1]; empty sequences are
 * allowed.  cu[0] = 0, cu[S] = T. */
typedef struct fl_attn_shape {
    const int32_t *cu; /* [S+1] */
    int64_t S, T;
    int64_t H, KV, D; /* H is a multiple of KV; query head h reads key/value head h / (H / KV) */
    float scale;      /* 1/sqrt(D) as a rule */
    float softcap;    /* score = softcap * tanh(scale q k / softcap); 0: score = scale q k */
    int64_t window;   /* a query sees the last `window` keys, its own included; 0: all before it */
    const int32_t *prefix; /* [S] sequence s continues sequence prefix[s]: its tokens also see all
                              of that one's, as if they stood in front of it; -1: it does not.
                              What continues a sequence follows it directly, and nothing
                              continues that.  NULL: no sequence continues another */
} fl_attn_shape;

/* AdamW in the form of the reference (bias correction outside, eps not corrected):
 * m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 * p -= lr * sqrt(1-b2^step)/(1-b1^step) * m / (sqrt(v) + eps);  p -= lr * weight_decay * p. */
typedef struct fl_adamw {
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale; /* g is multiplied by this first (clipping and averaging) */
    int64_t step;      /* counted from 1 */
} fl_adamw;

#endif
