/* Sums of a few rank-one matrices, in double precision and never written out: norms from Gram
 * matrices, and the singular value decomposition through two thin QR factorisations and a small
 * core.  Everything is computed in one fixed order, so results are the same bits everywhere.
 */
#ifndef FL_TENSOR_LOW_RANK_H
#define FL_TENSOR_LOW_RANK_H

#include "base/mem.h"

#include <stddef.h>

/* M [rows, cols] = sum_j x_j y_j^T; x [terms][rows] and y [terms][cols], one term after the other.
 */
typedef struct fl_low_rank {
    size_t rows, cols, terms, capacity;
    double *x, *y;
} fl_low_rank;

/* No terms yet, room for `capacity`; ended by fl_low_rank_fini.  Errors: FL_ERR_MEMORY. */
fl_status fl_low_rank_init(fl_low_rank *out, size_t rows, size_t cols, size_t capacity);
void fl_low_rank_fini(fl_low_rank *m); /* accepts a zeroed struct */

/* Adds factor * B A, with b [rows, r] and a [r, cols]; half of the factor on either side. */
void fl_low_rank_add(fl_low_rank *m, const float *b, const float *a, size_t r, double factor);

/* ||M||_F and ||M||_2.  Errors: FL_ERR_MEMORY. */
fl_status fl_low_rank_norms(const fl_low_rank *m, double *frobenius, double *spectral);

/* M = sum_j sigma_j u_j v_j^T. */
typedef struct fl_svd {
    size_t count;  /* min(rows, cols, terms) */
    double *sigma; /* [count] falling, >= 0 */
    double *u, *v; /* [count][rows], [count][cols]: orthonormal where sigma > 0; the largest entry
                      of each u_j is positive */
    fl_arena *arena;
} fl_svd;

/* Errors: FL_ERR_MEMORY. */
fl_status fl_low_rank_svd(fl_svd *out, const fl_low_rank *m);
void fl_svd_fini(fl_svd *svd); /* accepts a zeroed struct */

/* The smallest q with sum_{i<q} sigma_i^2 >= share * sum sigma_i^2, at most `most`. */
size_t fl_svd_rank(const fl_svd *svd, double share, size_t most);

#endif
