/* Groups of linears with the LoRA of several clients (backend/linears.h).
 *
 * Tolerance: entries are in [-1, 1].  A sum of K products is off by 2 K eps (test_gemm.c); what t
 * or dt is off by goes through another R or `rows` products of factors of at most 1.  With operands
 * rounded to bf16 the reference rounds them too, but t and dt may fall on the other side of a
 * boundary: one such step, 2^-8 of the largest, is allowed for each product that they enter, and
 * two roundings of what is stored in bf16. */
#include "backend/linears.h"
#include "check.h"
#include "reference.h"

enum { MOST_CLIENTS = 5, STREAMS = 4, MOST_RESULTS = 1 << 20 };

typedef struct scene {
    const char *name;
    int count;
    int64_t rows[FL_MOST_LINEARS], cols, r[FL_MOST_LINEARS];
    int clients;
    int32_t first[MOST_CLIENTS + 1];
    float dropout;
    unsigned frozen;
    fl_dtype dtype; /* of activations */
    int64_t gap;    /* elements behind a row */
    bool aligned, joined, shares_a, no_base, has_bias, has_add, has_side, no_dx;
} scene;

static int64_t tokens_of(const scene *s)
{
    return s->first[s->clients];
}

static int64_t all_rows(const scene *s)
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

typedef struct data {
    fl_lora_slot slot[FL_MOST_LINEARS], side_slot[FL_MOST_LINEARS];
    size_t stride, side_size;
    float *x, *dy[FL_MOST_LINEARS], *w, *bias, *add, *adapters, *grads, *side;
    double factor[MOST_CLIENTS];
} data;

static void round_all(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = fl_bf16_to_f32(fl_f32_to_bf16(x[i]));
}

static data make_data(const scene *s)
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

typedef struct results {
    float *y[FL_MOST_LINEARS], *dx, *grads;
} results;

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

static results run(const fl_backend_ops *ops, const scene *s, data *d)
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

/* ---- reference ------------------------------------------------------------------------------ */

typedef struct wanted {
    double *y[FL_MOST_LINEARS], *dx, *grads;
    double t, dt; /* the largest */
} wanted;

/* As an operand. */
static double operand(double x, bool rounds)
{
    return rounds ? (double)fl_bf16_to_f32(fl_f32_to_bf16((float)x)) : x;
}

static double *operands(const float *x, int64_t count, bool rounds)
{
    double *out = check_host_double(count);
    for (int64_t i = 0; i < count; i++)
        out[i] = operand((double)x[i], rounds);
    return out;
}

static double largest(const double *x, int64_t count, double least)
{
    for (int64_t i = 0; i < count; i++)
        least = fmax(least, fabs(x[i]));
    return least;
}

/* to += factor op(a) op(b) */
static void add_product(double *to, const double *a, const double *b, int64_t M, int64_t N,
                        int64_t K, bool trans_a, bool trans_b, double factor)
{
    double *product = check_host_double(M * N);
    ref_matmul(product, a, b, M, N, K, trans_a, trans_b);
    for (int64_t i = 0; i < M * N; i++)
        to[i] += factor * product[i];
}

/* 1/(1-p) or 0 for every element of the client's input */
static double *mask_of(const scene *s, int client, int64_t stream, int64_t count)
{
    double *mask = check_host_double(count);
    fl_rng rng = fl_rng_make(9, FL_PURPOSE_DROPOUT, (uint64_t)client, (uint64_t)stream, 0, 0);
    for (int64_t i = 0; i < count; i++) {
        bool is_kept = s->dropout == 0 || fl_rng_uniform(&rng) >= s->dropout;
        mask[i] = is_kept ? 1 / (1 - (double)s->dropout) : 0;
    }
    return mask;
}

static void add_client(const scene *s, const data *d, wanted *want, int i, int c, bool rounds)
{
    const fl_lora_slot *slot = &d->slot[i];
    int64_t begin = s->first[c], T = s->first[c + 1] - begin, cols = s->cols, rows = s->rows[i];
    int64_t R = slot->r;
    size_t at = (size_t)c * d->stride;
    double scale = (double)(float)(d->factor[c] * (double)slot->scale);
    const double *a = operands(d->adapters + at + slot->a, R * cols, rounds);
    const double *b = operands(d->adapters + at + slot->b, R * rows, rounds);
    const double *dy = operands(d->dy[i] + begin * rows, T * rows, rounds);
    const double *mask = mask_of(s, c, slot->stream, T * cols);
    double *x = check_host_double(T * cols), *t = check_host_double(T * R);
    double *dt = check_host_double(T * R), *back = check_host_double(T * cols);
    for (int64_t e = 0; e < T * cols; e++)
        x[e] = operand((double)d->x[begin * cols + e] * mask[e], rounds);
    add_product(t, x, a, T, R, cols, false, true, 1);
    want->t = largest(t, T * R, want->t);
    for (int64_t e = 0; e < T * R; e++)
        t[e] = operand(t[e], rounds || s->dtype == FL_BF16); // as it is stored
    add_product(want->y[i] + begin * rows, t, b, T, rows, R, false, true, scale);
    add_product(dt, dy, b, T, R, rows, false, false, scale);
    want->dt = largest(dt, T * R, want->dt);
    for (int64_t e = 0; e < T * R; e++)
        dt[e] = operand(dt[e], rounds);
    if (!(s->frozen & FL_FACTOR_B))
        add_product(want->grads + at + slot->b, dy, t, rows, R, T, true, false, scale);
    if (!(s->frozen & FL_FACTOR_A))
        add_product(want->grads + at + slot->a, dt, x, R, cols, T, true, false, 1);
    add_product(back, dt, a, T, cols, R, false, false, 1);
    for (int64_t e = 0; e < T * cols; e++)
        want->dx[begin * cols + e] += back[e] * mask[e];
}

static void add_base(const scene *s, const data *d, wanted *want, int i, int64_t row, bool rounds)
{
    int64_t T = tokens_of(s), rows = s->rows[i], cols = s->cols;
    const double *x = operands(d->x, T * cols, rounds), *w;
    const double *dy = operands(d->dy[i], T * rows, rounds);
    w = operands(d->w + row * cols, rows * cols, rounds);
    ref_matmul(want->y[i], x, w, T, rows, cols, false, true);
    add_product(want->dx, dy, w, T, cols, rows, false, false, 1);
    for (int64_t e = 0; e < T * rows; e++) {
        if (s->has_bias) want->y[i][e] += (double)d->bias[row + e % rows];
        if (s->has_add) want->y[i][e] += (double)d->add[e];
    }
    if (!s->has_side || s->r[i] == 0) return;
    const double *a = operands(d->side + d->side_slot[i].a, 3 * cols, rounds);
    const double *b = operands(d->side + d->side_slot[i].b, 3 * rows, rounds);
    double *t = check_host_double(T * 3), *dt = check_host_double(T * 3);
    ref_matmul(t, x, a, T, 3, cols, false, true);
    ref_matmul(dt, dy, b, T, 3, rows, false, false);
    want->t = largest(t, T * 3, want->t);
    want->dt = largest(dt, T * 3, want->dt);
    add_product(want->y[i], t, b, T, rows, 3, false, true, 1);
    add_product(want->dx, dt, a, T, cols, 3, false, false, 1);
}

static wanted reference(const scene *s, const data *d, bool rounds)
{
    int64_t T = tokens_of(s), row = 0, size = s->clients * (int64_t)d->stride;
    wanted want = {.dx = check_widen(d->x, T * s->cols), .grads = check_widen(d->grads, size)};
    for (int i = 0; i < s->count; i++) {
        want.y[i] = check_host_double(T * s->rows[i]);
        add_base(s, d, &want, i, row, rounds);
        row += s->rows[i];
        for (int c = 0; c < s->clients && s->r[i] > 0; c++)
            add_client(s, d, &want, i, c, rounds);
    }
    return want;
}

static void compare(const scene *s, const data *d, const results *got, const wanted *want,
                    bool rounds)
{
    int64_t T = tokens_of(s), most_r = 3, rows = all_rows(s);
    for (int i = 0; i < s->count; i++)
        most_r = s->r[i] > most_r ? s->r[i] : most_r;
    double kept = 1 / (1 - (double)s->dropout), R = (double)most_r;
    double step = rounds || s->dtype == FL_BF16 ? 0x1p-8 : 0, chain = CHECK_EPS * 2 * kept;
    double stored = s->dtype == FL_BF16 ? 0x1p-8 : 0;
    double t_error = chain * (double)(s->cols + 4) + step * want->t;
    double dt_error = chain * (double)(rows + 4) + step * want->dt;
    if (s->dtype == FL_BF16) { // of every t of a sum, not of one
        t_error *= R;
        dt_error *= R;
    }
    for (int i = 0; i < s->count; i++) {
        double size = largest(want->y[i], T * s->rows[i], 1);
        check_close("y", check_copy(got->y[i], T * s->rows[i]), want->y[i], T * s->rows[i],
                    2 * t_error * R + chain * (double)(s->cols + 4) + stored * size, CHECK_EPS);
    }
    double size = largest(want->dx, T * s->cols, 1);
    if (got->dx)
        check_close("dx", check_copy(got->dx, T * s->cols), want->dx, T * s->cols,
                    3 * kept * dt_error * R + chain * (double)(rows + 4) + 3 * stored * size,
                    CHECK_EPS);
    int64_t count = s->clients * (int64_t)d->stride;
    double worst = t_error > dt_error ? t_error : dt_error;
    check_close("gradients", check_copy(got->grads, count), want->grads, count,
                3 * kept * worst * sqrt((double)T + 1) +
                    chain * (double)(T + 4) * (want->t + want->dt + 1),
                8 * CHECK_EPS);
}

/* ---- cases ---------------------------------------------------------------------------------- */

// clang-format off
static const scene scenes[] = {
    {.name = "one linear", .count = 1, .rows = {5}, .cols = 7, .r = {2}, .clients = 1, .first = {0, 3}},
    {.name = "one element", .count = 1, .rows = {1}, .cols = 1, .r = {1}, .clients = 1, .first = {0, 1}},
    {.name = "residual, gaps", .count = 1, .rows = {70}, .cols = 96, .r = {16}, .clients = 2,
     .first = {0, 65, 70}, .gap = 3, .has_add = true, .has_bias = true},
    {.name = "q k v", .count = 3, .rows = {40, 20, 12}, .cols = 24, .r = {4, 4, 4}, .clients = 3,
     .first = {0, 70, 70, 100}, .dropout = 0.25f, .aligned = true, .joined = true, .has_bias = true},
    {.name = "q k v of one A", .count = 3, .rows = {40, 20, 12}, .cols = 36, .r = {8, 8, 8},
     .clients = 2, .first = {0, 20, 45}, .dropout = 0.1f, .shares_a = true},
    {.name = "odd rows, dropout", .count = 2, .rows = {9, 33}, .cols = 67, .r = {3, 17}, .clients = 2,
     .first = {0, 66, 71}, .dropout = 0.5f, .no_dx = true},
    {.name = "pieces", .count = 2, .rows = {13, 2}, .cols = 1100, .r = {2, 1}, .clients = 2,
     .first = {0, 5, 40}, .aligned = true, .gap = 4},
    {.name = "spans", .count = 1, .rows = {3}, .cols = 8, .r = {2}, .clients = 2,
     .first = {0, 1030, 1040}},
    {.name = "a large rank", .count = 2, .rows = {90, 66}, .cols = 72, .r = {70, 130}, .clients = 1,
     .first = {0, 66}, .dropout = 0.125f, .aligned = true, .gap = 8},
    {.name = "frozen A", .count = 1, .rows = {33}, .cols = 20, .r = {5}, .clients = 2,
     .first = {0, 4, 30}, .frozen = FL_FACTOR_A},
    {.name = "frozen B, change of the base", .count = 2, .rows = {16, 12}, .cols = 20, .r = {4, 0},
     .clients = 2, .first = {0, 10, 30}, .frozen = FL_FACTOR_B, .has_side = true},
    {.name = "many clients", .count = 1, .rows = {16}, .cols = 64, .r = {16}, .clients = 5,
     .first = {0, 0, 64, 65, 193, 193}, .dropout = 0.25f, .aligned = true},
};
// clang-format on

/* The emulated device's results must not depend on the order in which its threads take turns. */
static struct {
    float *x;
    int64_t count;
    bool is_filled;
} earlier;

static void compare_orders(const results *got, const scene *s, const data *d, int64_t *at)
{
    const float *parts[FL_MOST_LINEARS + 2] = {got->dx, got->grads};
    int64_t counts[FL_MOST_LINEARS + 2] = {got->dx ? tokens_of(s) * s->cols : 0,
                                           s->clients * (int64_t)d->stride};
    if (strncmp(check_backend_name(), "cuda_emu", 8) != 0) return;
    for (int i = 0; i < s->count; i++) {
        parts[2 + i] = got->y[i];
        counts[2 + i] = tokens_of(s) * s->rows[i];
    }
    for (int i = 0; i < 2 + s->count; i++) {
        if (counts[i] == 0) continue;
        assert_true(*at + counts[i] <= MOST_RESULTS);
        size_t bytes = (size_t)counts[i] * sizeof(float);
        if (earlier.is_filled && memcmp(earlier.x + *at, parts[i], bytes) != 0)
            fail_msg("%s, %s: part %d depends on the order", check_backend_name(), s->name, i);
        memcpy(earlier.x + *at, parts[i], bytes);
        *at += counts[i];
    }
}

static void run_all(const fl_backend_ops *ops, fl_dtype compute, fl_dtype dtype)
{
    int64_t at = 0;
    if (ops->set_compute(compute) != FL_OK) return;
    for (int64_t i = 0; i < CHECK_COUNT(scenes); i++) {
        scene s = scenes[i];
        s.dtype = dtype;
        data d = make_data(&s);
        results got = run(ops, &s, &d);
        compare_orders(&got, &s, &d, &at);
        check_release();
        d = make_data(&s);
        got = run(ops, &s, &d);
        wanted want = reference(&s, &d, compute == FL_BF16);
        compare(&s, &d, &got, &want, compute == FL_BF16);
        check_release();
    }
    if (strncmp(check_backend_name(), "cuda_emu", 8) == 0) earlier.is_filled = true;
    assert_int_equal(ops->set_compute(FL_F32), FL_OK);
}

static bool takes_bf16(const fl_backend_ops *ops)
{
    return ops != &fl_backend_cpu;
}

static void run_everywhere(fl_dtype compute, fl_dtype dtype)
{
    const fl_backend_ops *ops;
    earlier.is_filled = false;
    assert_int_equal(fl_alloc(&earlier.x, MOST_RESULTS, sizeof(float)), FL_OK);
    for (int b = 0; (ops = check_backend(b)); b++)
        if (dtype == FL_F32 || takes_bf16(ops)) run_all(ops, compute, dtype);
    fl_free(earlier.x);
}

static void test_f32(void **state)
{
    (void)state;
    run_everywhere(FL_F32, FL_F32);
}

static void test_rounded_operands(void **state)
{
    (void)state;
    run_everywhere(FL_BF16, FL_F32);
}

static void test_bf16(void **state)
{
    (void)state;
    run_everywhere(FL_BF16, FL_BF16);
}

static void test_bf16_in_f32(void **state)
{
    (void)state;
    run_everywhere(FL_F32, FL_BF16);
}

/* ---- clients -------------------------------------------------------------------------------- */

/* Without a base, whose bits may depend on the number of rows (backend/ops.h). */
static const scene crowd = {.name = "clients",
                            .count = 2,
                            .rows = {40, 24},
                            .cols = 68,
                            .r = {8, 5},
                            .clients = 4,
                            .first = {0, 70, 75, 75, 204},
                            .dropout = 0.25f,
                            .no_base = true};

static void same_rows(const char *what, const float *all, const float *alone, int64_t begin,
                      int64_t T, int64_t C)
{
    if (memcmp(all + begin * C, alone, (size_t)(T * C) * sizeof *all) != 0)
        fail_msg("%s: %s depends on other clients", check_backend_name(), what);
}

/* Client c of `d` as the only one; its streams are those of client 0, so that is what it is given.
 */
static void run_alone(const fl_backend_ops *ops, const scene *s, data *d, const results *all, int c)
{
    scene own = *s;
    int64_t begin = s->first[c], T = s->first[c + 1] - begin;
    data part = *d;
    own.clients = 1;
    own.first[0] = 0;
    own.first[1] = (int32_t)T;
    part.x += begin * s->cols;
    for (int i = 0; i < s->count; i++)
        part.dy[i] += begin * s->rows[i];
    part.adapters += (size_t)c * d->stride;
    part.grads += (size_t)c * d->stride;
    part.factor[0] = d->factor[c];
    results alone = run(ops, &own, &part);
    for (int i = 0; i < s->count; i++)
        same_rows("y", all->y[i], alone.y[i], begin, T, s->rows[i]);
    same_rows("dx", all->dx, alone.dx, begin, T, s->cols);
    same_rows("gradients", all->grads, alone.grads, c, 1, (int64_t)d->stride);
}

static void run_crowd(const fl_backend_ops *ops, float dropout)
{
    scene s = crowd;
    s.dropout = dropout;
    for (int c = 0; c < s.clients; c++) {
        if (dropout > 0 && c > 0) break; // another client's masks are others
        data d = make_data(&s);
        results all = run(ops, &s, &d);
        run_alone(ops, &s, &d, &all, c);
        check_release();
    }
}

static void test_clients_are_independent(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (fl_dtype compute = FL_F32;; compute = FL_BF16) {
            if (ops->set_compute(compute) != FL_OK) break;
            run_crowd(ops, 0);
            run_crowd(ops, 0.25f);
            if (compute == FL_BF16) break;
        }
        assert_int_equal(ops->set_compute(FL_F32), FL_OK);
    }
}

/* One client's adapter, rows and gradients are NaN: the others' results have the bits that they
 * have without. */
static void run_ill(const fl_backend_ops *ops)
{
    enum { ILL = 1 };
    scene s = crowd;
    data d = make_data(&s);
    results well = run(ops, &s, &d);
    for (size_t e = 0; e < d.stride; e++)
        d.adapters[ILL * d.stride + e] = NAN;
    for (int64_t e = s.first[ILL] * s.cols; e < s.first[ILL + 1] * s.cols; e++)
        d.x[e] = NAN;
    results ill = run(ops, &s, &d);
    for (int c = 0; c < s.clients; c++) {
        int64_t begin = s.first[c], T = s.first[c + 1] - begin;
        if (c == ILL) continue;
        for (int i = 0; i < s.count; i++)
            same_rows("y", well.y[i], ill.y[i] + begin * s.rows[i], begin, T, s.rows[i]);
        same_rows("dx", well.dx, ill.dx + begin * s.cols, begin, T, s.cols);
        same_rows("gradients", well.grads, ill.grads + (size_t)c * d.stride, c, 1,
                  (int64_t)d.stride);
    }
    assert_true(isnan(ill.y[0][s.first[ILL] * s.rows[0]]));
    check_release();
}

static void test_one_ill_client(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        run_ill(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_rounded_operands),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bf16_in_f32),
        cmocka_unit_test(test_clients_are_independent),
        cmocka_unit_test(test_one_ill_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
