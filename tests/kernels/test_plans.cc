/* The text of algorithms: written, read, looked up and refused, on the emulated library, whose two
 * algorithms are counted. */
#include "test_emulation.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/plans.h"

#include <string>

using namespace fl_cuda_emu;

enum { SIDE = 8 };
static float *a, *b, *c;

static fl_blas_gemm product(int64_t m)
{
    fl_blas_gemm g = {};
    g.m = m;
    g.n = g.k = SIDE;
    g.a = a;
    g.b = b;
    g.d = c;
    g.lda = g.ldb = g.ldc = g.ldd = SIDE;
    g.dtype = g.type_d = FL_F32;
    g.alpha = 1.0f;
    return g;
}

/* The algorithm that a product of m rows is made with. */
static int algorithm_of(int64_t m)
{
    uint64_t before = fl_emu_products(1);
    run_gemm(product(m));
    return (int)(fl_emu_products(1) - before);
}

static std::string line_of(int64_t m, const char *algorithm)
{
    std::string line;
    PlanKey key = key_of(product(m));
    for (int64_t number : key.number)
        line += std::to_string(number) + " ";
    return line + algorithm + "\n";
}

static std::string header()
{
    fl_buf out = {};
    std::string text;
    assert_int_equal(write_plans(&out), FL_OK);
    for (size_t i = 0, newlines = 0; newlines < 3; i++) {
        text += out.data[i];
        newlines += out.data[i] == '\n';
    }
    fl_buf_fini(&out);
    return text;
}

static fl_status read(const std::string &text)
{
    fl_buf buf = {};
    assert_int_equal(fl_buf_add(&buf, text.data(), text.size()), FL_OK);
    fl_status status = read_plans("plans.txt", &buf);
    fl_buf_fini(&buf);
    return status;
}

static void test_products_take_what_the_text_says(void **)
{
    assert_int_equal(algorithm_of(2), 0);
    assert_int_equal(
        read(header() + line_of(3, "0 0 0 0 0 0 0 0 0") + line_of(2, "1 0 0 0 0 0 0 0 0")), FL_OK);
    assert_int_equal(algorithm_of(2), 1);
    assert_int_equal(algorithm_of(3), 0);
    assert_int_equal(algorithm_of(4), 0); // not in the text
    fl_blas_gemm other = product(2);
    other.beta = 1.0f;
    other.c = c;
    uint64_t before = fl_emu_products(0);
    run_gemm(other); // nor is this
    assert_int_equal(fl_emu_products(0) - before, 1);
    assert_int_equal(read(header()), FL_OK); // the new text is all there is
    assert_int_equal(algorithm_of(2), 0);
}

static void test_unknown_algorithms_are_passed_over(void **)
{
    assert_int_equal(
        read(header() + line_of(2, "7 0 0 0 0 0 0 0 0") + line_of(3, "1 0 0 0 0 0 0 5 0")), FL_OK);
    assert_int_equal(algorithm_of(2), 0);
    assert_int_equal(algorithm_of(3), 0);
    assert_int_equal(op_status(), FL_OK);
}

static void test_keys_tell_operands_apart(void **)
{
    fl_blas_gemm g = product(2), moved = g, wide = g, narrow = g, biased = g;
    moved.a = a + 1;
    wide.ldd = SIDE + 4;
    narrow.type_d = FL_BF16;
    biased.bias = b;
    for (const fl_blas_gemm &other : {moved, wide, narrow, biased})
        assert_false(is_same(key_of(g), key_of(other)));
    g.ldc = 99; // C is not read
    assert_true(is_same(key_of(g), key_of(product(2))));
    assert_int_equal(key_of(moved).number[KEY_ALIGNMENT], 4);
}

static void expect_refused(const std::string &text, const char *fault)
{
    assert_int_equal(read(text), FL_ERR_INPUT);
    assert_non_null(strstr(fl_error_text(), fault));
}

static void test_bad_texts_are_refused(void **)
{
    const std::string top = header(), good = line_of(2, "1 0 0 0 0 0 0 0 0");
    std::string other = top, columns = top;
    other[other.find('\n') + 1] ^= 1;
    columns[columns.size() - 2] ^= 1;
    expect_refused("", "plans.txt:1: not");
    expect_refused(top.substr(0, 10), "plans.txt:1: not");
    expect_refused(other, "plans.txt:2: made for another");
    expect_refused(columns, "plans.txt:3: other columns");
    expect_refused(top.substr(0, top.size() - 1), "plans.txt:3: other columns");
    expect_refused(top + good + good, "plans.txt:5: a product for the second time");
    const std::string cut = good.substr(0, good.size() - 1);
    for (const std::string &bad :
         {cut, cut + " 0\n", cut + " \n", " " + good, "-" + good, "x\n" + good, std::string("\n"),
          line_of(2, "1 0 0 0 0 0 0 0"), line_of(2, "1000000000000000 0 0 0 0 0 0 0 0"),
          std::string("\0\0", 2) + good})
        expect_refused(top + bad, "plans.txt:4: not a line of 24 numbers");
    std::string many = top;
    for (int m = 1; m <= MOST_PLAN_LINES; m++)
        many += line_of(m, "1 0 0 0 0 0 0 0 0");
    assert_int_equal(read(many), FL_OK);
    expect_refused(many + line_of(MOST_PLAN_LINES + 1, "1 0 0 0 0 0 0 0 0"), "more than 8192");
}

/* What tuning wrote is read and gives the same text again.  Last: tuning does not end. */
static void test_tuning_writes_what_is_read(void **)
{
    assert_int_equal(read(header()), FL_OK);
    start_tuning();
    uint64_t before = fl_emu_products(0);
    for (int64_t m : {5, 2, 5})
        run_gemm(product(m));
    assert_true(fl_emu_products(0) - before > 2); // each candidate several times
    fl_buf out = {}, again = {};
    assert_int_equal(write_plans(&out), FL_OK);
    const std::string text(out.data, out.length);
    assert_string_equal(
        text.c_str(),
        (header() + line_of(2, "1 0 0 0 0 0 0 0 0") + line_of(5, "1 0 0 0 0 0 0 0 0")).c_str());
    assert_int_equal(read(text), FL_OK);
    assert_int_equal(write_plans(&again), FL_OK);
    assert_string_equal(fl_buf_text(&again), text.c_str());
    fl_buf_fini(&out);
    fl_buf_fini(&again);
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_products_take_what_the_text_says),
        cmocka_unit_test(test_unknown_algorithms_are_passed_over),
        cmocka_unit_test(test_keys_tell_operands_apart),
        cmocka_unit_test(test_bad_texts_are_refused),
        cmocka_unit_test(test_tuning_writes_what_is_read),
    };
    if (op_open(0) != FL_OK) return 1;
    for (float **matrix : {&a, &b, &c})
        if (op_alloc(matrix, SIDE * SIDE * sizeof **matrix) != FL_OK) return 1;
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
