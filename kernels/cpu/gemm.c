#include "gemm.h"

#include "isa.h"
#include "threads.h"

/* Panels of A are kept for all of K when they fit (16 MB), so that A is packed once and not once
 * per NC columns.  Then blocks of B need not be wider than A is tall; with few rows they are used
 * while they are in L1. */
enum { WHOLE_A_FLOATS = 1 << 22 };

/* Up to so many columns of C, packing A costs more than reading it where it lies; the same for B
 * and rows. */
enum { DIRECT_A_COLUMNS = 128, DIRECT_B_ROWS = 32 };

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

/* One thread's part of a product: rows [m0, m1), columns [n0, n1), all of K. */
typedef struct c_part {
    const fl_product *product;
    const fl_gemm_kernels *kernels;
    int64_t m0, m1, n0, n1;
    int64_t mr; /* rows per panel: the most even cut of the rows into panels of at most the
                   kernels' height, so that 16 rows are 8 + 8 and not 14 + 2 */
    bool direct_a, direct_b; /* A is not packed; B is not packed but for a narrow last panel */
    float *pack_a, *pack_b;
    float *unpacked; /* scratch for a quantised B */
} c_part;

/* Rows [i0, i1), columns [j0, j1) and depth [k0, k0 + kc) of a part, with packed A for these rows.
 */
typedef struct c_block {
    int64_t i0, i1, j0, j1, k0, kc;
    const float *pack_a;
    bool accumulate;
} c_block;

/* One tile: `rows` rows from i, `columns` columns from j, depth [begin, end) of its block. */
typedef struct c_tile {
    int64_t i, rows, j, columns, begin, end;
} c_tile;

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

/* The panels of a block's columns, or only the last one where the others are read directly and it
 * is too narrow for that. */
static void pack_b_block(const c_part *part, const c_block *block)
{
    const fl_operand *b = &part->product->b;
    int64_t nr = part->kernels->nr, columns = block->j1 - block->j0;
    int64_t first = part->direct_b ? columns / nr * nr : 0;
    if (b->quant)
        fl_pack_quant(part->pack_b, nr, b, block->j0, columns, block->k0, block->kc,
                      part->kernels->pack, part->unpacked);
    else
        part->kernels->pack(part->pack_b + first * block->kc, nr, b, block->j0 + first,
                            columns - first, block->k0, block->kc, 1.0f);
}

/* Cuts off the depth that a mask makes void; an empty range leaves the tile out. */
static void apply_mask(const fl_product *p, const c_block *block, c_tile *tile)
{
    if (p->mask == FL_MASK_NONE) return;
    if (p->mask == FL_MASK_START) {
        int64_t first = (tile->i - p->diagonal) * p->group - block->k0;
        tile->begin = first > 0 ? first : 0;
        return;
    }
    int64_t last = p->diagonal + (tile->i + tile->rows - 1) / p->group; // key
    if (p->mask == FL_MASK_DEPTH) tile->end = min64(tile->end, last + 1 - block->k0);
    if (p->mask == FL_MASK_COLUMNS && tile->j > last) tile->end = 0;
}

/* Runs the micro-kernel into c; `half` computes only the first nr / 2 columns. */
static void call_kernel(const c_part *part, const c_block *block, const c_tile *tile, bool half,
                        float *c, int64_t stride, bool accumulate)
{
    const fl_gemm_kernels *kernels = part->kernels;
    int64_t depth = tile->end - tile->begin;
    const float *b = part->pack_b + (tile->j - block->j0) * block->kc + tile->begin * kernels->nr;
    int64_t b_k = kernels->nr;
    if (part->direct_b && tile->columns == kernels->nr) {
        b_k = part->product->b.stride;
        b = (const float *)part->product->b.data + (block->k0 + tile->begin) * b_k + tile->j;
    }
    if (!part->direct_a) {
        const float *a =
            block->pack_a + (tile->i - block->i0) * block->kc + tile->begin * tile->rows;
        kernels->tile[tile->rows](depth, a, b, b_k, c, stride, accumulate);
        return;
    }
    const fl_operand *from = &part->product->a;
    int64_t a_row = from->k_inner ? from->stride : 1, a_k = from->k_inner ? 1 : from->stride;
    const float *a = (const float *)from->data + tile->i * a_row + (block->k0 + tile->begin) * a_k;
    const fl_direct_fn *direct = half ? kernels->narrow : kernels->direct;
    direct[tile->rows](depth, a, a_row, a_k, b, c, stride, accumulate);
}

/* A tile that the kernel may not write as a whole is computed beside C and then moved; the sums are
 * those of the direct way. */
static void multiply_tile(const c_part *part, const c_block *block, const c_tile *tile)
{
    const fl_product *p = part->product;
    int64_t nr = part->kernels->nr;
    bool half = part->direct_a && 2 * tile->columns <= nr;
    float *c = p->c + tile->i * p->stride + tile->j;
    if (tile->columns == (half ? nr / 2 : nr)) {
        call_kernel(part, block, tile, half, c, p->stride, block->accumulate);
        return;
    }
    float copy[FL_GEMM_MAX_MR * FL_GEMM_MAX_NR];
    call_kernel(part, block, tile, half, copy, nr, false);
    for (int64_t i = 0; i < tile->rows; i++) {
        for (int64_t j = 0; j < tile->columns; j++) {
            float sum = copy[i * nr + j], *to = c + i * p->stride + j;
            *to = block->accumulate ? *to + sum : sum;
        }
    }
}

/* B's panel is the outer loop: it stays in L1 while A's panels come from L2. */
static void multiply_block(const c_part *part, const c_block *block)
{
    for (int64_t j = block->j0; j < block->j1; j += part->kernels->nr) {
        for (int64_t i = block->i0; i < block->i1; i += part->mr) {
            c_tile tile = {.i = i,
                           .rows = min64(part->mr, block->i1 - i),
                           .j = j,
                           .columns = min64(part->kernels->nr, block->j1 - j),
                           .begin = 0,
                           .end = block->kc};
            apply_mask(part->product, block, &tile);
            if (tile.begin < tile.end) multiply_tile(part, block, &tile);
        }
    }
}

static void multiply_part(const c_part *part, bool whole_a, int64_t mc, int64_t nc)
{
    const fl_product *p = part->product;
    c_block block = {.j0 = 0};
    for (block.j0 = part->n0; block.j0 < part->n1; block.j0 += nc) {
        block.j1 = min64(block.j0 + nc, part->n1);
        for (block.k0 = 0; block.k0 < p->K; block.k0 += FL_GEMM_KC) {
            block.kc = min64(FL_GEMM_KC, p->K - block.k0);
            block.accumulate = p->accumulate || block.k0 > 0;
            pack_b_block(part, &block);
            for (block.i0 = part->m0; block.i0 < part->m1; block.i0 += mc) {
                block.i1 = min64(block.i0 + mc, part->m1);
                int64_t rows = part->m1 - part->m0, above = block.i0 - part->m0;
                float *pack_a = part->pack_a;
                if (whole_a) pack_a += block.k0 * rows + above * block.kc;
                block.pack_a = pack_a;
                if (!part->direct_a && (!whole_a || block.j0 == part->n0))
                    pack_a_block(part, pack_a, block.i0, block.i1, block.k0, block.kc);
                multiply_block(part, &block);
            }
        }
    }
}

int64_t fl_gemm_panel_floats(int64_t product)
{
    int64_t a_floats = min64(product, WHOLE_A_FLOATS), blocked = FL_GEMM_MC * FL_GEMM_KC;
    if (product > WHOLE_A_FLOATS && a_floats < blocked) a_floats = blocked;
    return a_floats + FL_GEMM_NC * FL_GEMM_KC + FL_UNPACK_FLOATS + 2 * FL_GEMM_PAD;
}

static void run_part(c_part *part, int slot)
{
    const fl_product *p = part->product;
    const fl_gemm_kernels *kernels = part->kernels;
    int64_t rows = part->m1 - part->m0, columns = part->n1 - part->n0;
    if (rows <= 0 || columns <= 0) return;
    part->direct_a =
        kernels->direct && columns <= DIRECT_A_COLUMNS && p->a.dtype == FL_F32 && p->alpha == 1.0f;
    part->direct_b = rows <= DIRECT_B_ROWS && p->b.dtype == FL_F32 && !p->b.quant &&
                     !p->b.k_inner && !part->direct_a;
    part->mr = ceil_div(rows, ceil_div(rows, part->direct_a ? kernels->direct_mr : kernels->mr));
    bool whole_a = rows * p->K <= WHOLE_A_FLOATS;
    int64_t mc = FL_GEMM_MC / part->mr * part->mr;
    int64_t nc =
        whole_a ? min64(ceil_div(rows, kernels->nr) * kernels->nr, FL_GEMM_NC) : FL_GEMM_NC;
    int64_t kc = min64(FL_GEMM_KC, p->K);
    int64_t a_floats = whole_a ? rows * p->K : min64(mc, rows) * kc;
    int64_t b_floats = min64(nc, ceil_div(columns, kernels->nr) * kernels->nr) * kc;
    if (part->direct_a) a_floats = 0;
    part->pack_a = fl_scratch(slot, FL_SCRATCH_PACK_A, a_floats + FL_GEMM_PAD);
    part->pack_b = fl_scratch(slot, FL_SCRATCH_PACK_B, b_floats + FL_GEMM_PAD);
    if (p->b.quant) part->unpacked = fl_scratch(slot, FL_SCRATCH_UNPACK, FL_UNPACK_FLOATS);
    multiply_part(part, whole_a, mc, nc);
}

static void clear_c(const fl_product *p)
{
    for (int64_t i = 0; i < p->M; i++) {
        for (int64_t j = 0; j < p->N; j++)
            p->c[i * p->stride + j] = 0.0f;
    }
}

void fl_product_serial(const fl_product *p, int slot)
{
    if (p->K <= 0 && !p->accumulate) clear_c(p);
    if (p->K <= 0) return;
    c_part whole = {
        .product = p, .kernels = fl_isa_current()->gemm, .m0 = 0, .m1 = p->M, .n0 = 0, .n1 = p->N};
    run_part(&whole, slot);
}

/* Threads as a grid over C. */
typedef struct c_grid {
    const fl_product *product;
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
    const fl_product *p = grid->product;
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
    const fl_product *p = grid->product;
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
    c_grid grid = {.product = product, .kernels = fl_isa_current()->gemm};
    choose_grid(&grid, threads);
    fl_parallel_tasks(grid.m_parts * grid.n_parts, run_grid_part, &grid);
}
