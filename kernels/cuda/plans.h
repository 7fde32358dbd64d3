/* Which algorithm a product is made with: as a text, so that every rank and every repetition of a
 * run takes the same.  Nothing here knows the library: an algorithm is a row of numbers.
 *
 * The text: a line that names the format, one with what it was made for (device and library), one
 * with the names of the columns, then a line of numbers for each product. */
#ifndef FL_KERNELS_CUDA_PLANS_H
#define FL_KERNELS_CUDA_PLANS_H

#include "kernels/cuda/linear.h"

namespace FL_DEVICE
{

/* What an algorithm depends on.  Numbers alone, without padding: compared and hashed as they lie.
 */
enum plan_key_number {
    KEY_M,
    KEY_N,
    KEY_K,
    KEY_LDA,
    KEY_LDB,
    KEY_LDC, /* as KEY_LDD where C is not read */
    KEY_LDD,
    KEY_TRANS_A,
    KEY_TRANS_B,
    KEY_BITS, /* of an element of A and B: 16 is bf16, 32 is fp32 */
    KEY_BITS_D,
    KEY_READS_C,
    KEY_IN_PLACE,
    KEY_BIAS,
    KEY_ALIGNMENT, /* of the least aligned operand, in bytes up to 16 */
    KEY_NUMBERS
};
enum { ALGORITHM_NUMBERS = 9, MOST_CANDIDATES = 16, MOST_PLAN_LINES = 8192 };

struct PlanKey {
    int64_t number[KEY_NUMBERS];
};

/* id, tile, splits of K, reduction, swizzle, custom, stages, inner shape, cluster shape */
struct Algorithm {
    int64_t number[ALGORITHM_NUMBERS];
};

PlanKey key_of(const fl_blas_gemm &gemm);
bool is_same(const PlanKey &a, const PlanKey &b);

/* Device and library, one line; nullptr after a failure, which has been recorded.  One per build.
 */
const char *library_name();

/* What the text says of this product; nullptr: nothing. */
const Algorithm *find_plan(const PlanKey &key);
/* Warns, once, that the text has an algorithm that the library does not take. */
void refuse_plan();

/* Whether products that are met for the first time are timed: not while a graph is captured. */
bool is_tuning();
/* The candidate that is done soonest, of equals the last; run(context, i) launches candidate i,
 * which it does several times. */
int find_fastest(int count, void (*run)(void *context, int candidate), void *context);
void keep_plan(const PlanKey &key, const Algorithm &algorithm);

/* fl_device_ops */
fl_status read_plans(const char *path, const fl_buf *text);
void start_tuning();
fl_status write_plans(fl_buf *out);

} // namespace FL_DEVICE

#endif
