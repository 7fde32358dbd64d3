/* Bounds.  u = 2^-8 is half a unit in the last place of bf16, relative to the value.
 *
 * fp32: the same formula with other orders of sums and other exp: errors of single terms are some
 * 2^-24, sums of n independent ones grow like sqrt(n), n is below 2^9 here: 1e-6.
 *
 * bf16: both sides round at the same places (rounded.c), so a stored value differs only where the
 * fp32 values a and b lie on two sides of a boundary between bf16 values.  That has the probability
 * |a - b| / ulp, and then the difference is one ulp: its expected square is ulp |a - b|, summed
 * over a tensor at most |ulp| |a - b| (Cauchy), ulp <= 2 u |a|.  So with a relative difference e
 * before the rounding the expected one after it is sqrt(2 u e): 1e-4 for e = 1e-6, of which one
 * element in some thousand is responsible.  The bound is twice that, and in addition the largest
 * element may flip once, which in a small tensor is more than its share.  What is computed from
 * such values begins with that e.
 *
 * bf16 attention: P is rounded as it enters P V, relative to the running maximum, here it is not;
 * so is dS.  The error of one rounding is uniform, its root mean square at most u / sqrt(3), and
 * independent ones add up in squares.  out and dv: P (for dv also dO, which is the same on both
 * sides) and the result of either side, u in all; dq and dk: also dS, and delta from a rounded out,
 * 1.3 u.  The bounds are twice that, since small tensors do not average. */
#include "case.h"

#include "rounded.h"

#include <stdio.h>

enum { MAX_RESULTS = 16, ALIGNMENT = 64 };

static const double FP32 = 1e-6, U = 0x1p-8;

typedef struct result {
    const char *what;
    double *values;
    int64_t count;
    case_bound bound;
    bool is_narrow;
} result;

/* Of the cpu backend, and of the one that is compared. */
static result results[2][MAX_RESULTS];
static int num_results[2], side;
static double most_seen;
static char most_seen_in[100];

/* ---- inputs --------------------------------------------------------------------------------- */

static float *next_random(case_run *run, int64_t count)
{
    return check_random(++run->seed, count);
}

/* The elements in front of an activation that is on a boundary: buffers begin one behind it. */
static int64_t lead_of(const case_run *run, fl_dtype dtype)
{
    return run->is_aligned ? ALIGNMENT / (int64_t)fl_dtype_size(dtype) - 1 : 0;
}

/* host: [T, C], or NULL */
static fl_act make_act(case_run *run, const float *host, int64_t T, int64_t C)
{
    fl_dtype dtype = run->row->wide >> run->num_acts++ & 1 ? FL_F32 : run->dtype;
    size_t size = fl_dtype_size(dtype);
    int64_t stride = C + run->row->gap, lead = lead_of(run, dtype), count = lead + T * stride;
    char *image = (char *)check_host((count * (int64_t)size + 3) / 4);
    memset(image, 0xff, (size_t)count * size);
    for (int64_t t = 0; t < T && host; t++)
        (void)fl_from_f32(image + (size_t)(lead + t * stride) * size, dtype, host + t * C,
                          (size_t)C);
    char *data = check_buffer(image, count, size);
    return (fl_act){.data = data + (size_t)lead * size, .dtype = dtype, .stride = stride};
}

fl_act case_act(case_run *run, int64_t T, int64_t C)
{
    return make_act(run, next_random(run, T * C), T, C);
}

fl_act case_blank(case_run *run, int64_t T, int64_t C)
{
    return make_act(run, NULL, T, C);
}

fl_act case_rows(case_run *run, int64_t blocks, int64_t capacity, const int32_t *lengths, int64_t C)
{
    float *host = next_random(run, blocks * capacity * C);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t i = lengths[b] * C; i < capacity * C; i++)
            host[b * capacity * C + i] = NAN;
    return make_act(run, host, blocks * capacity, C);
}

float *case_floats(case_run *run, int64_t count, float size)
{
    float *host = next_random(run, count);
    for (int64_t i = 0; i < count; i++)
        host[i] *= size;
    return check_copy(host, count);
}

int32_t *case_numbers(case_run *run, int64_t count, int64_t below)
{
    const float *x = next_random(run, count);
    int32_t *host = (int32_t *)check_host(count);
    for (int64_t i = 0; i < count; i++)
        host[i] = (int32_t)((float)below * fabsf(x[i])) % (int32_t)below;
    return check_ints(host, count);
}

fl_weight case_weight_of(case_run *run, case_weight format, int64_t rows, int64_t cols)
{
    static const fl_dtype plain[] = {FL_F32, FL_BF16, FL_F16};
    static check_quantised kept[CASE_LINEARS]; // until the run ends
    float *host = next_random(run, rows * cols);
    if (format <= WEIGHT_F16) return check_weight(host, plain[format], rows, cols);
    check_quantised *q = &kept[run->seed % CASE_LINEARS];
    *q = check_quantise(host, format == WEIGHT_INT8 ? FL_INT8 : FL_NF4, format == WEIGHT_NF4_NESTED,
                        rows, cols);
    return (fl_weight){.quant = &q->quant, .rows = rows, .cols = cols};
}

/* ---- results -------------------------------------------------------------------------------- */

static double *add_result(const char *what, int64_t count, case_bound bound)
{
    assert_true(num_results[side] < MAX_RESULTS);
    result *r = &results[side][num_results[side]++];
    *r = (result){.what = what, .count = count, .bound = bound};
    assert_int_equal(fl_alloc(&r->values, (size_t)count, sizeof *r->values), FL_OK);
    return r->values;
}

static void forget_results(void)
{
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < num_results[s]; i++)
            fl_free(results[s][i].values);
        num_results[s] = 0;
    }
}

/* The rows of x in fp32, and a look at what lies between them. */
static void read_act(const case_run *run, const char *what, fl_act x, int64_t T, int64_t C,
                     double *out)
{
    size_t size = fl_dtype_size(x.dtype);
    int64_t count = T * x.stride;
    unsigned char *image = (unsigned char *)check_host((count * (int64_t)size + 3) / 4);
    float *row = check_host(C);
    run->ops->copy_out(image, x.data, (size_t)count * size);
    for (int64_t t = 0; t < T; t++) {
        const unsigned char *at = image + (size_t)(t * x.stride) * size;
        fl_to_f32(row, at, x.dtype, (size_t)C);
        for (int64_t c = 0; c < C; c++)
            out[t * C + c] = (double)row[c];
        for (size_t i = (size_t)C * size; run->row->gap > 0 && i < (size_t)x.stride * size; i++)
            if (at[i] != 0xff)
                fail_msg("%s:%d, %s: %s was written behind row %lld", run->row->file,
                         run->row->line, check_backend_name(), what, (long long)t);
    }
}

void case_result_act(case_run *run, const char *what, fl_act x, int64_t T, int64_t C,
                     case_bound bound)
{
    read_act(run, what, x, T, C, add_result(what, T * C, bound));
    results[side][num_results[side] - 1].is_narrow = x.dtype == FL_BF16;
}

void case_result_zeros(case_run *run, const char *what, fl_act x, int64_t T, int64_t C)
{
    double *out = add_result(what, T * C, BOUND_EXACT);
    read_act(run, what, x, T, C, out);
    for (int64_t i = 0; i < T * C; i++)
        out[i] = out[i] == 0;
}

void case_result(case_run *run, const char *what, const float *x, int64_t count, case_bound bound)
{
    double *out = add_result(what, count, bound);
    float *host = check_host(count);
    run->ops->copy_out(host, x, (size_t)count * sizeof *host);
    for (int64_t i = 0; i < count; i++)
        out[i] = (double)host[i];
}

void case_result_doubles(case_run *run, const char *what, const double *x, int64_t count)
{
    double *out = add_result(what, count, BOUND_SUM);
    run->ops->copy_out(out, x, (size_t)count * sizeof *out);
}

void case_result_ints(case_run *run, const char *what, const int32_t *x, int64_t count)
{
    double *out = add_result(what, count, BOUND_EXACT);
    int32_t *host = (int32_t *)check_host(count);
    run->ops->copy_out(host, x, (size_t)count * sizeof *host);
    for (int64_t i = 0; i < count; i++)
        out[i] = (double)host[i];
}

/* ---- comparison ----------------------------------------------------------------------------- */

/* Of a difference `before`, after a rounding to bf16. */
static double rounded_once(double before)
{
    return 2 * sqrt(2 * U * before);
}

/* Of |got - want| / |want|.  flip: what one step of bf16 in the largest element amounts to. */
static double bound_of(const case_run *run, const result *want, double flip)
{
    bool is_narrow = run->dtype == FL_BF16;
    double before = FP32;
    if (want->bound == BOUND_EXACT) return 0;
    if (is_narrow && want->bound == BOUND_ATTENTION) return 2 * U;
    if (is_narrow && want->bound == BOUND_ATTENTION_GRADIENT) return 2.6 * U;
    if (run->is_rounded && want->bound == BOUND_AFTER) before = rounded_once(before) + flip;
    return want->is_narrow ? rounded_once(before) + flip : before;
}

static void compare(const case_run *run, const result *got, const result *want)
{
    double apart = 0, norm = 0, largest = 0;
    assert_int_equal(got->count, want->count);
    for (int64_t i = 0; i < got->count; i++) {
        double d = got->values[i] - want->values[i];
        apart += d * d;
        norm += want->values[i] * want->values[i];
        largest = fmax(largest, fabs(want->values[i]));
    }
    if (run->row->vanishes) norm = fmax(norm, (double)want->count); // of terms of order one
    apart = sqrt(apart);
    norm = sqrt(norm);
    double bound = bound_of(run, want, norm > 0 ? 2 * U * largest / norm : 0);
    if (bound > 0 && norm > 0 && apart > most_seen * bound * norm) {
        most_seen = apart / (bound * norm);
        snprintf(most_seen_in, sizeof most_seen_in, "%s of %s, %s", want->what, run->row->op,
                 check_backend_name());
    }
    if (!(apart <= bound * norm))
        fail_msg("%s:%d, %s, %s%s: %s of %s is wrong by %.3g of its norm %.3g, at most %.3g",
                 run->row->file, run->row->line, check_backend_name(),
                 run->is_rounded ? "bf16" : "fp32", run->is_aligned ? ", aligned" : "", got->what,
                 run->row->op, apart / norm, norm, bound);
}

/* Runs the row on a backend. */
static void run_on(case_run run, int which, int index)
{
    run.ops = check_backend(index);
    if (run.is_rounded && run.ops == &fl_backend_cpu) run.ops = rounded_ops();
    side = which;
    run.row->run(&run);
    check_release();
}

/* What activations are kept in. */
static fl_dtype start_compute(const fl_backend_ops *ops, fl_dtype compute)
{
    if (ops == &fl_backend_cpu) return compute; // see rounded.h
    assert_int_equal(ops->set_compute(compute), FL_OK);
    return ops->act_dtype();
}

void case_check(const kernel_case *row, int index, fl_dtype compute, bool is_aligned)
{
    const fl_backend_ops *ops = check_backend(index);
    case_run run = {.row = row, .is_aligned = is_aligned, .is_rounded = compute == FL_BF16};
    forget_results(); // of the row before
    run.dtype = start_compute(ops, compute);
    run_on(run, 0, 0);
    run_on(run, 1, index);
    (void)start_compute(ops, FL_F32);
    assert_int_equal(num_results[0], num_results[1]);
    assert_true(num_results[0] > 0);
    for (int i = 0; i < num_results[0]; i++)
        compare(&run, &results[1][i], &results[0][i]);
}

void case_report(void)
{
    forget_results();
    print_message("largest difference: %.2g of its bound, in %s\n", most_seen, most_seen_in);
    most_seen = 0;
}
