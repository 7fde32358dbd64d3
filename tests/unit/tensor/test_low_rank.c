/* Norms and singular values of factored matrices against the same of the matrix written out, found
 * in another way: eigenvalues of M^T M by two-sided Jacobi rotations. */
#include "tensor/low_rank.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 24 };

static double noise(size_t i)
{
    uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (double)(x >> 40) / (double)(1 << 24) - 0.5;
}

static void make(fl_low_rank *m, size_t rows, size_t cols, size_t terms, bool repeats)
{
    float b[MOST], a[MOST];
    assert_int_equal(fl_low_rank_init(m, rows, cols, terms), FL_OK);
    for (size_t j = 0; j < terms; j++) {
        size_t key = repeats ? j % 2 : j;
        for (size_t i = 0; i < rows; i++)
            b[i] = (float)noise(1000 * key + i);
        for (size_t i = 0; i < cols; i++)
            a[i] = (float)noise(1000 * key + 500 + i);
        fl_low_rank_add(m, b, a, 1, j % 3 == 1 ? -0.7 : 1.3);
    }
}

static void write_out(double out[MOST][MOST], const fl_low_rank *m)
{
    for (size_t i = 0; i < m->rows; i++)
        for (size_t c = 0; c < m->cols; c++) {
            out[i][c] = 0;
            for (size_t j = 0; j < m->terms; j++)
                out[i][c] += m->x[j * m->rows + i] * m->y[j * m->cols + c];
        }
}

/* values[n], falling, of the symmetric matrix s */
static void eigenvalues(double *values, double s[MOST][MOST], size_t n)
{
    for (int sweep = 0; sweep < 100; sweep++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                if (fabs(s[p][q]) < 1e-300) continue;
                double angle = 0.5 * atan2(2 * s[p][q], s[q][q] - s[p][p]);
                double c = cos(angle), sn = sin(angle);
                for (size_t k = 0; k < n; k++) {
                    double x = s[k][p], y = s[k][q];
                    s[k][p] = c * x - sn * y;
                    s[k][q] = sn * x + c * y;
                }
                for (size_t k = 0; k < n; k++) {
                    double x = s[p][k], y = s[q][k];
                    s[p][k] = c * x - sn * y;
                    s[q][k] = sn * x + c * y;
                }
            }
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t j = i; j < n; j++)
            if (s[j][j] > s[best][best]) best = j;
        values[i] = s[best][best];
        s[best][best] = s[i][i];
    }
}

static void check_vectors(const double *vectors, const double *sigma, size_t count, size_t length)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j <= i && sigma[i] > 1e-9; j++) {
            double sum = 0;
            for (size_t e = 0; e < length; e++)
                sum += vectors[i * length + e] * vectors[j * length + e];
            assert_true(fabs(sum - (i == j)) < 1e-10);
        }
}

static void check_signs(const fl_svd *svd, size_t rows)
{
    for (size_t j = 0; j < svd->count; j++) {
        double largest = 0;
        for (size_t i = 0; i < rows; i++)
            if (fabs(svd->u[j * rows + i]) > fabs(largest)) largest = svd->u[j * rows + i];
        assert_true(largest >= 0);
    }
}

static void check(size_t rows, size_t cols, size_t terms, bool repeats)
{
    static double dense[MOST][MOST], square[MOST][MOST];
    double values[MOST], frobenius, spectral, sum = 0;
    fl_low_rank m;
    fl_svd svd;
    make(&m, rows, cols, terms, repeats);
    write_out(dense, &m);
    for (size_t a = 0; a < cols; a++)
        for (size_t b = 0; b < cols; b++) {
            square[a][b] = 0;
            for (size_t i = 0; i < rows; i++)
                square[a][b] += dense[i][a] * dense[i][b];
        }
    eigenvalues(values, square, cols);
    assert_int_equal(fl_low_rank_svd(&svd, &m), FL_OK);
    assert_int_equal(fl_low_rank_norms(&m, &frobenius, &spectral), FL_OK);
    for (size_t i = 0; i < svd.count; i++) {
        assert_true(i == 0 || svd.sigma[i] <= svd.sigma[i - 1]);
        assert_true(fabs(svd.sigma[i] * svd.sigma[i] - values[i]) < 1e-12 * values[0]);
        sum += svd.sigma[i] * svd.sigma[i];
    }
    assert_true(fabs(frobenius * frobenius - sum) < 1e-12 * sum);
    assert_true(fabs(spectral - svd.sigma[0]) < 1e-6 * spectral);
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < cols; c++) {
            double again = 0;
            for (size_t j = 0; j < svd.count; j++)
                again += svd.sigma[j] * svd.u[j * rows + i] * svd.v[j * cols + c];
            assert_true(fabs(again - dense[i][c]) < 1e-12);
        }
    check_vectors(svd.u, svd.sigma, svd.count, rows);
    check_vectors(svd.v, svd.sigma, svd.count, cols);
    check_signs(&svd, rows);
    fl_svd_fini(&svd);
    fl_low_rank_fini(&m);
}

static void the_core_has_the_dense_singular_values(void **state)
{
    (void)state;
    check(12, 9, 4, false);
    check(9, 20, 6, false);
    check(5, 7, 15, false); /* more terms than rows and columns */
    check(20, 6, 11, false);
    check(6, 20, 11, false);
    check(10, 10, 1, false);
    check(11, 13, 6, true); /* rank 2 */
    check(4, 4, 9, true);
}

static void rank_by_share(void **state)
{
    (void)state;
    double sigma[] = {3, 2, 1, 0};
    fl_svd svd = {.count = 4, .sigma = sigma};
    assert_int_equal(fl_svd_rank(&svd, 9.0 / 14, 4), 1);
    assert_int_equal(fl_svd_rank(&svd, 0.65, 4), 2);
    assert_int_equal(fl_svd_rank(&svd, 0.95, 4), 3);
    assert_int_equal(fl_svd_rank(&svd, 0.95, 2), 2);
    assert_int_equal(fl_svd_rank(&svd, 1, 4), 3);
}

static void nothing_is_nothing(void **state)
{
    (void)state;
    static const float zeros[MOST];
    fl_low_rank m;
    fl_svd svd;
    double frobenius, spectral;
    assert_int_equal(fl_low_rank_init(&m, 3, 4, 2), FL_OK);
    assert_int_equal(fl_low_rank_norms(&m, &frobenius, &spectral), FL_OK);
    assert_true(frobenius == 0 && spectral == 0);
    fl_low_rank_add(&m, zeros, zeros, 2, 1);
    assert_int_equal(fl_low_rank_norms(&m, &frobenius, &spectral), FL_OK);
    assert_true(frobenius == 0 && spectral == 0);
    assert_int_equal(fl_low_rank_svd(&svd, &m), FL_OK);
    assert_true(svd.count == 2 && svd.sigma[0] == 0 && fl_svd_rank(&svd, 1, 2) == 0);
    fl_svd_fini(&svd);
    fl_low_rank_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_core_has_the_dense_singular_values),
        cmocka_unit_test(rank_by_share),
        cmocka_unit_test(nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
