/* Everything is in logarithms: the moments of order 512 do not fit a double.  A is the moment,
 * RDP = log A / (alpha - 1). */
#include "fed/rdp.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b)
{
    double high = fmax(a, b), low = fmin(a, b);
    return low == -(double)INFINITY ? high : high + log1p(exp(low - high));
}

/* log erfc(x).  erfc itself is 0 in a double above 27; its asymptotic series is good to 1e-12 from
 * 20 on (Abramowitz and Stegun 7.1.23). */
static double log_erfc(double x)
{
    static const double root_pi = 1.7724538509055160273;
    if (x < 20) return log(erfc(x));
    double s = 1 / (2 * x * x);
    return -x * x - log(x * root_pi) + log1p(-s * (1 - s * (3 - s * (15 - s * 105))));
}

/* sum_i C(alpha,i) (1-q)^(alpha-i) q^i exp((i^2-i) / (2 z^2)), i = 0 .. alpha */
static double log_moment_whole(double q, double z, double alpha)
{
    double sum = -(double)INFINITY;
    for (double i = 0; i <= alpha; i++) {
        double log_binomial = lgamma(alpha + 1) - lgamma(i + 1) - lgamma(alpha - i + 1);
        sum = log_add(sum, log_binomial + i * log(q) + (alpha - i) * log1p(-q) +
                               (i * i - i) / (2 * z * z));
    }
    return sum;
}

/* Two series over i >= 0 with j = alpha - i.  C(alpha,i) changes its sign above alpha, so what is
 * added and what is taken away have their own sums. */
static double log_moment_fractional(double q, double z, double alpha)
{
    static const double small = -30, root_2 = 1.4142135623730950488;
    enum { MOST = 1 << 20 }; /* never reached: the terms fall at least as i^-3 */
    double z0 = z * z * log(1 / q - 1) + 0.5, added = -(double)INFINITY, taken = added;
    double log_q = log(q), log_p = log1p(-q), log_binomial = 0;
    bool positive = true;
    for (int n = 0; n < MOST; n++) {
        double i = n, j = alpha - i;
        double term0 = log_binomial + i * log_q + j * log_p + (i * i - i) / (2 * z * z) + log(0.5) +
                       log_erfc((i - z0) / (root_2 * z));
        double term1 = log_binomial + j * log_q + i * log_p + (j * j - j) / (2 * z * z) + log(0.5) +
                       log_erfc((z0 - j) / (root_2 * z));
        double *sum = positive ? &added : &taken;
        *sum = log_add(*sum, log_add(term0, term1));
        if (i > alpha && fmax(term0, term1) < small) break;
        log_binomial += log(fabs(j)) - log(i + 1);
        if (j < 0) positive = !positive;
    }
    return added + log1p(-exp(taken - added));
}

double fl_rdp_round(double q, double z, double alpha)
{
    if (q <= 0) return 0;
    if (q >= 1) return alpha / (2 * z * z);
    bool whole = alpha == floor(alpha);
    double moment = whole ? log_moment_whole(q, z, alpha) : log_moment_fractional(q, z, alpha);
    return fmax(moment, 0) / (alpha - 1);
}

void fl_rdp_init(fl_rdp *out, double q, double z, double delta)
{
    size_t n = 0;
    for (int i = 11; i <= 109; i++)
        out->order[n++] = i / 10.0;
    for (int i = 12; i <= 63; i++)
        out->order[n++] = i;
    for (int i = 128; i <= 512; i *= 2)
        out->order[n++] = i;
    for (n = 0; n < FL_RDP_ORDERS; n++)
        out->round[n] = fl_rdp_round(q, z, out->order[n]);
    out->delta = delta;
}

double fl_rdp_epsilon(const fl_rdp *rdp, int64_t rounds)
{
    double least = rounds > 0 ? (double)INFINITY : 0;
    for (size_t n = 0; n < FL_RDP_ORDERS; n++) {
        double a = rdp->order[n];
        double epsilon = (double)rounds * rdp->round[n] - (log(rdp->delta) + log(a)) / (a - 1) +
                         log((a - 1) / a);
        least = fmin(least, fmax(epsilon, 0));
    }
    return least;
}

/* epsilon grows with the rounds: bisection. */
int64_t fl_rdp_rounds_within(const fl_rdp *rdp, double budget, int64_t limit)
{
    int64_t good = 0, bad = limit + 1;
    while (bad - good > 1) {
        int64_t middle = good + (bad - good) / 2;
        if (fl_rdp_epsilon(rdp, middle) <= budget)
            good = middle;
        else
            bad = middle;
    }
    return good;
}
