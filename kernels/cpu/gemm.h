/* The matrix product behind linear_fwd, linear_bwd, gemm and attention.
 *
 * GotoBLAS scheme (Goto and van de Geijn 2008): blocks of both operands are packed into panels, and
 * a micro-kernel multiplies panels into a tile held in registers.  Only packing knows how operands
 * are stored.  Each element of C is one chain of multiply-adds over k inside a block of
 * FL_GEMM_KC, and blocks are added in order of k, whatever the tile, the edge or the thread: bits
 * depend on the element's own row of A and column of B alone.
 */
#ifndef FL_KERNELS_CPU_GEMM_H
#define FL_KERNELS_CPU_GEMM_H

#include "tensor/quant.h"

#include <stdbool.h>

/* KC is part of the numbers (it fixes the order of sums), the other two are only speed.
 * KC x NR of B stays in L1, MC x KC of A in L2, KC x NC of B in L2 or L3. */
enum {
    FL_GEMM_KC = 384,
    FL_GEMM_MC = 192,
    FL_GEMM_NC = 512,
    FL_GEMM_MAX_MR = 14,
    FL_GEMM_MAX_NR = 32,
    FL_GEMM_PAD = 16 /* floats that packing may write behind a panel */
};

/* One operand with elements (i, k): i counts rows of A or columns of B. */
typedef struct fl_operand {
    const void *data;
    fl_dtype dtype;
    int64_t stride;        /* elements between lines of the storage */
    bool k_inner;          /* true: (i, k) is at i * stride + k; false: at k * stride + i */
    const fl_quant *quant; /* B only; not NULL: element 0 is its element `first` */
    int64_t first;
} fl_operand;

/* Which part of a product matters when rows are queries and keys are masked: row r (a query)
 * belongs to token diagonal + r / group and sees the keys up to it.  What is left out would have
 * added zeros, so bits do not change.  Masked places of A are read up to FL_GEMM_MAX_MR from the
 * diagonal and must be zero there. */
typedef enum fl_mask {
    FL_MASK_NONE,
    FL_MASK_COLUMNS, /* C is [queries, keys]; masked places of it are undefined afterwards */
    FL_MASK_DEPTH,   /* A is [queries, keys] */
    FL_MASK_START    /* A is [keys, queries] */
} fl_mask;

/* C[M,N] = alpha A B (+ C when accumulate).  C(i, j) is at i * stride + j. */
typedef struct fl_product {
    fl_operand a, b;
    float *c;
    int64_t stride;
    int64_t M, N, K;
    float alpha;
    bool accumulate;
    fl_mask mask;
    int64_t diagonal, group; /* with a mask */
} fl_product;

/* Floats that a thread's panels take at the most when the first operand has `product` elements. */
int64_t fl_gemm_panel_floats(int64_t product);

/* Cut over all threads. */
void fl_product_run(const fl_product *product);
/* On the calling thread, for use inside a task that owns `slot`. */
void fl_product_serial(const fl_product *product, int slot);

/* Packs elements (i0 .. i0+count-1, k0 .. k0+kc-1), times alpha, to panels of `width` lanes: panel
 * p, lane l, is at out[(p * kc + k) * width + l].  Lanes past count are zero.  Writes up to
 * FL_GEMM_PAD floats behind the last panel. */
typedef void (*fl_pack_fn)(float *out, int64_t width, const fl_operand *from, int64_t i0,
                           int64_t count, int64_t k0, int64_t kc, float alpha);
void fl_pack_c(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
               int64_t k0, int64_t kc, float alpha);
void fl_pack_avx2(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                  int64_t k0, int64_t kc, float alpha);

/* The same for a quantised operand, in pieces of at most FL_UNPACK_FLOATS that are widened into
 * `unpacked` and then packed by `pack`; width <= FL_GEMM_MAX_NR, kc <= FL_GEMM_KC. */
enum { FL_UNPACK_COLUMNS = 64, FL_UNPACK_FLOATS = FL_UNPACK_COLUMNS * FL_GEMM_KC };
void fl_pack_quant(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                   int64_t k0, int64_t kc, fl_pack_fn pack, float *unpacked);

/* c[rows, nr] (+)= the sum over k < kc of a[k, rows] b[k, nr]; a is packed, line k of b is at
 * b + k * b_k (b_k = nr: packed), c has rows of `stride` elements. */
typedef void (*fl_tile_fn)(int64_t kc, const float *a, const float *b, int64_t b_k, float *c,
                           int64_t stride, bool accumulate);
/* The same with packed B and with A where it lies: (i, k) is at i * a_row + k * a_k. */
typedef void (*fl_direct_fn)(int64_t kc, const float *a, int64_t a_row, int64_t a_k, const float *b,
                             float *c, int64_t stride, bool accumulate);

/* Tables by number of rows, from 1; entry 0 is NULL. */
typedef struct fl_gemm_kernels {
    int mr, nr;
    const fl_tile_fn *tile;
    int direct_mr;              /* fewer rows than mr: each needs a pointer */
    const fl_direct_fn *direct; /* NULL: A is always packed */
    const fl_direct_fn *narrow; /* only the first nr / 2 columns; with direct */
    fl_pack_fn pack;
} fl_gemm_kernels;

extern const fl_gemm_kernels fl_gemm_c, fl_gemm_avx2, fl_gemm_avx512;

#endif
