/* Matrices of activations in the types and layouts that ops take. */
#include "check_act.h"

enum { GRID = 64 }; /* what check.c puts buffers one element behind */

bool check_takes(const fl_backend_ops *ops, fl_dtype dtype)
{
    return ops->set_compute(dtype) == FL_OK && ops->act_dtype() == dtype;
}

static void round_values(float *x, fl_dtype dtype, int64_t count)
{
    for (int64_t i = 0; i < count && dtype == FL_BF16; i++)
        x[i] = fl_bf16_to_f32(fl_f32_to_bf16(x[i]));
}

fl_act check_act(float *host, fl_dtype dtype, int64_t T, int64_t C, check_layout layout)
{
    int64_t size = (int64_t)fl_dtype_size(dtype), stride = C + layout.gap;
    int64_t lead = layout.is_aligned ? GRID / size - 1 : 0, count = lead + T * stride;
    unsigned char *image = (unsigned char *)check_host((count * size + 3) / 4);
    memset(image, 0xff, (size_t)(count * size));
    if (host) round_values(host, dtype, T * C);
    for (int64_t i = 0; host && i < T * C; i++) {
        uint16_t half = fl_f32_to_bf16(host[i]);
        void *to = image + (lead + i / C * stride + i % C) * size;
        memcpy(to, dtype == FL_BF16 ? (const void *)&half : &host[i], (size_t)size);
    }
    char *data = check_buffer(image, count, (size_t)size);
    return (fl_act){.data = data + lead * size, .dtype = dtype, .stride = stride};
}

/* The elements of x, widened, without the gaps, which must be as they were. */
static float *values_of(const fl_backend_ops *ops, const char *what, fl_act x, int64_t T, int64_t C)
{
    int64_t size = (int64_t)fl_dtype_size(x.dtype), count = T * x.stride;
    unsigned char *image = (unsigned char *)check_host((count * size + 3) / 4);
    float *values = check_host(T * C);
    ops->copy_out(image, x.data, (size_t)(count * size));
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *at = image + i * size;
        uint16_t half;
        int64_t t = i / x.stride, c = i % x.stride;
        for (int64_t b = 0; c >= C && b < size; b++)
            if (at[b] != 0xff)
                fail_msg("%s, %s: row %lld was written behind its end", check_backend_name(), what,
                         (long long)t);
        if (c >= C) continue;
        memcpy(&half, at, sizeof half);
        if (x.dtype == FL_BF16)
            values[t * C + c] = fl_bf16_to_f32(half);
        else
            memcpy(&values[t * C + c], at, sizeof(float));
    }
    return values;
}

/* Half the distance of two neighbours of bf16 at x. */
static double half_ulp(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 9);
}

static void check_rounded(const char *what, const float *got, const double *want, int64_t count,
                          fl_dtype dtype, double absolute, double relative)
{
    for (int64_t i = 0; i < count; i++) {
        double most = absolute + relative * fabs(want[i]);
        if (dtype == FL_BF16) most += half_ulp(fabs(want[i]) + most);
        if (!(fabs((double)got[i] - want[i]) <= most))
            fail_msg("%s, %s: element %lld of %lld is %.9g, want %.9g within %.3g",
                     check_backend_name(), what, (long long)i, (long long)count, (double)got[i],
                     want[i], most);
    }
}

void check_act_result(check_act_run *run, const char *what, fl_act x, int64_t T, int64_t C,
                      const double *want, double absolute, double relative)
{
    int64_t n = run->num_results++, bytes = T * C * (int64_t)sizeof(float);
    float *got = values_of(run->ops, what, x, T, C);
    assert_true(n < CHECK_COUNT(run->first));
    if (run->number == 0) {
        check_rounded(what, got, want, T * C, x.dtype, absolute, relative);
        assert_int_equal(fl_alloc(&run->first[n], (size_t)bytes + 1, 1), FL_OK);
        memcpy(run->first[n], got, (size_t)bytes);
    } else if (memcmp(run->first[n], got, (size_t)bytes) != 0) {
        fail_msg("%s, %s: layout %d gives other bits", check_backend_name(), what, run->number);
    }
}

void check_act_layouts(const fl_backend_ops *ops, check_act_fn *fn, const void *context)
{
    static const check_layout layouts[] = {{0, false}, {0, true}, {8, true}, {3, false}};
    check_act_run run = {.ops = ops};
    for (int i = 0; i < CHECK_COUNT(layouts); i++) {
        run.number = i;
        run.layout = layouts[i];
        run.num_results = 0;
        fn(&run, context);
        check_release();
    }
    for (int64_t i = 0; i < CHECK_COUNT(run.first); i++)
        fl_free(run.first[i]);
}
