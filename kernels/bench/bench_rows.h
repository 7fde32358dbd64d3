/* The rows of bench_kernels: which operations at which shapes. */
#ifndef FL_KERNELS_BENCH_BENCH_ROWS_H
#define FL_KERNELS_BENCH_BENCH_ROWS_H

#include "backend/ops.h"

/* The operands of a row, in backend memory. */
typedef struct bench_case {
    const fl_backend_ops *ops;
    int64_t T, N, K, head; /* head: elements of one */
    float *x, *x2;         /* [T, K] */
    float *y, *y2, *y3;    /* [T, N] */
    float *w;              /* [N, K] fp32; norm weights, moments */
    float *v;              /* as large as w */
    float *rows;           /* [T, N / head] a number per row and head: rstd, log-sum-exp */
    double *loss;          /* [T] */
    int32_t *ids;          /* [T] zeros; positions, targets */
    fl_weight frozen;      /* [N, K] */
    fl_quant quant;
    fl_attn_shape shape;
    void *blocks[16]; /* everything above, to be released */
    int num_blocks;
} bench_case;

/* Operations: flops * T * N * K.  Bytes that must move: two for each of
 * tn * T * N + tk * T * K + nk * N * K elements, as bf16 has them. */
typedef struct bench_row {
    const char *name;
    void (*run)(bench_case *c);
    int64_t T; /* 0: the tokens of the command line */
    int64_t N, K;
    fl_format format; /* of the frozen weight */
    double flops, tn, tk, nk;
} bench_row;

extern const bench_row bench_rows[];
extern const size_t bench_row_count;

/* The row as it is run: with that many tokens where it has none of its own, tiny for tests. */
bench_row bench_row_sized(const bench_row *row, int64_t tokens, bool tiny);

/* Operands with random values of deviation 0.02.  Errors: FL_ERR_MEMORY, those of the backend. */
fl_status bench_case_open(bench_case *out, const fl_backend_ops *ops, const bench_row *row,
                          int64_t head);
void bench_case_close(bench_case *c);

#endif
