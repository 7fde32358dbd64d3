/* How forward and backward attention cut their work.
 *
 * The unit is a strip: a few neighbouring query tokens of one sequence, for all query heads that
 * read one KV head.  In q[T,H*D] those heads lie side by side, so a strip is a matrix
 * [rows, D] with rows = tokens * group, copied once and multiplied with the keys of the sequence.
 * Strips depend on the shape alone, and with them the order of every sum.
 */
#ifndef FL_KERNELS_CPU_ATTENTION_H
#define FL_KERNELS_CPU_ATTENTION_H

#include "backend/ops.h"
#include "gemm.h"

/* Rows enough to share the packing of keys and values. */
enum { FL_STRIP_ROWS = 128, FL_STRIP_MIN_TOKENS = 8 };

/* Rows of scores are padded to whole vectors, so that their loops have no rest.  At least
 * FL_GEMM_MAX_MR, see FL_MASK_DEPTH. */
enum { FL_SCORE_ALIGN = 16 };
_Static_assert((int)FL_SCORE_ALIGN >= (int)FL_GEMM_MAX_MR, "masked products read so far");

typedef struct fl_strip {
    const fl_attn_shape *shape;
    int64_t start;  /* first token in the batch of the sequence, or of the one that it continues */
    int64_t shared; /* tokens of that one: keys from the start on; 0: it continues none */
    int64_t own; /* where its own tokens begin, counted from start; what lies between is others' */
    int64_t q0, q1; /* query tokens, counted from start */
    int64_t k0; /* places of keys are k0 .. q1-1: 0, or with a window near the first that q0 sees */
    int64_t kv; /* KV head */
    int64_t group;  /* query heads per KV head */
    int64_t rows;   /* (q1 - q0) * group; row r is token q0 + r / group */
    int64_t stride; /* elements between rows of scores: q1 - k0, padded */
} fl_strip;

/* The sequence that this one continues, itself if none. */
static inline int64_t fl_prefix_of(const fl_attn_shape *shape, int64_t sequence)
{
    return shape->prefix && shape->prefix[sequence] >= 0 ? shape->prefix[sequence] : sequence;
}

/* Tokens per strip. */
int64_t fl_strip_tokens(const fl_attn_shape *shape);

/* Strip number `index` of sequence `sequence` for KV head kv. */
fl_strip fl_strip_make(const fl_attn_shape *shape, int64_t sequence, int64_t kv, int64_t index);

/* What row r of scores[rows, stride] holds: places first .. last are the keys its token sees, and
 * `used` is the length up to the vector that holds the last of them. */
typedef struct fl_score_row {
    int64_t token, head; /* token counted from start, head of all H */
    int64_t first, last, used;
} fl_score_row;

/* The first key that a token sees, counted from start like the token. */
static inline int64_t fl_strip_first_key(const fl_strip *s, int64_t token)
{
    if (s->shape->window == 0) return 0;
    int64_t first = token - s->own + s->shared + 1 - s->shape->window; // as if without a gap
    if (first < 0) return 0;
    return first < s->shared ? first : first - s->shared + s->own;
}

static inline fl_score_row fl_strip_row(const fl_strip *s, int64_t r)
{
    fl_score_row row = {.token = s->q0 + r / s->group, .head = s->kv * s->group + r % s->group};
    row.last = row.token - s->k0;
    row.used = (row.last + FL_SCORE_ALIGN) / FL_SCORE_ALIGN * FL_SCORE_ALIGN;
    int64_t first = fl_strip_first_key(s, row.token) - s->k0;
    if (first > 0) row.first = first;
    return row;
}

/* Used places outside first .. last, and those of others' keys, become `value`. */
static inline void fl_strip_hide(const fl_strip *s, float *scores, const fl_score_row *row,
                                 float value)
{
    for (int64_t j = s->shared > s->k0 ? s->shared - s->k0 : 0; j < s->own - s->k0; j++)
        scores[j] = value;
    for (int64_t j = 0; j < row->first; j++)
        scores[j] = value;
    for (int64_t j = row->last + 1; j < row->used; j++)
        scores[j] = value;
}

/* Zeros behind those: one more vector is all that the masked products read. */
void fl_strip_clear(float *row, int64_t used, const fl_strip *s);

/* Copies heads of the strip between x[T,H*D] and strip[rows,D]; reading multiplies by factor. */
void fl_strip_read(float *strip, fl_act x, const fl_strip *s, float factor);
void fl_strip_write(fl_act x, const float *strip, const fl_strip *s);

/* out[rows, keys] = strip[rows,D] times the rows of x[T,KV*D] that are the strip's keys.  Places
 * behind a row's own token are undefined. */
void fl_strip_times_keys(float *out, const float *strip, fl_act x, const fl_strip *s, int slot);
/* out[rows,D] = p[rows, keys] times the same rows of x; p is zero behind a row's token. */
void fl_strip_mix_keys(float *out, const float *p, fl_act x, const fl_strip *s, int slot);
/* d[keys,D], of the same rows of d[T,KV*D], += p[rows, keys]^T x[rows,D]. */
void fl_strip_add_to_keys(fl_act d, const float *p, const float *x, const fl_strip *s, int slot);

#endif
