/* Sums of client updates that are the same bits in any order and on any number of ranks.
 *
 * A client's update is its change of the adapter, Delta = y - w.  The server announces a grid:
 * Delta is multiplied by the client's weight n and by 2^grid, rounded once to a 64-bit integer, and
 * integers add exactly.  The grid is chosen so that no sum can overflow while every
 * |Delta| < FL_UPDATE_LIMIT; each update is rounded by less than 2^-51 of the mean, which fp32 does
 * not see.
 */
#ifndef FL_FED_UPDATE_H
#define FL_FED_UPDATE_H

#include "backend/ops.h"

#define FL_UPDATE_LIMIT 1024.0

/* The grid for clients whose weights add up to total_weight >= 1. */
int fl_update_grid(uint64_t total_weight);

typedef enum fl_update_fault {
    FL_UPDATE_FINE,
    FL_UPDATE_NOT_FINITE,
    FL_UPDATE_TOO_LARGE,
    FL_NUM_UPDATE_FAULTS
} fl_update_fault;
const char *fl_update_fault_text(fl_update_fault fault); /* "answered", "not finite", ... */

/* Is the change from w to y one that fl_update_add takes?  w = NULL: zeros, y is the change.
 * Vectors here are in the backend's memory. */
fl_update_fault fl_update_check(const fl_backend_ops *ops, const float *w, const float *y,
                                size_t count);

/* sum[i] += rint(weight * (y[i] - w[i]) * 2^grid), all or nothing: an update with a value that is
 * not finite, or a change of FL_UPDATE_LIMIT or more, is left out and the fault is returned.
 * weight: at most what the grid was made for; need not be whole.  w = NULL as above. */
fl_update_fault fl_update_add(const fl_backend_ops *ops, int64_t *sum, const float *w,
                              const float *y, size_t count, double weight, int grid);

/* The mean change of one element: sum / (2^grid * total_weight). */
double fl_update_mean(int64_t sum, int grid, uint64_t total_weight);

#endif
