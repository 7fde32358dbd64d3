#include "base/rng.h"

#include <math.h>

/* Uniform in (0, 1), 53 bits. */
static double open_uniform(fl_rng *rng)
{
    uint64_t high = fl_rng_u32(rng), low = fl_rng_u32(rng);
    return ((double)((high << 32 | low) >> 12) + 0.5) * 0x1p-52;
}

/* Standard normal by the polar method (Marsaglia and Bray 1964); the second draw is not kept. */
static double normal(fl_rng *rng)
{
    for (;;) {
        double x = 2 * open_uniform(rng) - 1, y = 2 * open_uniform(rng) - 1;
        double s = x * x + y * y;
        if (s > 0 && s < 1) return x * sqrt(-2 * log(s) / s);
    }
}

/* For shape >= 1. */
static double log_gamma_of_large(fl_rng *rng, double shape)
{
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = normal(rng), root = 1 + c * x;
        if (root <= 0) continue;
        double v = root * root * root, log_v = 3 * log(root);
        if (log(open_uniform(rng)) < x * x / 2 + d - d * v + d * log_v) return log(d) + log_v;
    }
}

/* A draw of shape a is one of shape a + 1 times u^(1/a). */
double fl_rng_log_gamma(fl_rng *rng, double shape)
{
    FL_ASSERT(shape > 0);
    if (shape >= 1) return log_gamma_of_large(rng, shape);
    double larger = log_gamma_of_large(rng, shape + 1);
    return larger + log(open_uniform(rng)) / shape;
}
