/* The change of the base that the rounds have made so far, for methods that move it: for every
 * adapted matrix a pair of factors beside the adapter's, W = W0 + B A (+ s times the adapter's), in
 * fp32 whatever the base is stored in, since a change that is added to int8 or NF4 weights is lost
 * between two of their steps.
 *
 * Factors of further rounds are put behind the ones that are there, as they are.  When their number
 * reaches the smaller side of the matrix the change is written out, as its own product with the
 * identity: exact, and it grows no more.
 */
#ifndef FL_FED_SIDE_H
#define FL_FED_SIDE_H

#include "comm/transport.h"
#include "tensor/tensor.h"

typedef struct fl_side {
    const fl_params *layout; /* of the adapter: A [r, cols], B [rows, r] in turn; borrowed */
    fl_params rank;          /* one vector [pairs]: the factors of each pair */
    fl_params values;        /* one vector: A [rank, cols], B [rows, rank] of every pair in turn */
} fl_side;

/* No change yet.  Errors: FL_ERR_MEMORY. */
fl_status fl_side_init(fl_side *out, const fl_params *layout);
void fl_side_fini(fl_side *side); /* accepts a zeroed struct */

size_t fl_side_rank(const fl_side *side, size_t pair);
/* The factors of a pair. */
float *fl_side_a(const fl_side *side, size_t pair);
float *fl_side_b(const fl_side *side, size_t pair);

/* Zero factors of these ranks [pairs], in place of what there was.  Errors: FL_ERR_MEMORY. */
fl_status fl_side_set_ranks(fl_side *side, const size_t *rank);
/* No change any more. */
void fl_side_clear(fl_side *side);
/* side += more.  Errors: FL_ERR_MEMORY. */
fl_status fl_side_add(fl_side *side, const fl_side *more);
/* Collective: rank 0's. */
fl_status fl_side_bcast(fl_side *side, fl_transport *transport);
/* Do the values, as loaded from a file, fit the ranks?  Errors: FL_ERR_INPUT. */
fl_status fl_side_check(const fl_side *side);

/* *out = an adapter of the base as it was in the beginning: the change and s times the adapter's
 * factors side by side, scale 1.  scale: [pairs] s.  Owned by the caller (fl_params_fini).
 * Errors: FL_ERR_MEMORY. */
fl_status fl_side_join(fl_params *out, const fl_side *side, const float *adapter,
                       const double *scale);

#endif
