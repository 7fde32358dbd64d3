/* The rows of bench_kernels: which operations at which shapes, and their operands. */
#ifndef FL_KERNELS_BENCH_BENCH_ROWS_H
#define FL_KERNELS_BENCH_BENCH_ROWS_H

#include "backend/linears.h"

/* Which operands a row has. */
typedef enum bench_need {
    BENCH_WEIGHT = 1,   /* frozen */
    BENCH_GROUP = 2,    /* two halves of the weight's rows with their LoRA; BENCH_WEIGHT too */
    BENCH_ELEMENTS = 4, /* y2, y3, f, g */
    BENCH_ATTENTION = 8 /* dq, dk, dv, shape, scratch */
} bench_need;

enum { BENCH_R = 16 }; /* LoRA's rank */

/* The operands of a row, in backend memory; activations in the backend's type, or in fp32. */
typedef struct bench_case {
    const fl_backend_ops *ops;
    int64_t T, N, K, head; /* head: elements of one */
    fl_act x, x2;          /* [T, K] */
    fl_act y, y2, y3;      /* [T, N] */
    fl_act f, g;           /* [T, N] fp32: what stays so; g is 0; or logits [ops->loss_rows, N] */
    fl_act dq, dk, dv;     /* [T, N] gradients of attention */
    fl_act w;              /* [N, K] LoRA's factors, as activations */
    float *vector;         /* [N] norm weights */
    float *table;          /* [1, head] of RoPE */
    float *rows;           /* [T, N / head] a number per row and head: rstd, log-sum-exp */
    float *scratch;        /* of attention */
    double *loss;          /* [T] */
    int32_t *ids;          /* [T] zeros: positions, targets */
    fl_rng *stream;
    fl_weight frozen, half[2]; /* [N, K]; its first and its other rows */
    fl_quant quant;
    fl_attn_shape shape;
    fl_adapters adapters;
    fl_lora_slot slots[2];
    fl_linears group;
    int32_t host_first[2];
    double host_factor[1];
    void *blocks[40]; /* everything above, to be released */
    int num_blocks;
} bench_case;

/* Operations: flops * T * N * K.  Bytes that must move: two for each of
 * tn * T * N + tk * T * K + nk * N * K elements, as bf16 has them. */
typedef struct bench_row {
    const char *name;
    void (*run)(bench_case *c);
    unsigned needs;  /* bench_need */
    bool fp32;       /* x, y: not activations */
    int64_t T, N, K; /* T = 0: the tokens of the command line */
    fl_format format;
    double flops, tn, tk, nk;
} bench_row;

extern const bench_row bench_rows[];
extern const size_t bench_row_count;

/* The row as it is run: with that many tokens where it has none of its own, tiny for tests. */
bench_row bench_row_sized(const bench_row *row, int64_t tokens, bool tiny);

/* Operands with random values of deviation 0.02.  *out stays where it is.  Errors: FL_ERR_MEMORY,
 * those of the backend. */
fl_status bench_case_open(bench_case *out, const fl_backend_ops *ops, const bench_row *row,
                          int64_t head);
void bench_case_close(bench_case *c);

#endif
