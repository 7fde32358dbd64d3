#include "attention.h"

#include "isa.h"

#include <string.h>

void fl_strip_read(float *strip, const float *x, const fl_strip *s, const fl_attn_shape *shape,
                   float factor)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    int64_t width = s->group * shape->D; // the group's heads of one token
    for (int64_t t = s->q0; t < s->q1; t++) {
        const float *heads = x + (s->start + t) * shape->H * shape->D + s->kv * width;
        vec->scale(strip + (t - s->q0) * width, heads, factor, width);
    }
}

void fl_strip_write(float *x, const float *strip, const fl_strip *s, const fl_attn_shape *shape)
{
    int64_t width = s->group * shape->D;
    for (int64_t t = s->q0; t < s->q1; t++) {
        float *heads = x + (s->start + t) * shape->H * shape->D + s->kv * width;
        memcpy(heads, strip + (t - s->q0) * width, (size_t)width * sizeof(float));
    }
}

void fl_strip_times_keys(float *out, const float *strip, const float *x, const fl_strip *s,
                         const fl_attn_shape *shape, int slot)
{
    int64_t D = shape->D;
    fl_product product = {
        .a = {.data = strip, .dtype = FL_F32, .stride = D, .k_inner = true},
        .b = {.data = x + ((s->start + s->k0) * shape->KV + s->kv) * D,
              .dtype = FL_F32,
              .stride = shape->KV * D,
              .k_inner = true},
        .c = out,
        .c_row = s->keys,
        .c_col = 1,
        .M = s->rows,
        .N = s->keys,
        .K = D,
        .alpha = 1.0f,
    };
    fl_product_serial(&product, slot);
}

void fl_strip_mix_keys(float *out, const float *p, const float *x, float factor, const fl_strip *s,
                       const fl_attn_shape *shape, int slot)
{
    int64_t D = shape->D;
    fl_product product = {
        .a = {.data = p, .dtype = FL_F32, .stride = s->keys, .k_inner = true},
        .b = {.data = x + ((s->start + s->k0) * shape->KV + s->kv) * D,
              .dtype = FL_F32,
              .stride = shape->KV * D,
              .k_inner = false},
        .c = out,
        .c_row = D,
        .c_col = 1,
        .M = s->rows,
        .N = D,
        .K = s->keys,
        .alpha = factor,
    };
    fl_product_serial(&product, slot);
}
