/* Quantised matrices, as bitsandbytes defines them: what a frozen base may be kept in.
 *
 * int8: each row has absmax = max |w|; q = rint(w * (127 / absmax)), value = q * absmax / 127.
 * NF4 (Dettmers et al. 2023, arXiv 2305.14314): the matrix, row after row, in blocks of 64 with an
 * absmax each; a code of four bits is one of sixteen values in [-1, 1] times absmax.  Element 2j is
 * in the high half of byte j.  With double quantisation the absmax are themselves codes of eight
 * bits: absmax = map[code] * scale of 256 of them + offset.
 */
#ifndef FL_TENSOR_QUANT_H
#define FL_TENSOR_QUANT_H

#include "tensor/tensor.h"

typedef enum fl_format { FL_STORED, FL_INT8, FL_NF4 } fl_format; /* FL_STORED: a plain dtype */

enum { FL_NF4_BLOCK = 64, FL_ABSMAX_BLOCK = 256, FL_ABSMAX_CODES = 256 };

/* Pointers to backend memory; owns nothing. */
typedef struct fl_quant {
    fl_format format;
    int64_t cols;
    const void *codes;           /* int8 [rows, cols], or NF4 [rows * cols / 2] */
    const float *absmax;         /* int8 [rows]; NF4 [blocks], or NULL when those are codes: */
    const uint8_t *absmax_codes; /* [blocks] */
    const float *absmax_map;     /* [256] */
    const float *absmax_scale;   /* [blocks / 256, rounded up] */
    float absmax_offset;
} fl_quant;

/* q * absmax is multiplied by this. */
#define FL_INT8_STEP 7.874015718698502e-3f

extern const float fl_nf4_values[16];
/* bitsandbytes' signed dynamic map, ascending. */
void fl_dynamic_map(float out[FL_ABSMAX_CODES]);

/* absmax of NF4 block `block`. */
static inline float fl_nf4_absmax(const fl_quant *q, int64_t block)
{
    if (q->absmax) return q->absmax[block];
    return q->absmax_map[q->absmax_codes[block]] * q->absmax_scale[block / FL_ABSMAX_BLOCK] +
           q->absmax_offset;
}

/* One row of `count` finite values to int8; returns its absmax.  A row of zeros gives zeros. */
float fl_quantise_int8_row(int8_t *out, const float *x, int64_t count);
/* One block of at most 64 values, from an even place on; returns its absmax.  Comparisons with the
 * thresholds are strict, on x * (1 / absmax). */
float fl_quantise_nf4_block(uint8_t *out, const float *x, int64_t count);
/* `blocks` absmax to codes; *offset = their mean (in double, rounded once).  Each code is that of
 * the nearest entry of the map to (absmax - offset) * (1 / scale), the lower one of two as near. */
void fl_quantise_absmax(uint8_t *codes, float *scale, float *offset, const float *absmax,
                        int64_t blocks);

/* out = elements at .. at + count - 1 of the matrix, row after row: the plain form of what the
 * kernels do while they pack. */
void fl_dequantise(float *out, const fl_quant *q, int64_t at, int64_t count);

#endif
