#include "linears_scene.h"

int64_t tokens_of(const scene *s)
{
    return s->first[s->clients];
}

int64_t all_rows(const scene *s)
{
    int64_t sum = 0;
    for (int i = 0; i < s->count; i++)
        sum += s->rows[i];
    return sum;
}

/* ---- host data ------------------------------------------------------------------------------ */

/* A and B of all linears, one adapter; those that share A have the place of the first. */
static size_t place_slots(const scene *s, fl_lora_slot *slot)
{
    size_t at = 3;
    for (int i = 0; i < s->count; i++) {
        bool shares = s->shares_a && i > 0;
        slot[i] = (fl_lora_slot){.r = s->r[i],
                                 .scale = 0.5f + 0.25f * (float)i,
                                 .shares_a = shares,
                                 .stream = shares ? 1 : 1 + i,
                                 .a = shares ? slot[0].a : at};
        at += shares ? 0 : (size_t)(s->r[i] * s->cols);
        slot[i].b = at;
        at += (size_t)(s->r[i] * s->rows[i]);
    }
    return at + 2;
}

static void round_all(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = fl_bf16_to_f32(fl_f32_to_bf16(x[i]));
}

data make_data(const scene *s)
{
    int64_t T = tokens_of(s), rows = all_rows(s);
    data d = {.stride = 0};
    d.stride = place_slots(s, d.slot);
    d.x = check_random(1, T * s->cols);
    d.w = check_random(2, rows * s->cols);
    for (int64_t i = 0; s->no_base && i < rows * s->cols; i++)
        d.w[i] = 0;
    d.bias = check_random(3, rows);
    d.add = check_random(4, T * rows);
    d.adapters = check_random(5, s->clients * (int64_t)d.stride);
    d.grads = check_random(6, s->clients * (int64_t)d.stride);
    if (s->dtype == FL_BF16) round_all(d.x, T * s->cols);
    for (int i = 0; i < s->count; i++) {
        d.dy[i] = check_random((uint64_t)(10 + i), T * s->rows[i]);
        if (s->dtype == FL_BF16) round_all(d.dy[i], T * s->rows[i]);
        d.side_slot[i] = (fl_lora_slot){.r = 3, .a = d.side_size};
        d.side_size += (size_t)(3 * s->cols);
        d.side_slot[i].b = d.side_size;
        d.side_size += (size_t)(3 * s->rows[i]);
    }
    d.side = check_random(7, (int64_t)d.side_size);
    for (int c = 0; c < s->clients; c++)
        d.factor[c] = c == 0 ? 1 : 0.75 + 0.125 * c;
    return d;
}

/* ---- activations ---------------------------------------------------------------------------- */

/* A matrix with gaps of NaN, on a boundary of 64 bytes or one fp32 beside it; values NULL: NaN. */
static fl_act make_act(const scene *s, fl_dtype dtype, const float *values, int64_t T, int64_t C)
{
    int64_t stride = C + s->gap, lead = s->aligned ? 60 : 0;
    int64_t bytes = lead + T * stride * (int64_t)fl_dtype_size(dtype);
    float *image = check_host(bytes / 4 + 1);
    memset(image, 0xff, (size_t)bytes);
    char *begin = (char *)image + lead;
    for (int64_t t = 0; values && t < T; t++)
        for (int64_t c = 0; c < C; c++) {
            uint16_t half = fl_f32_to_bf16(values[t * C + c]);
            if (dtype == FL_F32)
                memcpy(begin + (t * stride + c) * 4, &values[t * C + c], 4);
            else
                memcpy(begin + (t * stride + c) * 2, &half, 2);
        }
    char *copy = (char *)check_copy(image, bytes / 4 + 1);
    return (fl_act){.data = copy + lead, .dtype = dtype, .stride = stride};
}

/* x[T,C] as floats; the gaps behind column `whole` hold what make_act left there. */
static float *read_act(const fl_backend_ops *ops, fl_act x, int64_t T, int64_t C, int64_t whole)
{
    float *out = check_host(T * C);
    size_t size = fl_dtype_size(x.dtype);
    char *image = (char *)check_host(T * x.stride + 1);
    if (T > 0)
        ops->copy_out(image, x.data,
                      (size_t)((T - 1) * x.stride + (whole > 0 ? x.stride : C)) * size);
    for (int64_t t = 0; t < T; t++) {
        const char *row = image + (size_t)(t * x.stride) * size;
        for (int64_t c = 0; c < C; c++) {
            uint16_t half;
            memcpy(&half, row + (size_t)c * size, sizeof half);
            if (x.dtype == FL_F32)
                memcpy(&out[t * C + c], row + (size_t)c * size, size);
            else
                out[t * C + c] = fl_bf16_to_f32(half);
        }
        for (size_t b = (size_t)whole * size; whole > 0 && b < (size_t)x.stride * size; b++)
            assert_int_equal((unsigned char)row[b], 0xff);
    }
    return out;
}

/* ---- running -------------------------------------------------------------------------------- */

/* What the group's structs point to. */
typedef struct stage {
    fl_linears group;
    fl_adapters adapters;
    fl_weight w[FL_MOST_LINEARS];
    fl_lora_slot slot[FL_MOST_LINEARS], side_slot[FL_MOST_LINEARS];
    fl_act x, dx, dy[FL_MOST_LINEARS];
} stage;

static void set_weights(stage *g, const scene *s, data *d)
{
    const float *w = check_copy(d->w, all_rows(s) * s->cols);
    const float *bias = check_copy(d->bias, all_rows(s));
    int64_t at = 0;
    for (int i = 0; i < s->count; i++) {
        int64_t rows = s->rows[i];
        g->w[i] = (fl_weight){.data = w + at * s->cols, .rows = rows, .cols = s->cols};
        if (!s->joined) g->w[i].data = check_copy(d->w + at * s->cols, rows * s->cols);
        if (s->has_bias) g->w[i].bias = bias + at;
        at += rows;
        g->group.w[i] = &g->w[i];
    }
}

static void set_outputs(stage *g, const scene *s, data *d)
{
    int64_t T = tokens_of(s), rows = all_rows(s), at = 0;
    float *dy = check_host(T * rows);
    for (int i = 0; i < s->count; i++) {
        for (int64_t t = 0; t < T; t++)
            for (int64_t n = 0; n < s->rows[i]; n++)
                dy[t * rows + at + n] = d->dy[i][t * s->rows[i] + n];
        at += s->rows[i];
    }
    fl_act all = make_act(s, s->dtype, NULL, T, rows), all_dy = make_act(s, s->dtype, dy, T, rows);
    at = 0;
    for (int i = 0; i < s->count; i++) {
        g->group.y[i] = fl_act_from(all, 0, at);
        g->dy[i] = fl_act_from(all_dy, 0, at);
        if (!s->joined) {
            g->group.y[i] = make_act(s, s->dtype, NULL, T, s->rows[i]);
            g->dy[i] = make_act(s, s->dtype, d->dy[i], T, s->rows[i]);
        }
        at += s->rows[i];
    }
    if (s->has_add) g->group.add = make_act(s, FL_F32, d->add, T, rows);
}

static void set_lora(stage *g, const scene *s, data *d)
{
    int64_t T = tokens_of(s), most = 0;
    fl_rng rng[MOST_CLIENTS * STREAMS];
    for (int i = 0; i < s->clients * STREAMS; i++)
        rng[i] =
            fl_rng_make(9, FL_PURPOSE_DROPOUT, (uint64_t)i / STREAMS, (uint64_t)i % STREAMS, 0, 0);
    const fl_rng *streams = (const fl_rng *)(const void *)check_copy(
        (const float *)(const void *)rng, (int64_t)sizeof rng / 4);
    g->adapters = (fl_adapters){.clients = s->clients,
                                .first = check_ints(s->first, s->clients + 1),
                                .host_first = s->first,
                                .host_factor = d->factor,
                                .stride = d->stride,
                                .frozen = s->frozen,
                                .dropout = s->dropout,
                                .streams = s->dropout > 0 ? streams : NULL,
                                .num_streams = STREAMS};
    g->adapters.weights = check_copy(d->adapters, s->clients * (int64_t)d->stride);
    g->adapters.grads = check_copy(d->grads, s->clients * (int64_t)d->stride);
    for (int i = 0; i < s->count; i++) {
        g->slot[i] = d->slot[i];
        g->slot[i].t = make_act(s, s->dtype, NULL, T, s->r[i] > 0 ? s->r[i] : 1);
        if (g->slot[i].shares_a) g->slot[i].t = g->slot[0].t;
        g->group.slot[i] = &g->slot[i];
        if (s->r[i] > most) most = s->r[i];
        g->side_slot[i] = d->side_slot[i];
        g->side_slot[i].t = make_act(s, s->dtype, NULL, T, 3);
        g->group.side_slot[i] = &g->side_slot[i];
    }
    g->group.adapters = &g->adapters;
    if (s->has_side) g->group.side = check_copy(d->side, (int64_t)d->side_size);
    g->group.dropped = make_act(s, s->dtype, NULL, T, s->cols);
    g->group.dt = make_act(s, s->dtype, NULL, T, most > 0 ? most : 1);
}

results run(const fl_backend_ops *ops, const scene *s, data *d)
{
    stage g = {.group.count = s->count};
    int64_t T = tokens_of(s), rows = all_rows(s);
    set_weights(&g, s, d);
    set_outputs(&g, s, d);
    set_lora(&g, s, d);
    double *factor = check_doubles(MOST_CLIENTS);
    ops->copy_in(factor, d->factor, sizeof d->factor);
    g.adapters.factor = factor;
    g.x = make_act(s, s->dtype, d->x, T, s->cols);
    g.dx = s->no_dx ? (fl_act){0} : make_act(s, s->dtype, d->x, T, s->cols);
    results out = {.dx = NULL};
    fl_linears_fwd(ops, &g.group, g.x, T);
    for (int i = 0; i < s->count; i++)
        out.y[i] = read_act(ops, g.group.y[i], T, s->rows[i], s->joined ? 0 : s->rows[i]);
    if (s->joined) read_act(ops, g.group.y[0], T, rows, rows);
    memcpy(g.group.y, g.dy, sizeof g.dy);
    g.group.add = (fl_act){0};
    fl_linears_bwd(ops, &g.group, g.dx, g.x, T, true);
    if (!s->no_dx) out.dx = read_act(ops, g.dx, T, s->cols, s->cols);
    int64_t size = s->clients * (int64_t)d->stride;
    out.grads = check_host(size);
    ops->copy_out(out.grads, g.adapters.grads, (size_t)size * sizeof(float));
    return out;
}
