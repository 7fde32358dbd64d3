#include "fed/update.h"

#include <math.h>

const char *fl_update_fault_text(fl_update_fault fault)
{
    static const char *const texts[FL_NUM_UPDATE_FAULTS] = {
        [FL_UPDATE_FINE] = "answered",
        [FL_UPDATE_NOT_FINITE] = "not finite",
        [FL_UPDATE_TOO_LARGE] = "too large",
    };
    return texts[fault];
}

double fl_update_mean(int64_t sum, int grid, uint64_t total_weight)
{
    return ldexp((double)sum, -grid) / (double)total_weight;
}

/* n * |Delta| * 2^grid < 2^62 summed over all clients: grid = 62 - 10 - ceil(log2(total)). */
int fl_update_grid(uint64_t total_weight)
{
    int bits = 0;
    while (bits < 40 && (UINT64_C(1) << bits) < total_weight)
        bits++;
    return 52 - bits;
}

fl_update_fault fl_update_check(const fl_backend_ops *ops, const float *w, const float *y,
                                size_t count)
{
    double largest = ops->largest_change(y, w, (int64_t)count);
    if (!isfinite(largest)) return FL_UPDATE_NOT_FINITE;
    return largest < FL_UPDATE_LIMIT ? FL_UPDATE_FINE : FL_UPDATE_TOO_LARGE;
}

fl_update_fault fl_update_add(const fl_backend_ops *ops, int64_t *sum, const float *w,
                              const float *y, size_t count, double weight, int grid)
{
    fl_update_fault fault = fl_update_check(ops, w, y, count);
    if (fault == FL_UPDATE_FINE) ops->add_change(sum, y, w, ldexp(weight, grid), (int64_t)count);
    return fault;
}
