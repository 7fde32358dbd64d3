#include "tensor/tensor.h"

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

/* The value by the definition of IEEE 754: `fraction_bits` bits of fraction, the exponent above
 * it, the sign on top.  fp64 holds every such value exactly. */
static double by_formula(unsigned bits, int fraction_bits, int exponent_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    unsigned fraction = bits & ((1u << fraction_bits) - 1);
    int exponent = (int)((bits >> fraction_bits) & ((1u << exponent_bits) - 1));
    double sign = bits >> 15 ? -1.0 : 1.0;
    double scaled = ldexp((double)fraction, -fraction_bits);
    if (exponent == (1 << exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(scaled, 1 - bias);
    return sign * ldexp(1.0 + scaled, exponent - bias);
}

static void assert_same(float value, double expected, unsigned bits)
{
    if (isnan(expected)) {
        assert_true(isnan(value));
        assert_int_equal(signbit(value) != 0, bits >> 15); /* payload's sign survives */
        return;
    }
    if ((double)value != expected) print_error("0x%04x: %g, not %g\n", bits, value, expected);
    assert_true((double)value == expected);
    assert_int_equal(signbit(value) != 0, signbit(expected) != 0);
}

static void widens_every_pattern(void **state)
{
    (void)state;
    static uint16_t patterns[65536];
    static float halves[65536], brains[65536];
    for (unsigned bits = 0; bits < 65536; bits++)
        patterns[bits] = (uint16_t)bits;
    fl_to_f32(halves, patterns, FL_F16, 65536);
    fl_to_f32(brains, patterns, FL_BF16, 65536);
    for (unsigned bits = 0; bits < 65536; bits++) {
        assert_same(fl_f16_to_f32((uint16_t)bits), by_formula(bits, 10, 5), bits);
        assert_same(fl_bf16_to_f32((uint16_t)bits), by_formula(bits, 7, 8), bits);
        assert_same(halves[bits], by_formula(bits, 10, 5), bits);
        assert_same(brains[bits], by_formula(bits, 7, 8), bits);
    }
}

static void copies_f32_and_unaligned_data(void **state)
{
    (void)state;
    const float values[3] = {1.5f, -0.0f, INFINITY};
    float out[3];
    fl_to_f32(out, values, FL_F32, 3);
    assert_memory_equal(out, values, sizeof values);
    const unsigned char odd[] = {0, 0x80, 0x3f, 0x00, 0xc0}; /* 1 and -2 from byte 1 on */
    fl_to_f32(out, odd + 1, FL_BF16, 2);
    assert_true(out[0] == 1 && out[1] == -2);
    fl_to_f32(out, odd, FL_F16, 0);
}

static void knows_its_types(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
    } expected[] = {[FL_F32] = {"F32", 4}, [FL_F16] = {"F16", 2}, [FL_BF16] = {"BF16", 2},
                    [FL_F64] = {"F64", 8}, [FL_I64] = {"I64", 8}, [FL_I32] = {"I32", 4},
                    [FL_I8] = {"I8", 1},   [FL_U8] = {"U8", 1}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        fl_dtype dtype;
        assert_true(fl_dtype_parse(expected[i].name, &dtype));
        assert_int_equal(dtype, i);
        assert_int_equal(fl_dtype_size(dtype), expected[i].size);
        assert_string_equal(fl_dtype_name(dtype), expected[i].name);
    }
    fl_dtype dtype;
    assert_false(fl_dtype_parse("f32", &dtype));
    assert_false(fl_dtype_parse("", &dtype));
    assert_false(fl_dtype_parse("F321", &dtype));
}

static void counts_elements(void **state)
{
    (void)state;
    const fl_tensor scalar = {.ndim = 0}, empty = {.ndim = 2, .dim = {0, 5}};
    const fl_tensor large = {.ndim = 3, .dim = {70000, 70000, 2}};
    assert_int_equal(fl_tensor_count(&scalar), 1);
    assert_int_equal(fl_tensor_count(&empty), 0);
    assert_true(fl_tensor_count(&large) == 9800000000);
}

static void lays_params_out(void **state)
{
    (void)state;
    fl_params params;
    assert_int_equal(fl_params_init(&params, 4), FL_OK);
    assert_int_equal(fl_params_add(&params, "a", 2, (const int64_t[]){2, 3}), FL_OK);
    assert_int_equal(fl_params_add(&params, "b", 1, (const int64_t[]){4}), FL_OK);
    assert_int_equal(fl_params_add(&params, "c", 2, (const int64_t[]){5, 1}), FL_OK);
    assert_int_equal(fl_params_add(&params, "too large", 2, (const int64_t[]){INT64_MAX, 4}),
                     FL_ERR_MEMORY);
    assert_null(params.data);
    assert_int_equal(fl_params_allocate(&params), FL_OK);
    assert_int_equal(params.num_params, 3);
    assert_int_equal(params.count, 15);
    static const size_t offsets[] = {0, 6, 10};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(params.params[i].offset, offsets[i]);
    for (size_t i = 0; i < params.count; i++)
        assert_true(params.data[i] == 0);
    assert_ptr_equal(fl_params_find(&params, "b"), &params.params[1]);
    assert_null(fl_params_find(&params, "B"));
    fl_params_fini(&params);
    assert_null(params.data);
    fl_params_fini(&params);
}

static void make_pair(fl_params *out, const char *name, int ndim, int64_t rows, int64_t columns)
{
    assert_int_equal(fl_params_init(out, 1), FL_OK);
    assert_int_equal(fl_params_add(out, name, ndim, (const int64_t[]){rows, columns}), FL_OK);
}

static void compares_layouts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int ndim;
        int64_t rows, columns;
        bool same;
    } cases[] = {{"w", 2, 4, 1, true},
                 {"v", 2, 4, 1, false},
                 {"w", 2, 1, 4, false},
                 {"w", 1, 4, 1, false},
                 {"w", 2, 5, 1, false}};
    fl_params base, like;
    make_pair(&base, "w", 2, 4, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fl_params other;
        make_pair(&other, cases[i].name, cases[i].ndim, cases[i].rows, cases[i].columns);
        assert_int_equal(fl_params_same_layout(&base, &other), cases[i].same);
        fl_params_fini(&other);
    }
    assert_int_equal(fl_params_like(&like, &base), FL_OK);
    assert_true(fl_params_same_layout(&base, &like));
    assert_non_null(like.data);
    fl_params_fini(&like);
    fl_params_fini(&base);
}

static void finds_what_is_not_finite(void **state)
{
    (void)state;
    float values[5] = {0, -1, 3e38f, 1e-45f, 2};
    assert_true(fl_all_finite(values, 5));
    assert_true(fl_all_finite(values, 0));
    values[4] = NAN;
    assert_false(fl_all_finite(values, 5));
    assert_true(fl_all_finite(values, 4));
    values[0] = -INFINITY;
    assert_false(fl_all_finite(values, 1));
}

/* The narrow pattern nearest to the value by trying all that are not NaN: the definition. */
static unsigned nearest(double value, int fraction_bits, int exponent_bits)
{
    unsigned sign = signbit(value) ? 0x8000u : 0, low = 0;
    unsigned high = ((1u << exponent_bits) - 1) << fraction_bits; /* infinity */
    value = fabs(value);
    while (high - low > 1) { /* patterns of one sign are in the order of their values */
        unsigned middle = (low + high) / 2;
        if (by_formula(middle, fraction_bits, exponent_bits) <= value)
            low = middle;
        else
            high = middle;
    }
    double below = by_formula(low, fraction_bits, exponent_bits);
    /* infinity stands for the next power of two, as in the definition of rounding */
    double above = isinf(by_formula(high, fraction_bits, exponent_bits))
                       ? ldexp(1.0, 1 << (exponent_bits - 1))
                       : by_formula(high, fraction_bits, exponent_bits);
    bool up = value - below > above - value || (value - below == above - value && low % 2);
    if (isinf(value)) up = true;
    return sign | (up ? high : low);
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void assert_narrows(float value)
{
    unsigned half = nearest((double)value, 10, 5), brain = nearest((double)value, 7, 8);
    if (fl_f32_to_f16(value) != half || fl_f32_to_bf16(value) != brain)
        print_error("%a: %04x not %04x, or %04x not %04x\n", (double)value, fl_f32_to_f16(value),
                    half, fl_f32_to_bf16(value), brain);
    assert_int_equal(fl_f32_to_f16(value), half);
    assert_int_equal(fl_f32_to_bf16(value), brain);
}

static void narrows_to_the_nearest_even(void **state)
{
    (void)state;
    /* every value of both types comes back, and so do the ties beside it, and their neighbours */
    for (unsigned bits = 0; bits < 65536; bits++) {
        float values[2] = {fl_f16_to_f32((uint16_t)bits), fl_bf16_to_f32((uint16_t)bits)};
        if (!isnan(values[0])) assert_int_equal(fl_f32_to_f16(values[0]), bits);
        if (!isnan(values[1])) assert_int_equal(fl_f32_to_bf16(values[1]), bits);
        for (int i = 0; i < 2; i++) {
            if (!isfinite(values[i])) continue;
            uint32_t wide;
            memcpy(&wide, &values[i], sizeof wide);
            for (uint32_t near = 0; near < 3; near++) {
                uint32_t half_place = i == 0 ? 0x1000u : 0x8000u;
                assert_narrows(float_of(wide + half_place - 1 + near));
            }
        }
    }
    /* a walk over all exponents with odd fractions, both signs */
    for (uint64_t bits = 0; bits < 0x100000000u; bits += 39119)
        if (!isnan(float_of((uint32_t)bits))) assert_narrows(float_of((uint32_t)bits));
    for (int i = -30; i < 0; i++) { /* ties and neighbours among the subnormals of fp16 */
        float tie = ldexpf(1.0f, i);
        assert_narrows(tie);
        assert_narrows(-nextafterf(tie, 1.0f));
        assert_narrows(nextafterf(tie, 0.0f));
    }
    assert_true(isnan(fl_f16_to_f32(fl_f32_to_f16(NAN))));
    assert_true(isnan(fl_bf16_to_f32(fl_f32_to_bf16(float_of(0x7f800001)))));
}

static void tells_what_does_not_fit(void **state)
{
    (void)state;
    uint16_t narrow[2];
    float wide[2];
    const float fits[2] = {65519.0f, -1e-30f}, large[2] = {1.0f, 65520.0f};
    const float huge[2] = {3.4e38f, 0.0f}, broken[2] = {0.0f, NAN};
    assert_true(fl_from_f32(narrow, FL_F16, fits, 2));
    assert_int_equal(narrow[0], 0x7bff);
    assert_int_equal(narrow[1], 0x8000);
    assert_false(fl_from_f32(narrow, FL_F16, large, 2));
    assert_true(fl_from_f32(narrow, FL_BF16, large, 2));
    assert_false(fl_from_f32(narrow, FL_BF16, huge, 2));
    assert_true(fl_from_f32(wide, FL_F32, huge, 2));
    assert_memory_equal(wide, huge, sizeof huge);
    assert_false(fl_from_f32(wide, FL_F32, broken, 2));
    assert_false(fl_from_f32(narrow, FL_BF16, broken, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widens_every_pattern),     cmocka_unit_test(copies_f32_and_unaligned_data),
        cmocka_unit_test(knows_its_types),          cmocka_unit_test(counts_elements),
        cmocka_unit_test(lays_params_out),          cmocka_unit_test(compares_layouts),
        cmocka_unit_test(finds_what_is_not_finite), cmocka_unit_test(narrows_to_the_nearest_even),
        cmocka_unit_test(tells_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
