/* Changes of an adapter: their size, and their sum as integers. */
#include "cpu.h"
#include "threads.h"

#include <math.h>

enum { ELEMENT_GRAIN = 8192 };

static double change(const float *y, const float *from, int64_t i)
{
    return from ? (double)y[i] - (double)from[i] : (double)y[i];
}

/* On one thread: it is asked once for a client. */
double fl_cpu_largest_change(const float *y, const float *from, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double size = fabs(change(y, from, i));
        if (!(size < (double)INFINITY)) return (double)INFINITY;
        if (size > largest) largest = size;
    }
    return largest;
}

typedef struct add_call {
    int64_t *sum;
    const float *y, *from;
    double factor;
} add_call;

static void add(int64_t begin, int64_t end, void *arg)
{
    const add_call *call = arg;
    for (int64_t i = begin; i < end; i++)
        call->sum[i] += (int64_t)llrint(change(call->y, call->from, i) * call->factor);
}

void fl_cpu_add_change(int64_t *sum, const float *y, const float *from, double factor, int64_t n)
{
    add_call call = {.sum = sum, .y = y, .from = from, .factor = factor};
    fl_parallel_for(n, ELEMENT_GRAIN, add, &call);
}
