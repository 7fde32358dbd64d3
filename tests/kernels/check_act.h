/* Matrices of activations in the types and layouts that ops take.  A case runs in every layout: its
 * results are compared with the reference in the first, and have the same bits in all others. */
#ifndef FL_TESTS_KERNELS_CHECK_ACT_H
#define FL_TESTS_KERNELS_CHECK_ACT_H

#include "check.h"

/* `gap` elements, filled with NaN, behind every row; the first row begins on a boundary of 16 bytes
 * or one element behind one. */
typedef struct check_layout {
    int64_t gap;
    bool is_aligned;
} check_layout;

typedef struct check_act_run {
    const fl_backend_ops *ops;
    int number; /* of the layout */
    check_layout layout;
    int64_t num_results;
    float *first[6]; /* results in layout 0 */
} check_act_run;

typedef void check_act_fn(check_act_run *run, const void *context);
void check_act_layouts(const fl_backend_ops *ops, check_act_fn *fn, const void *context);

/* Does the backend keep activations in that type once it has been asked for it?  It is from then
 * on, until the next check_backend. */
bool check_takes(const fl_backend_ops *ops, fl_dtype dtype);

/* [T, C] with the values of `host`, which are rounded to dtype; host NULL: NaN. */
fl_act check_act(float *host, fl_dtype dtype, int64_t T, int64_t C, check_layout layout);

/* x [T, C] against want (host): as check_close, and half a unit in the last place more where x is
 * bf16: one rounding, whatever came before it. */
void check_act_result(check_act_run *run, const char *what, fl_act x, int64_t T, int64_t C,
                      const double *want, double absolute, double relative);

#endif
