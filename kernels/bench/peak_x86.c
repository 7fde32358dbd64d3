#include "peak.h"

#include "base/clock.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

/* Twelve chains: latency 4 times two units needs eight, more do not hurt. */
enum { CHAINS = 12, STEPS = 200000, REPEATS = 40 };

/* Keeps results alive without printing them. */
static volatile float sink;

__attribute__((target("avx512f"))) static void run_avx512(void)
{
    __m512 x[CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        x[i] = _mm512_set1_ps((float)i);
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            x[i] = _mm512_fmadd_ps(x[i], a, b);
    }
    for (int i = 0; i < CHAINS; i++)
        sink = _mm512_reduce_add_ps(x[i]);
}

__attribute__((target("avx2,fma"))) static void run_avx2(void)
{
    __m256 x[CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        x[i] = _mm256_set1_ps((float)i);
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            x[i] = _mm256_fmadd_ps(x[i], a, b);
    }
    for (int i = 0; i < CHAINS; i++)
        sink = _mm256_cvtss_f32(x[i]);
}

double fl_bench_peak(const char *isa)
{
    bool wide = strcmp(isa, "avx512") == 0;
    if (!wide && strcmp(isa, "avx2") != 0) return 0;
    double best = 1e30;
    for (int i = 0; i < REPEATS; i++) {
        double start = fl_clock_seconds();
        if (wide) {
            run_avx512();
        } else {
            run_avx2();
        }
        double seconds = fl_clock_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    return 2.0 * CHAINS * STEPS * (wide ? 16 : 8) / best * 1e-9;
}
