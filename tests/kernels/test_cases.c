/* Every op of the table on every backend against the cpu backend; case.h says what a row is. */
#include "case.h"

#include <stddef.h>

static const kernel_case *const tables[] = {case_elements, case_products, case_linears,
                                            case_attention, case_loss};

/* From `embedding` on the table is mathematics; what stands before it is in test_backend.c and
 * test_rows.c.  The one op without a row says how much memory a row gives to another. */
static void test_every_op_has_a_row(void **state)
{
    (void)state;
    typedef void (*member)(void);
    size_t begin = offsetof(fl_backend_ops, embedding), size = sizeof(fl_backend_ops);
    for (size_t at = begin; at < size; at += sizeof(member)) {
        bool found = at == offsetof(fl_backend_ops, attention_bwd_scratch);
        for (int64_t t = 0; t < CHECK_COUNT(tables); t++)
            for (const kernel_case *row = tables[t]; row->op; row++)
                found = found || row->member == at;
        if (!found)
            fail_msg("op %zu from embedding on has no row in case_*.c",
                     (at - begin) / sizeof(member));
    }
}

/* Kernels of cuda are for one type, and rows without gaps. */
static bool takes_gaps(const fl_backend_ops *ops)
{
    if (ops == &fl_backend_cpu || ops->set_compute(FL_BF16) != FL_OK) return true;
    bool takes = ops->act_dtype() == FL_BF16;
    assert_int_equal(ops->set_compute(FL_F32), FL_OK);
    return takes;
}

/* Rows that the backend need not know. */
static bool applies(const kernel_case *row, const fl_backend_ops *ops)
{
    bool continues = false;
    if (row->gap > 0 && !takes_gaps(ops)) return false;
    for (int64_t s = 0; s < row->S; s++)
        continues = continues || row->prefix[s] > 0;
    return ops->shares_prefixes || !continues;
}

/* Activations on a boundary of 64 bytes, or one element behind it.  Of the ways to run a backend
 * the first sees both, the others one. */
static void run_tables(int index, fl_dtype compute)
{
    const fl_backend_ops *before = check_backend(index - 1);
    bool is_first = check_backend(index) != before;
    for (int64_t t = 0; t < CHECK_COUNT(tables); t++) {
        for (const kernel_case *row = tables[t]; row->op; row++) {
            if (!applies(row, check_backend(index))) continue;
            if (is_first || index % 2) case_check(row, index, compute, false);
            if (is_first || index % 2 == 0) case_check(row, index, compute, true);
        }
    }
}

static void test_fp32(void **state)
{
    (void)state;
    for (int b = 1; check_backend(b); b++)
        run_tables(b, FL_F32);
    case_report();
}

/* The cpu backend's instruction sets, whose sums differ in their order, show that the bounds are
 * about that and not about how kernels round. */
static void test_bf16(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 1; (ops = check_backend(b)); b++)
        if (ops == &fl_backend_cpu || ops->set_compute(FL_BF16) == FL_OK) run_tables(b, FL_BF16);
    case_report();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op_has_a_row),
        cmocka_unit_test(test_fp32),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
