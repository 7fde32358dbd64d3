/* How forward and backward attention cut their work.
 *
 * The unit is a strip: a few neighbouring query tokens of one sequence, for all query heads that
 * read one KV head.  In q[T,H,D] those heads lie side by side, so a strip is a matrix
 * [rows, D] with rows = tokens * group, copied once and multiplied with the keys of the sequence.
 * Strips depend on the shape alone, and with them the order of every sum.
 */
#ifndef FL_KERNELS_CPU_ATTENTION_H
#define FL_KERNELS_CPU_ATTENTION_H

#include "backend/ops.h"
#include "gemm.h"

/* Rows that make the products efficient, without much work above the diagonal. */
enum { FL_STRIP_ROWS = 64, FL_STRIP_MIN_TOKENS = 8 };

typedef struct fl_strip {
    int64_t start;  /* first token of the sequence in the batch */
    int64_t q0, q1; /* query tokens, counted from start; keys are 0 .. q1-1 */
    int64_t kv;     /* KV head */
    int64_t group;  /* query heads per KV head */
    int64_t rows;   /* (q1 - q0) * group; row r is token q0 + r / group */
} fl_strip;

static inline int64_t fl_strip_tokens(const fl_attn_shape *shape)
{
    int64_t tokens = FL_STRIP_ROWS * shape->KV / shape->H;
    return tokens > FL_STRIP_MIN_TOKENS ? tokens : FL_STRIP_MIN_TOKENS;
}

/* Copies heads of the strip between x[T,H,D] and strip[rows,D]; reading multiplies by factor. */
void fl_strip_read(float *strip, const float *x, const fl_strip *s, const fl_attn_shape *shape,
                   float factor);
void fl_strip_write(float *x, const float *strip, const fl_strip *s, const fl_attn_shape *shape);

/* out[rows, q1] = strip[rows,D] times the rows of x[T,KV,D] that are the strip's keys. */
void fl_strip_times_keys(float *out, const float *strip, const float *x, const fl_strip *s,
                         const fl_attn_shape *shape, int slot);
/* out[rows,D] = factor * p[rows, q1] times the same rows of x. */
void fl_strip_mix_keys(float *out, const float *p, const float *x, float factor, const fl_strip *s,
                       const fl_attn_shape *shape, int slot);

#endif
