/* Packing of int8 and NF4: a few lines are widened into the cache, and packed from there as fp32.
 */
#include "gemm.h"
#include "isa.h"

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* NF4 elements at .. at + count - 1.  Halves of bytes at the ends one by one, whole bytes block by
 * block. */
static void widen_nf4(float *out, const fl_quant *q, int64_t at, int64_t count)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    const uint8_t *codes = q->codes;
    int64_t end = at + count;
    if (at % 2 && at < end) fl_dequantise(out++, q, at++, 1);
    while (at + 1 < end) {
        int64_t block = at / FL_NF4_BLOCK, stop = min64((block + 1) * FL_NF4_BLOCK, end);
        int64_t n = (stop - at) / 2 * 2;
        vec->nf4_widen(out, codes + at / 2, fl_nf4_absmax(q, block), n);
        out += n;
        at += n;
    }
    if (at < end) fl_dequantise(out, q, at, 1);
}

/* `count` elements of one row, from column `column` of row `row` of the operand. */
static void widen(float *out, const fl_operand *from, int64_t row, int64_t column, int64_t count)
{
    const fl_quant *q = from->quant;
    int64_t at = from->first + row * from->stride + column;
    if (q->format == FL_NF4) {
        widen_nf4(out, q, at, count);
        return;
    }
    const int8_t *codes = q->codes;
    fl_isa_current()->vec->int8_widen(out, codes + at, q->absmax[at / q->cols], count);
}

/* Panel by panel: the panel's lanes are rows, kc elements of each. */
static void pack_rows(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                      int64_t k0, int64_t kc, fl_pack_fn pack, float *unpacked)
{
    fl_operand piece = {.data = unpacked, .dtype = FL_F32, .stride = kc, .k_inner = true};
    for (int64_t i = 0; i < count; i += width) {
        int64_t lanes = min64(width, count - i);
        for (int64_t lane = 0; lane < lanes; lane++)
            widen(unpacked + lane * kc, from, i0 + i + lane, k0, kc);
        pack(out + i * kc, width, &piece, 0, lanes, 0, kc, 1.0f);
    }
}

/* Some panels at a time: rows go along k, their pieces are as wide as the panels together. */
static void pack_columns(float *out, int64_t width, const fl_operand *from, int64_t i0,
                         int64_t count, int64_t k0, int64_t kc, fl_pack_fn pack, float *unpacked)
{
    int64_t step = FL_UNPACK_COLUMNS / width * width;
    fl_operand piece = {.data = unpacked, .dtype = FL_F32, .stride = step, .k_inner = false};
    for (int64_t i = 0; i < count; i += step) {
        int64_t columns = min64(step, count - i);
        for (int64_t k = 0; k < kc; k++)
            widen(unpacked + k * step, from, k0 + k, i0 + i, columns);
        pack(out + i * kc, width, &piece, 0, columns, 0, kc, 1.0f);
    }
}

void fl_pack_quant(float *out, int64_t width, const fl_operand *from, int64_t i0, int64_t count,
                   int64_t k0, int64_t kc, fl_pack_fn pack, float *unpacked)
{
    if (from->k_inner)
        pack_rows(out, width, from, i0, count, k0, kc, pack, unpacked);
    else
        pack_columns(out, width, from, i0, count, k0, kc, pack, unpacked);
}
