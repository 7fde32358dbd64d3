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

static double change(const float *w, const float *y, size_t i)
{
    return w ? (double)y[i] - (double)w[i] : (double)y[i];
}

fl_update_fault fl_update_check(const float *w, const float *y, size_t count)
{
    fl_update_fault fault = FL_UPDATE_FINE;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(y[i])) return FL_UPDATE_NOT_FINITE;
        if (fabs(change(w, y, i)) >= FL_UPDATE_LIMIT) fault = FL_UPDATE_TOO_LARGE;
    }
    return fault;
}

fl_update_fault fl_update_add(int64_t *sum, const float *w, const float *y, size_t count,
                              double weight, int grid)
{
    fl_update_fault fault = fl_update_check(w, y, count);
    if (fault != FL_UPDATE_FINE) return fault;
    double scale = ldexp(weight, grid);
    for (size_t i = 0; i < count; i++)
        sum[i] += (int64_t)llrint(change(w, y, i) * scale);
    return FL_UPDATE_FINE;
}
