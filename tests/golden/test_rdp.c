/* The accountant against rdp.json, where mpmath integrated the definition, and against the values
 * that Opacus and the literature give. */
#include "fed/rdp.h"
#include "golden/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static double at(const json_t *row, size_t i)
{
    return json_number_value(json_array_get(row, i));
}

static double epsilon_of(double q, double z, int64_t rounds, double delta)
{
    fl_rdp rdp;
    fl_rdp_init(&rdp, q, z, delta);
    return fl_rdp_epsilon(&rdp, rounds);
}

static void orders(void **state)
{
    (void)state;
    golden g = golden_open("rdp");
    size_t i;
    json_t *row;
    json_array_foreach(golden_get(g.json, "rdp"), i, row)
    {
        double expected = at(row, 3), value = fl_rdp_round(at(row, 0), at(row, 1), at(row, 2));
        if (!(fabs(value - expected) <= 1e-6 * expected))
            fail_msg("q %g, z %g, order %g: %.12g, not %.12g", at(row, 0), at(row, 1), at(row, 2),
                     value, expected);
    }
    assert_true(i >= 100);
    golden_close(&g);
}

static void composed(void **state)
{
    (void)state;
    golden g = golden_open("rdp");
    size_t i;
    json_t *row;
    json_array_foreach(golden_get(g.json, "epsilon"), i, row)
        expect_real("epsilon", epsilon_of(at(row, 0), at(row, 1), (int64_t)at(row, 2), at(row, 3)),
                    at(row, 4), 1e-6);
    assert_int_equal(i, 6);
    golden_close(&g);
}

/* As published, with the digits that were. */
static void published(void **state)
{
    (void)state;
    assert_true(fabs(epsilon_of(0.2, 3, 50, 1.0 / 48000) - 2.17) < 5e-3);
    assert_true(fabs(epsilon_of(0.1, 1, 200, 1e-5) - 11.0) < 5e-2);
    assert_true(fabs(epsilon_of(0.01, 1, 200, 1e-5) - 1.34) < 5e-3);
    assert_true(fabs(epsilon_of(1, 1, 100, 1e-5) - 96) < 0.5);
    assert_true(fabs(epsilon_of(1, 1, 1, 1e-5) - 4.73) < 5e-3);
}

/* Corners: nobody is drawn, nothing is run; the cost never falls with rounds or q, nor grows with
 * z. */
static void corners(void **state)
{
    (void)state;
    assert_true(fl_rdp_round(0, 1, 2) == 0);
    assert_true(epsilon_of(0.1, 1, 0, 1e-5) == 0);
    static const double q[] = {1e-6, 1e-3, 0.1, 0.4999, 0.5, 0.5001, 0.9, 0.999999, 1};
    for (double z = 0.001; z < 2000; z *= 10)
        for (size_t i = 0; i < sizeof q / sizeof q[0]; i++) {
            double once = epsilon_of(q[i], z, 1, 1e-5), often = epsilon_of(q[i], z, 100, 1e-5);
            assert_true(isfinite(once) && once >= 0 && often >= once);
            assert_true(i == 0 || once >= epsilon_of(q[i - 1], z, 1, 1e-5) * (1 - 1e-9));
            assert_true(once <= epsilon_of(q[i], z / 2, 1, 1e-5) * (1 + 1e-9));
        }
}

static void budgets(void **state)
{
    (void)state;
    fl_rdp rdp;
    fl_rdp_init(&rdp, 0.1, 1, 1e-5);
    int64_t rounds = fl_rdp_rounds_within(&rdp, 5, 1000000);
    assert_true(fl_rdp_epsilon(&rdp, rounds) <= 5 && fl_rdp_epsilon(&rdp, rounds + 1) > 5);
    assert_int_equal(fl_rdp_rounds_within(&rdp, 5, 10), 10);
    assert_int_equal(fl_rdp_rounds_within(&rdp, 0.1, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(orders), cmocka_unit_test(composed),
                                       cmocka_unit_test(published), cmocka_unit_test(corners),
                                       cmocka_unit_test(budgets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
