/* Speeds of the CPU kernels, one JSON object per line on stdout.
 *
 * bench_ops [instruction set] [threads] [op]; op: only ops whose name begins so.  Matrix products
 * report GFLOP/s and their share of the peak of all threads, the others GB/s of what they must read
 * and write at least.  The peak is measured before and after: on a shared machine the two differ,
 * and only shares compare. */
#include "backend/dense.h"
#include "base/clock.h"
#include "kernels/cpu/isa.h"
#include "peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One case: its buffers and what it runs. */
typedef struct bench {
    const fl_backend_ops *ops;
    double peak; /* GFLOP/s of all threads */
    int64_t T, N, K;
    fl_weight w;
    float *a, *b, *c, *d, *e;
    fl_attn_shape shape;
} bench;

typedef void (*bench_fn)(bench *b);

static const char *only = "";

/* Best time of many: the machine is shared, the least disturbed run counts. */
static double best_seconds(bench *b, bench_fn fn)
{
    double best = 1e30, end = fl_clock_seconds() + 0.6;
    for (int run = 0; run < 5 || fl_clock_seconds() < end; run++) {
        double start = fl_clock_seconds();
        fn(b);
        double seconds = fl_clock_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static float *filled(int64_t count)
{
    float *x = NULL;
    FL_ASSERT(fl_alloc(&x, (size_t)count, sizeof *x) == FL_OK);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(i * 7919 % 1000) / 1000.0f - 0.5f;
    return x;
}

static void free_buffers(bench *b)
{
    fl_free((void *)b->w.data);
    fl_free(b->a);
    fl_free(b->b);
    fl_free(b->c);
    fl_free(b->d);
    fl_free(b->e);
    b->w.data = NULL;
    b->a = b->b = b->c = b->d = b->e = NULL;
}

static void report_flops(bench *b, const char *op, const char *dtype, double flops, bench_fn fn)
{
    if (strncmp(op, only, strlen(only)) != 0) return;
    double rate = flops / best_seconds(b, fn) * 1e-9;
    fprintf(stdout,
            "{\"op\": \"%s\", \"dtype\": \"%s\", \"shape\": [%lld, %lld, %lld], "
            "\"gflops\": %.1f, \"of_peak\": %.3f}\n",
            op, dtype, (long long)b->T, (long long)b->N, (long long)b->K, rate,
            b->peak > 0 ? rate / b->peak : 0);
    fflush(stdout);
}

static void report_bytes(bench *b, const char *op, double bytes, bench_fn fn)
{
    if (strncmp(op, only, strlen(only)) != 0) return;
    double seconds = best_seconds(b, fn);
    fprintf(stdout, "{\"op\": \"%s\", \"shape\": [%lld, %lld], \"gbs\": %.2f, \"us\": %.1f}\n", op,
            (long long)b->T, (long long)b->N, bytes / seconds * 1e-9, seconds * 1e6);
    fflush(stdout);
}

static void linear_fwd(bench *b)
{
    dense_linear_fwd(b->ops, b->c, b->a, &b->w, b->T, false);
}

static void linear_bwd(bench *b)
{
    dense_linear_bwd(b->ops, b->a, b->c, &b->w, b->T, false);
}

/* T x N x K: y[T,N] = x[T,K] W[N,K]^T and its backward pass. */
static void bench_linear(bench *b, fl_dtype dtype, int64_t T, int64_t N, int64_t K)
{
    b->T = T;
    b->N = N;
    b->K = K;
    b->a = filled(T * K);
    b->c = filled(T * N);
    uint16_t *half = NULL;
    if (dtype == FL_F32) {
        b->w.data = filled(N * K);
    } else {
        FL_ASSERT(fl_alloc(&half, (size_t)(N * K), sizeof *half) == FL_OK);
        for (int64_t i = 0; i < N * K; i++)
            half[i] = (uint16_t)(0x3c00 + i % 1000); // positive, around 0.01 to 1 in both formats
        b->w.data = half;
    }
    b->w.dtype = dtype;
    b->w.rows = N;
    b->w.cols = K;
    double flops = 2.0 * (double)T * (double)N * (double)K;
    report_flops(b, "linear_fwd", fl_dtype_name(dtype), flops, linear_fwd);
    report_flops(b, "linear_bwd", fl_dtype_name(dtype), flops, linear_bwd);
    free_buffers(b);
}

static void gemm_down(bench *b) // x A^T
{
    dense_gemm(b->ops, b->c, b->a, b->b, b->T, b->N, b->K, false, true, 1, 0);
}

static void gemm_up(bench *b) // t B^T added to y
{
    dense_gemm(b->ops, b->a, b->c, b->b, b->T, b->K, b->N, false, false, 2, 1);
}

static void gemm_grad(bench *b) // t^T x
{
    dense_gemm(b->ops, b->b, b->c, b->a, b->N, b->K, b->T, true, false, 1, 1);
}

/* The three products of a LoRA adapter of rank N on K features. */
static void bench_lora(bench *b, int64_t T, int64_t N, int64_t K)
{
    b->T = T;
    b->N = N;
    b->K = K;
    b->a = filled(T * K);
    b->b = filled(N * K);
    b->c = filled(T * N);
    double flops = 2.0 * (double)T * (double)N * (double)K;
    report_flops(b, "gemm_lora_down", "F32", flops, gemm_down);
    report_flops(b, "gemm_lora_up", "F32", flops, gemm_up);
    report_flops(b, "gemm_lora_grad", "F32", flops, gemm_grad);
    free_buffers(b);
}

static void attention_fwd(bench *b)
{
    dense_attention_fwd(b->ops, b->c, b->e, b->a, b->b, b->d, &b->shape);
}

static void attention_bwd(bench *b)
{
    float *dq = b->c + b->shape.T * b->shape.H * b->shape.D;
    float *dk = b->b + b->shape.T * b->shape.KV * b->shape.D;
    float *dv = b->d + b->shape.T * b->shape.KV * b->shape.D;
    dense_attention_bwd(b->ops, dq, dk, dv, b->a, b->c, b->e, b->a, b->b, b->d, &b->shape, NULL);
}

/* One sequence; FLOPs of the causal half only, so work above the diagonal counts as loss. */
static void bench_attention(bench *b, int64_t T, int64_t H, int64_t KV, int64_t D)
{
    int32_t cu[2] = {0, (int32_t)T};
    b->T = T;
    b->N = H;
    b->K = D;
    b->a = filled(T * H * D);
    b->b = filled(2 * T * KV * D);
    b->c = filled(2 * T * H * D);
    b->d = filled(2 * T * KV * D);
    b->e = filled(T * H);
    b->shape = (fl_attn_shape){.cu = cu, .S = 1, .T = T, .H = H, .KV = KV, .D = D, .scale = 0.125f};
    double product = 2.0 * (double)(T * (T + 1) / 2) * (double)(H * D);
    report_flops(b, "attention_fwd", "F32", 2 * product, attention_fwd);
    report_flops(b, "attention_bwd", "F32", 5 * product, attention_bwd);
    free_buffers(b);
}

static void rmsnorm_fwd(bench *b)
{
    dense_rmsnorm_fwd(b->ops, b->c, b->e, b->a, b->b, b->T, b->N, 1e-5f);
}

static void rmsnorm_bwd(bench *b)
{
    dense_rmsnorm_bwd(b->ops, b->d, b->c, b->a, b->b, b->e, b->T, b->N);
}

static void swiglu_fwd(bench *b)
{
    dense_swiglu_fwd(b->ops, b->c, b->a, b->d, b->T * b->N);
}

static void swiglu_bwd(bench *b)
{
    dense_swiglu_bwd(b->ops, b->a, b->d, b->c, b->a, b->d, b->T * b->N);
}

static void dropout(bench *b)
{
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    dense_dropout(b->ops, b->c, b->a, b->T * b->N, 0.05f, &rng, false);
}

static void adamw(bench *b)
{
    const fl_adamw opt = {1e-3, 0.9, 0.999, 1e-8, 0.01, 1, 3};
    for (int64_t i = 0; i < 4; i++) // v must not be negative
        b->d[i] = 0;
    b->ops->adamw(b->a, b->c, b->d, b->a, b->T * b->N, &opt);
}

static void cross_entropy(bench *b)
{
    static int32_t target[4096];
    static double loss[4096];
    dense_cross_entropy(b->ops, loss, b->c, target, b->a, b->T, b->N, true);
}

static void bench_elements(bench *b, int64_t T, int64_t N)
{
    double bytes = (double)(T * N) * sizeof(float);
    b->T = T;
    b->N = N;
    b->a = filled(T * N);
    b->b = filled(N);
    b->c = filled(T * N);
    b->d = filled(T * N);
    b->e = filled(T);
    report_bytes(b, "rmsnorm_fwd", 2 * bytes, rmsnorm_fwd);
    report_bytes(b, "rmsnorm_bwd", 4 * bytes, rmsnorm_bwd);
    report_bytes(b, "swiglu_fwd", 3 * bytes, swiglu_fwd);
    report_bytes(b, "swiglu_bwd", 5 * bytes, swiglu_bwd);
    report_bytes(b, "dropout", 2 * bytes, dropout);
    b->ops->zero(b->d, (size_t)bytes);
    report_bytes(b, "adamw", 7 * bytes, adamw);
    report_bytes(b, "cross_entropy", 4 * bytes, cross_entropy);
    free_buffers(b);
}

static double report_peak(int threads)
{
    double peak = fl_bench_peak(fl_isa_current()->name);
    fprintf(stdout, "{\"op\": \"peak_one_core\", \"isa\": \"%s\", \"gflops\": %.1f}\n",
            fl_isa_current()->name, peak);
    return peak * threads;
}

int main(int argc, char **argv)
{
    static const int64_t shapes[][3] = {{512, 2048, 2048}, {512, 5632, 2048}, {64, 2048, 2048},
                                        {1024, 192, 192},  {1024, 512, 192},  {512, 576, 576},
                                        {512, 1536, 576},  {1, 2048, 2048},   {8, 2048, 2048}};
    int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1;
    if (argc > 1 && !fl_isa_select(argv[1])) {
        fputs("bench_ops [avx512 | avx2 | portable] [threads] [op]\n", stderr);
        return 2;
    }
    if (argc > 3) only = argv[3];
    bench b = {.ops = fl_backend_find("cpu")};
    fl_backend_set_threads(threads);
    b.peak = report_peak(threads);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        bench_linear(&b, FL_F32, shapes[i][0], shapes[i][1], shapes[i][2]);
        bench_linear(&b, FL_BF16, shapes[i][0], shapes[i][1], shapes[i][2]);
    }
    bench_lora(&b, 512, 16, 2048);
    bench_lora(&b, 512, 32, 576);
    bench_attention(&b, 512, 9, 3, 64);
    bench_attention(&b, 2048, 9, 3, 64);
    bench_elements(&b, 512, 2048);
    report_peak(threads);
    return 0;
}
