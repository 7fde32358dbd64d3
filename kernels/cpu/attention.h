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
    int64_t q0, q1; /* query tokens, counted from start */
    int64_t k0;     /* keys are k0 .. q1-1, counted from start */
    int64_t keys;   /* q1 - k0 */
    int64_t kv;     /* KV head */
    int64_t group;  /* query heads per KV head */
    int64_t rows;   /* (q1 - q0) * group; row r is token q0 + r / group */
} fl_strip;

static inline int64_t fl_strip_tokens(const fl_attn_shape *shape)
{
    int64_t tokens = FL_STRIP_ROWS * shape->KV / shape->H;
    return tokens > FL_STRIP_MIN_TOKENS ? tokens : FL_STRIP_MIN_TOKENS;
}

/* Sets the strip's keys: those that some query of it sees. */
static inline void fl_strip_set_keys(fl_strip *s, const fl_attn_shape *shape)
{
    bool cut = shape->window > 0 && s->q0 >= shape->window;
    s->k0 = cut ? s->q0 + 1 - shape->window : 0;
    s->keys = s->q1 - s->k0;
}

/* Row r of scores[rows, keys]: the keys that its query sees are first .. first + count - 1. */
static inline int64_t fl_strip_visible(const fl_strip *s, const fl_attn_shape *shape, int64_t r,
                                       int64_t *count)
{
    int64_t token = s->q0 + r / s->group, first = s->k0;
    if (shape->window > 0 && token + 1 - shape->window > first) first = token + 1 - shape->window;
    *count = token + 1 - first;
    return first - s->k0;
}

/* Copies heads of the strip between x[T,H,D] and strip[rows,D]; reading multiplies by factor. */
void fl_strip_read(float *strip, const float *x, const fl_strip *s, const fl_attn_shape *shape,
                   float factor);
void fl_strip_write(float *x, const float *strip, const fl_strip *s, const fl_attn_shape *shape);

/* out[rows, keys] = strip[rows,D] times the rows of x[T,KV,D] that are the strip's keys. */
void fl_strip_times_keys(float *out, const float *strip, const float *x, const fl_strip *s,
                         const fl_attn_shape *shape, int slot);
/* out[rows,D] = factor * p[rows, keys] times the same rows of x. */
void fl_strip_mix_keys(float *out, const float *p, const float *x, float factor, const fl_strip *s,
                       const fl_attn_shape *shape, int slot);

#endif
