/* Groups of linears with the LoRA of several clients (backend/linears.h).
 *
 * Tolerance: entries are in [-1, 1].  A sum of K products is off by 2 K eps (test_gemm.c); what t
 * or dt is off by goes through another R or `rows` products of factors of at most 1.  With operands
 * rounded to bf16 the reference rounds them too, but t and dt may fall on the other side of a
 * boundary: one such step, 2^-8 of the largest, is allowed for each product that they enter, and
 * two roundings of what is stored in bf16. */
#include "linears_scene.h"
#include "reference.h"

enum { MOST_RESULTS = 1 << 20 };

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

/* Which operand is stored transposed. */
enum { NEITHER, LEFT, RIGHT };

/* to += factor op(a) op(b) */
static void add_product(double *to, const double *a, const double *b, int64_t M, int64_t N,
                        int64_t K, int transposed, double factor)
{
    double *product = check_host_double(M * N);
    ref_matmul(product, a, b, M, N, K, transposed == LEFT, transposed == RIGHT);
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
    add_product(t, x, a, T, R, cols, RIGHT, 1);
    want->t = largest(t, T * R, want->t);
    for (int64_t e = 0; e < T * R; e++)
        t[e] = operand(t[e], rounds || s->dtype == FL_BF16); // as it is stored
    add_product(want->y[i] + begin * rows, t, b, T, rows, R, RIGHT, scale);
    add_product(dt, dy, b, T, R, rows, NEITHER, scale);
    want->dt = largest(dt, T * R, want->dt);
    for (int64_t e = 0; e < T * R; e++)
        dt[e] = operand(dt[e], rounds);
    if (!(s->frozen & FL_FACTOR_B))
        add_product(want->grads + at + slot->b, dy, t, rows, R, T, LEFT, scale);
    if (!(s->frozen & FL_FACTOR_A))
        add_product(want->grads + at + slot->a, dt, x, R, cols, T, LEFT, 1);
    add_product(back, dt, a, T, cols, R, NEITHER, 1);
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
    add_product(want->dx, dy, w, T, cols, rows, NEITHER, 1);
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
    add_product(want->y[i], t, b, T, rows, 3, RIGHT, 1);
    add_product(want->dx, dt, a, T, cols, 3, NEITHER, 1);
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
    {.name = "squares", .count = 2, .rows = {530, 70}, .cols = 8, .r = {20, 7}, .clients = 2,
     .first = {0, 270, 300}, .aligned = true},
    {.name = "a large rank", .count = 2, .rows = {90, 66}, .cols = 72, .r = {70, 130}, .clients = 1,
     .first = {0, 66}, .dropout = 0.125f, .aligned = true, .gap = 8},
    {.name = "frozen A", .count = 1, .rows = {33}, .cols = 20, .r = {5}, .clients = 2,
     .first = {0, 4, 30}, .frozen = FL_FACTOR_A},
    {.name = "frozen B, change of the base", .count = 2, .rows = {16, 12}, .cols = 20, .r = {4, 0},
     .clients = 2, .first = {0, 10, 30}, .frozen = FL_FACTOR_B, .has_side = true},
    {.name = "no dx", .count = 2, .rows = {70, 16}, .cols = 20, .r = {40, 40}, .clients = 2,
     .first = {0, 66, 70}, .frozen = FL_FACTOR_A, .no_dx = true},
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
                            .rows = {270, 24},
                            .cols = 68,
                            .r = {8, 5},
                            .clients = 4,
                            .first = {0, 70, 75, 75, 340},
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
