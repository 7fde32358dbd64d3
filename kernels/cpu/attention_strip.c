#include "attention.h"

#include "cpu.h"
#include "isa.h"

#include <string.h>

int64_t fl_strip_tokens(const fl_attn_shape *shape)
{
    int64_t tokens = FL_STRIP_ROWS * shape->KV / shape->H;
    return tokens > FL_STRIP_MIN_TOKENS ? tokens : FL_STRIP_MIN_TOKENS;
}

fl_strip fl_strip_make(const fl_attn_shape *shape, int64_t sequence, int64_t kv, int64_t index)
{
    int64_t tokens = fl_strip_tokens(shape);
    fl_strip s = {.shape = shape, .kv = kv, .group = shape->H / shape->KV};
    int64_t first = fl_prefix_of(shape, sequence);
    s.start = shape->cu[first];
    s.own = shape->cu[sequence] - s.start;
    if (first != sequence) s.shared = shape->cu[first + 1] - s.start;
    int64_t end = shape->cu[sequence + 1] - s.start;
    s.q0 = s.own + index * tokens;
    s.q1 = s.q0 + tokens < end ? s.q0 + tokens : end;
    s.rows = (s.q1 - s.q0) * s.group;
    s.k0 = fl_strip_first_key(&s, s.q0) / FL_SCORE_ALIGN * FL_SCORE_ALIGN;
    s.stride = (s.q1 - s.k0 + FL_SCORE_ALIGN - 1) / FL_SCORE_ALIGN * FL_SCORE_ALIGN;
    return s;
}

void fl_strip_clear(float *row, int64_t used, const fl_strip *s)
{
    int64_t rest = s->stride - used;
    if (rest > FL_SCORE_ALIGN) rest = FL_SCORE_ALIGN;
    memset(row + used, 0, (size_t)rest * sizeof *row);
}

void fl_strip_read(float *strip, fl_act x, const fl_strip *s, float factor)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    int64_t width = s->group * s->shape->D; // the group's heads of one token
    for (int64_t t = s->q0; t < s->q1; t++) {
        const float *heads = fl_cpu_floats(x) + (s->start + t) * x.stride + s->kv * width;
        vec->scale(strip + (t - s->q0) * width, heads, factor, width);
    }
}

void fl_strip_write(fl_act x, const float *strip, const fl_strip *s)
{
    int64_t width = s->group * s->shape->D;
    for (int64_t t = s->q0; t < s->q1; t++) {
        float *heads = fl_cpu_floats(x) + (s->start + t) * x.stride + s->kv * width;
        memcpy(heads, strip + (t - s->q0) * width, (size_t)width * sizeof(float));
    }
}

/* The three kinds of matrices around a strip. */
static fl_operand strip_rows(const float *strip, const fl_strip *s, bool k_inner)
{
    return (fl_operand){.data = strip, .dtype = FL_F32, .stride = s->shape->D, .k_inner = k_inner};
}

static fl_operand scores(const float *p, const fl_strip *s, bool k_inner)
{
    return (fl_operand){.data = p, .dtype = FL_F32, .stride = s->stride, .k_inner = k_inner};
}

static float *first_key(fl_act x, const fl_strip *s)
{
    return fl_cpu_floats(x) + (s->start + s->k0) * x.stride + s->kv * s->shape->D;
}

static fl_operand keys(fl_act x, const fl_strip *s, bool k_inner)
{
    return (fl_operand){
        .data = first_key(x, s), .dtype = FL_F32, .stride = x.stride, .k_inner = k_inner};
}

void fl_strip_times_keys(float *out, const float *strip, fl_act x, const fl_strip *s, int slot)
{
    fl_product product = {.a = strip_rows(strip, s, true),
                          .b = keys(x, s, true),
                          .c = out,
                          .stride = s->stride,
                          .M = s->rows,
                          .N = s->q1 - s->k0,
                          .K = s->shape->D,
                          .alpha = 1.0f,
                          .mask = FL_MASK_COLUMNS,
                          .diagonal = s->q0 - s->k0,
                          .group = s->group};
    fl_product_serial(&product, slot);
}

void fl_strip_mix_keys(float *out, const float *p, fl_act x, const fl_strip *s, int slot)
{
    fl_product product = {.a = scores(p, s, true),
                          .b = keys(x, s, false),
                          .c = out,
                          .stride = s->shape->D,
                          .M = s->rows,
                          .N = s->shape->D,
                          .K = s->q1 - s->k0,
                          .alpha = 1.0f,
                          .mask = FL_MASK_DEPTH,
                          .diagonal = s->q0 - s->k0,
                          .group = s->group};
    fl_product_serial(&product, slot);
}

void fl_strip_add_to_keys(fl_act d, const float *p, const float *x, const fl_strip *s, int slot)
{
    fl_product product = {.a = scores(p, s, false),
                          .b = strip_rows(x, s, false),
                          .c = first_key(d, s),
                          .stride = d.stride,
                          .M = s->q1 - s->k0,
                          .N = s->shape->D,
                          .K = s->rows,
                          .alpha = 1.0f,
                          .accumulate = true,
                          .mask = FL_MASK_START,
                          .diagonal = s->q0 - s->k0,
                          .group = s->group};
    fl_product_serial(&product, slot);
}
