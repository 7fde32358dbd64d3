/* Linears that read the same input (q, k and v; o; gate and up; down) with their LoRA, as one call,
 * so that a backend can read the input once and multiply once.
 *
 * A batch may hold rows of several clients, each with an adapter of its own over the one base:
 * y = x W^T + bias + factor_c scale (drop_c(x) A_c^T) B_c^T for the rows of client c.  Whatever a
 * client gets is a function of its own rows: bits do not depend on who else is in the batch, as far
 * as those of a row of `linear_fwd` do not (backend/ops.h).
 */
#ifndef FL_BACKEND_LINEARS_H
#define FL_BACKEND_LINEARS_H

#include "backend/ops.h"
#include "tensor/factor.h"

enum { FL_MOST_LINEARS = 3 };

/* LoRA of one linear [rows, cols]. */
typedef struct fl_lora_slot {
    size_t a, b; /* element offsets of A [R, cols] and B [rows, R] in an adapter */
    int64_t r;   /* R; 0: the linear has none */
    float scale;
    fl_act t;       /* [T, R] = drop(x) A^T: written by fwd, read by bwd */
    bool shares_a;  /* A and t are those of the linear before it (parts of one fused matrix) */
    int64_t stream; /* number of its dropout stream */
} fl_lora_slot;

/* The adapters of the clients whose rows are in the batch.  Arrays are backend memory; those of a
 * few numbers per client are in host memory as well. */
typedef struct fl_adapters {
    int64_t clients;
    const int32_t *first, *host_first;  /* [clients+1] rows first[c] <= t < first[c+1] are c's */
    const double *factor, *host_factor; /* [clients] times a slot's scale */
    const float *weights;               /* [clients, stride] */
    float *grads;                       /* [clients, stride], bwd adds to it */
    size_t stride;                      /* elements of an adapter */
    unsigned frozen;                    /* factors without gradient: FL_FACTOR_A, FL_FACTOR_B */
    float dropout;
    const fl_rng *streams; /* [clients, num_streams]; NULL: no dropout */
    int64_t num_streams;
} fl_adapters;

struct fl_linears {
    int count;
    const fl_weight *w[FL_MOST_LINEARS];
    fl_act y[FL_MOST_LINEARS];   /* fwd: [T, rows] of each, overwritten; bwd: their gradients */
    fl_act add;                  /* fwd, count = 1: added to y, may be y; data NULL: nothing */
    const fl_adapters *adapters; /* NULL: the bare base, without `side` too */
    const fl_lora_slot *slot[FL_MOST_LINEARS];
    /* A change of the base that all clients share: W = W0 + B A, without gradient or dropout. */
    const float *side; /* NULL: none */
    const fl_lora_slot *side_slot[FL_MOST_LINEARS];
    /* Scratch, whatever its stride says: [T, cols], with dropout; [T, R] of the largest R, bwd. */
    fl_act dropped, dt;
};

/* All y of the group. */
void fl_linears_fwd(const fl_backend_ops *ops, const fl_linears *group, fl_act x, int64_t T);
/* dx[T, cols] = the sum of what the linears send back (+ dx when accumulate), unless dx.data is
 * NULL; gradients of A and B are added to adapters->grads.  x is what fwd saw. */
void fl_linears_bwd(const fl_backend_ops *ops, const fl_linears *group, fl_act dx, fl_act x,
                    int64_t T, bool accumulate);

#endif
