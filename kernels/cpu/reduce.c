/* Sums over whole arrays. */
#include "cpu.h"
#include "isa.h"

/* On one thread: the order of the sum must not depend on threads, and the arrays (gradients of an
 * adapter) are read once a step. */
double fl_cpu_sum_squares(const float *x, int64_t n)
{
    return fl_isa_current()->vec->sum_squares(x, n);
}
