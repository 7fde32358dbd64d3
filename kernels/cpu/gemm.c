#include "gemm.h"

#include "isa.h"
#include "threads.h"

/* Panels of A are kept for all of K when they fit (1 MB), so that A is packed once and not once per
 * NC columns; with few rows NC is small, to use packed B while it is in L1. */
enum { WHOLE_A_FLOATS = 1 << 22, SMALL_M = 64, SMALL_NC = 64 };

/* Below this many multiply-adds per thread, waking threads costs more than they bring. */
enum { MIN_WORK_PER_THREAD = 1 << 18 };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Blocks of K: as few as FL_GEMM_KC allows, of nearly equal depth.  A function of K alone. */
static int64_t block_depth(int64_t K)
{
    int64_t depth = ceil_div(K, ceil_div(K, FL_GEMM_KC));
    return ceil_div(depth, 8) * 8;
}

/* One thread's part of a product: rows [m0, m1), columns [n0, n1), all of K. */
typedef struct c_part {
    const fl_product *product;
    const fl_gemm_kernels *kernels;
    int64_t m0, m1, n0, n1;
    int64_t mr; /* rows per panel: the most even cut of the rows into panels of at most kernels->mr,
                   so that 16 rows are 8 + 8 and not 14 + 2 */
    int64_t kc; /* depth of a block */
    float *pack_a, *pack_b;
} c_part;

/* Panels of rows [i0, i1), each as wide as it has rows; panel p starts at p * mr * kc. */
static void pack_a_block(const c_part *part, float *out, int64_t i0, int64_t i1, int64_t k0,
                         int64_t kc)
{
    const fl_product *p = part->product;
    int64_t rest = (i1 - i0) % part->mr, whole = i1 - i0 - rest;
    part->kernels->pack(out, part->mr, &p->a, i0, whole, k0, kc, p->alpha);
    if (rest > 0)
        part->kernels->pack(out + whole * kc, rest, &p->a, i0 + whole, rest, k0, kc, p->alpha);
}

/* The tile at (i, j) where it is narrower than NR or C is transposed: computed beside and then
 * moved.  The sums are those of the direct way. */
static void tile_by_copy(const c_part *part, const float *a, const float *b, float *c, int64_t rows,
                         int64_t columns, int64_t kc, bool accumulate)
{
    const fl_product *p = part->product;
    float tile[FL_GEMM_MAX_MR * FL_GEMM_MAX_NR];
    int64_t nr = part->kernels->nr;
    part->kernels->tile[rows](kc, a, b, tile, nr, false);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            float sum = tile[i * nr + j], *to = c + i * p->c_row + j * p->c_col;
            *to = accumulate ? *to + sum : sum;
        }
    }
}

/* C[i0..i1, j0..j1) (+)= packed A times packed B.  B's panel is the outer loop: it stays in L1
 * while A's panels come from L2. */
static void multiply_block(const c_part *part, const float *pack_a, int64_t i0, int64_t i1,
                           int64_t j0, int64_t j1, int64_t kc, bool accumulate)
{
    const fl_product *p = part->product;
    int64_t nr = part->kernels->nr;
    for (int64_t j = j0; j < j1; j += nr) {
        const float *b = part->pack_b + (j - j0) * kc;
        int64_t columns = min64(nr, j1 - j);
        for (int64_t i = i0; i < i1; i += part->mr) {
            const float *a = pack_a + (i - i0) * kc;
            float *c = p->c + i * p->c_row + j * p->c_col;
            int64_t rows = min64(part->mr, i1 - i);
            if (columns == nr && p->c_col == 1) {
                part->kernels->tile[rows](kc, a, b, c, p->c_row, accumulate);
            } else {
                tile_by_copy(part, a, b, c, rows, columns, kc, accumulate);
            }
        }
    }
}

static void multiply_part(const c_part *part, bool whole_a, int64_t mc, int64_t nc)
{
    const fl_product *p = part->product;
    for (int64_t j = part->n0; j < part->n1; j += nc) {
        int64_t j1 = min64(j + nc, part->n1);
        for (int64_t k = 0; k < p->K; k += part->kc) {
            int64_t kc = min64(part->kc, p->K - k);
            bool accumulate = p->accumulate || k > 0;
            part->kernels->pack(part->pack_b, part->kernels->nr, &p->b, j, j1 - j, k, kc, 1.0f);
            for (int64_t i = part->m0; i < part->m1; i += mc) {
                int64_t i1 = min64(i + mc, part->m1);
                int64_t at = whole_a ? k * (part->m1 - part->m0) + (i - part->m0) * kc : 0;
                float *pack_a = part->pack_a + at;
                if (!whole_a || j == part->n0) pack_a_block(part, pack_a, i, i1, k, kc);
                multiply_block(part, pack_a, i, i1, j, j1, kc, accumulate);
            }
        }
    }
}

static void run_part(c_part *part, int slot)
{
    const fl_product *p = part->product;
    int64_t rows = part->m1 - part->m0, columns = part->n1 - part->n0;
    if (rows <= 0 || columns <= 0) return;
    int64_t mr = part->kernels->mr, nr = part->kernels->nr;
    part->mr = ceil_div(rows, ceil_div(rows, mr));
    bool whole_a = rows * p->K <= WHOLE_A_FLOATS;
    int64_t mc = FL_GEMM_MC / part->mr * part->mr;
    int64_t nc = rows <= SMALL_M && whole_a ? SMALL_NC : FL_GEMM_NC;
    part->kc = block_depth(p->K);
    part->pack_a = fl_scratch(slot, FL_SCRATCH_PACK_A,
                              (whole_a ? rows * p->K : min64(mc, rows) * part->kc) + FL_GEMM_PAD);
    part->pack_b = fl_scratch(slot, FL_SCRATCH_PACK_B,
                              min64(nc, ceil_div(columns, nr) * nr) * part->kc + FL_GEMM_PAD);
    multiply_part(part, whole_a, mc, nc);
}

static void clear_c(const fl_product *p)
{
    for (int64_t i = 0; i < p->M; i++) {
        for (int64_t j = 0; j < p->N; j++)
            p->c[i * p->c_row + j * p->c_col] = 0.0f;
    }
}

/* A few columns waste a wide tile; as rows they do not.  C^T = B^T A^T has the same sums. */
static fl_product oriented(const fl_product *product)
{
    fl_product p = *product;
    int64_t nr = fl_isa_current()->gemm->nr;
    if (p.M <= p.N || p.N >= 2 * nr || p.N % nr == 0) return p;
    p.a = product->b;
    p.b = product->a;
    p.M = product->N;
    p.N = product->M;
    p.c_row = product->c_col;
    p.c_col = product->c_row;
    p.flipped = true;
    return p;
}

void fl_product_serial(const fl_product *product, int slot)
{
    if (product->M <= 0 || product->N <= 0) return;
    if (product->K <= 0 && !product->accumulate) clear_c(product);
    if (product->K <= 0) return;
    fl_product p = oriented(product);
    c_part whole = {
        .product = &p, .kernels = fl_isa_current()->gemm, .m0 = 0, .m1 = p.M, .n0 = 0, .n1 = p.N};
    run_part(&whole, slot);
}

/* Threads as a grid over C. */
typedef struct c_grid {
    fl_product product;
    const fl_gemm_kernels *kernels;
    int64_t m_parts, n_parts;
} c_grid;

/* Boundary `index` of `parts` cuts of [0, count) at multiples of unit. */
static int64_t cut(int64_t count, int64_t unit, int64_t index, int64_t parts)
{
    return min64(ceil_div(count, unit) * index / parts * unit, count);
}

static void run_grid_part(int64_t task, int slot, void *arg)
{
    const c_grid *grid = arg;
    const fl_product *p = &grid->product;
    int64_t m = task / grid->n_parts, n = task % grid->n_parts;
    c_part part = {.product = p,
                   .kernels = grid->kernels,
                   .m0 = cut(p->M, grid->kernels->mr, m, grid->m_parts),
                   .m1 = cut(p->M, grid->kernels->mr, m + 1, grid->m_parts),
                   .n0 = cut(p->N, grid->kernels->nr, n, grid->n_parts),
                   .n1 = cut(p->N, grid->kernels->nr, n + 1, grid->n_parts)};
    run_part(&part, slot);
}

/* Each part packs its own operands: M/m_parts * K and N/n_parts * K elements.  Takes the divisor of
 * `threads` with the least packing. */
static void choose_grid(c_grid *grid, int64_t threads)
{
    const fl_product *p = &grid->product;
    int64_t best = INT64_MAX;
    for (int64_t m = 1; m <= threads; m++) {
        if (threads % m != 0) continue;
        int64_t packed = ceil_div(p->M, m) + ceil_div(p->N, threads / m);
        if (packed >= best) continue;
        best = packed;
        grid->m_parts = m;
        grid->n_parts = threads / m;
    }
}

void fl_product_run(const fl_product *product)
{
    int64_t work = product->M * product->N * product->K / MIN_WORK_PER_THREAD;
    int64_t threads = min64(fl_cpu_threads(), work);
    if (threads <= 1) {
        fl_product_serial(product, 0);
        return;
    }
    c_grid grid = {.product = oriented(product), .kernels = fl_isa_current()->gemm};
    choose_grid(&grid, threads);
    fl_parallel_tasks(grid.m_parts * grid.n_parts, run_grid_part, &grid);
}
