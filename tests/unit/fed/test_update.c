#include "fed/update.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1000, CLIENTS = 7 };

static float values[CLIENTS][N], global[N];
static const uint64_t weights[CLIENTS] = {1, 900, 17, 3, 1200000, 42, 5};

static void fill(void)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < N; i++)
        for (int k = -1; k < CLIENTS; k++) {
            x = x * 1664525u + 1013904223u;
            float value = ldexpf((float)(int32_t)x, -31 - (int)(x % 11));
            if (k < 0)
                global[i] = value;
            else
                values[k][i] = global[i] + value;
        }
}

static uint64_t total(void)
{
    uint64_t sum = 0;
    for (int k = 0; k < CLIENTS; k++)
        sum += weights[k];
    return sum;
}

/* Any order, any grouping: the same integers. */
static void order_does_not_matter(void **state)
{
    (void)state;
    static int64_t forward[N], parts[2][N];
    int grid = fl_update_grid(total());
    fill();
    memset(forward, 0, sizeof forward);
    memset(parts, 0, sizeof parts);
    for (int k = 0; k < CLIENTS; k++)
        assert_int_equal(
            fl_update_add(&fl_backend_cpu, forward, global, values[k], N, (double)weights[k], grid),
            0);
    for (int k = CLIENTS; k-- > 0;)
        fl_update_add(&fl_backend_cpu, parts[k % 2], global, values[k], N, (double)weights[k],
                      grid);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(forward[i], parts[0][i] + parts[1][i]);
}

/* Each update is rounded by less than 2^-51 of the mean (grid step over total weight). */
static void mean_is_exact(void **state)
{
    (void)state;
    static int64_t sum[N];
    int grid = fl_update_grid(total());
    fill();
    memset(sum, 0, sizeof sum);
    for (int k = 0; k < CLIENTS; k++)
        fl_update_add(&fl_backend_cpu, sum, global, values[k], N, (double)weights[k], grid);
    for (size_t i = 0; i < N; i++) {
        long double exact = 0;
        for (int k = 0; k < CLIENTS; k++)
            exact += (long double)weights[k] * ((long double)values[k][i] - (long double)global[i]);
        exact /= (long double)total();
        assert_true(fabsl(exact - (long double)fl_update_mean(sum[i], grid, total())) <
                    CLIENTS * 0x1p-51L);
    }
}

static void largest_updates_do_not_overflow(void **state)
{
    (void)state;
    const uint64_t heavy = UINT64_C(1) << 31;
    int grid = fl_update_grid(4 * heavy);
    float w = 0, y = nextafterf((float)FL_UPDATE_LIMIT, 0);
    int64_t sum = 0;
    for (int k = 0; k < 4; k++)
        assert_int_equal(fl_update_add(&fl_backend_cpu, &sum, &w, &y, 1, (double)heavy, grid),
                         FL_UPDATE_FINE);
    assert_true(fabs(fl_update_mean(sum, grid, 4 * heavy) - (double)y) < 1e-9);
}

static void bad_updates_are_left_out_whole(void **state)
{
    (void)state;
    const float w[3] = {0, 0, 0};
    const float cases[][3] = {{1, NAN, 1}, {1, 1, INFINITY}, {-INFINITY, 1, 1}, {1, 1024, 1}};
    const fl_update_fault faults[] = {FL_UPDATE_NOT_FINITE, FL_UPDATE_NOT_FINITE,
                                      FL_UPDATE_NOT_FINITE, FL_UPDATE_TOO_LARGE};
    for (size_t i = 0; i < 4; i++) {
        int64_t sum[3] = {5, 6, 7};
        assert_int_equal(fl_update_add(&fl_backend_cpu, sum, w, cases[i], 3, 10, 40), faults[i]);
        assert_int_equal(sum[0], 5);
        assert_int_equal(sum[1], 6);
        assert_int_equal(sum[2], 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(mean_is_exact),
        cmocka_unit_test(largest_updates_do_not_overflow),
        cmocka_unit_test(bad_updates_are_left_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
