#include "tensor/low_rank.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { POWER_STEPS = 500, SWEEPS = 60 };

fl_status fl_low_rank_init(fl_low_rank *out, size_t rows, size_t cols, size_t capacity)
{
    size_t wide;
    *out = (fl_low_rank){.rows = rows, .cols = cols, .capacity = capacity};
    FL_CHECK(fl_mul_size(rows + cols, capacity, &wide), FL_ERR_MEMORY, "too many factors");
    FL_TRY(fl_alloc(&out->x, wide, sizeof *out->x));
    out->y = out->x + capacity * rows;
    return FL_OK;
}

void fl_low_rank_fini(fl_low_rank *m)
{
    fl_free(m->x);
    *m = (fl_low_rank){0};
}

void fl_low_rank_add(fl_low_rank *m, const float *b, const float *a, size_t r, double factor)
{
    FL_ASSERT(m->terms + r <= m->capacity);
    double half = sqrt(fabs(factor)), sign = factor < 0 ? -1.0 : 1.0;
    for (size_t j = 0; j < r; j++, m->terms++) {
        double *x = m->x + m->terms * m->rows, *y = m->y + m->terms * m->cols;
        for (size_t i = 0; i < m->rows; i++)
            x[i] = sign * half * (double)b[i * r + j];
        for (size_t i = 0; i < m->cols; i++)
            y[i] = half * (double)a[j * m->cols + i];
    }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- norms ---------------------------------------------------------------------------------- */

/* out[n][n] = inner products of n vectors of length m */
static void gram(double *out, const double *vectors, size_t m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            out[i * n + j] = out[j * n + i] = dot(vectors + i * m, vectors + j * m, m);
}

static void apply(double *out, const double *matrix, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dot(matrix + i * n, v, n);
}

/* Largest eigenvalue of gx gy, which is that of M M^T: the power method, with the quotient in the
 * inner product of gy, where gx gy is symmetric.  v, u, w: scratch [n]. */
static double largest(const double *gx, const double *gy, size_t n, double *v, double *u, double *w)
{
    double value = 0;
    for (size_t i = 0; i < n; i++)
        v[i] = 1.0 + (double)i / (double)n; /* some start that is not a symmetry of the factors */
    for (int step = 0; step < POWER_STEPS; step++) {
        apply(u, gy, v, n);
        apply(w, gx, u, n);
        double length = sqrt(dot(w, w, n)), below = dot(u, v, n), before = value;
        if (!(below > 0) || !(length > 0)) return value;
        value = dot(u, w, n) / below;
        for (size_t i = 0; i < n; i++)
            v[i] = w[i] / length;
        if (fabs(value - before) <= 1e-13 * value) break;
    }
    return value;
}

fl_status fl_low_rank_norms(const fl_low_rank *m, double *frobenius, double *spectral)
{
    size_t n = m->terms;
    double *gx;
    *frobenius = *spectral = 0;
    if (n == 0) return FL_OK;
    FL_TRY(fl_alloc(&gx, n * (2 * n + 3), sizeof *gx));
    double *gy = gx + n * n, *scratch = gy + n * n;
    gram(gx, m->x, m->rows, n);
    gram(gy, m->y, m->cols, n);
    *frobenius = sqrt(fmax(dot(gx, gy, n * n), 0)); /* tr(gx gy), both symmetric */
    *spectral = sqrt(fmax(largest(gx, gy, n, scratch, scratch + n, scratch + 2 * n), 0));
    fl_free(gx);
    return FL_OK;
}

/* ---- singular values ------------------------------------------------------------------------ */

/* A thin factorisation: vector l of n vectors of length m is sum_i q_i r[i, l], i < k = min(m, n).
 */
typedef struct factored {
    size_t m, n, k;
    double *q; /* [k][m] orthonormal */
    double *r; /* [k][n] */
} factored;

/* vector -= beta (v . vector) v, from element `first` on */
static void reflect(double *vector, const double *v, double beta, size_t first, size_t m)
{
    double by = beta * dot(v + first, vector + first, m - first);
    for (size_t i = first; i < m; i++)
        vector[i] -= by * v[i];
}

/* Makes column j's Householder vector in place; returns beta, *diagonal = what column j becomes. */
static double make_reflector(double *column, size_t j, size_t m, double *diagonal)
{
    double norm = sqrt(dot(column + j, column + j, m - j));
    *diagonal = column[j] > 0 ? -norm : norm;
    if (norm == 0) return 0;
    column[j] -= *diagonal;
    return 2.0 / dot(column + j, column + j, m - j);
}

/* Householder's QR.  Errors: FL_ERR_MEMORY. */
static fl_status factorise(factored *out, fl_arena *arena, const double *vectors, size_t m,
                           size_t n)
{
    size_t k = m < n ? m : n;
    double *a, *beta;
    *out = (factored){.m = m, .n = n, .k = k};
    FL_TRY(fl_arena_alloc(arena, &a, m * n, sizeof *a));
    FL_TRY(fl_arena_alloc(arena, &beta, k, sizeof *beta));
    FL_TRY(fl_arena_alloc(arena, &out->q, k * m, sizeof *out->q));
    FL_TRY(fl_arena_alloc(arena, &out->r, k * n, sizeof *out->r));
    memcpy(a, vectors, m * n * sizeof *a);
    for (size_t j = 0; j < k; j++) {
        beta[j] = make_reflector(a + j * m, j, m, &out->r[j * n + j]);
        for (size_t l = j + 1; l < n; l++)
            reflect(a + l * m, a + j * m, beta[j], j, m);
    }
    for (size_t i = 0; i < k; i++)
        for (size_t l = i + 1; l < n; l++)
            out->r[i * n + l] = a[l * m + i];
    for (size_t i = 0; i < k; i++) {
        out->q[i * m + i] = 1;
        for (size_t j = i + 1; j-- > 0;)
            reflect(out->q + i * m, a + j * m, beta[j], j, m);
    }
    return FL_OK;
}

/* One-sided Jacobi (Hestenes): turns pairs of the n columns of w [n][m] until all are orthogonal,
 * and those of v [n][n], the identity at first, in the same way. */
static void rotate(double *a, double *b, size_t n, double c, double s)
{
    for (size_t i = 0; i < n; i++) {
        double x = a[i], y = b[i];
        a[i] = c * x - s * y;
        b[i] = s * x + c * y;
    }
}

static bool make_orthogonal(double *w, double *v, size_t m, size_t n, size_t i, size_t j,
                            double negligible)
{
    double *a = w + i * m, *b = w + j * m;
    double aa = dot(a, a, m), bb = dot(b, b, m), ab = dot(a, b, m);
    if (fabs(ab) <= 4 * DBL_EPSILON * sqrt(aa) * sqrt(bb) || fabs(ab) <= negligible) return false;
    double zeta = (bb - aa) / (2 * ab);
    double t = (zeta < 0 ? -1.0 : 1.0) / (fabs(zeta) + sqrt(1 + zeta * zeta));
    double c = 1 / sqrt(1 + t * t);
    rotate(a, b, m, c, c * t);
    rotate(v + i * n, v + j * n, n, c, c * t);
    return true;
}

static void jacobi(double *w, double *v, size_t m, size_t n)
{
    double negligible = DBL_EPSILON * DBL_EPSILON * dot(w, w, m * n);
    for (size_t i = 0; i < n; i++)
        v[i * n + i] = 1;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool turned = false;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t j = i + 1; j < n; j++)
                turned |= make_orthogonal(w, v, m, n, i, j, negligible);
        if (!turned) return;
    }
}

/* out[m] = sum_i q_i c[i] */
static void expand(double *out, const factored *f, const double *c)
{
    for (size_t i = 0; i < f->k; i++)
        for (size_t e = 0; e < f->m; e++)
            out[e] += c[i] * f->q[i * f->m + e];
}

/* core[b->k][a->k]: column i of the core belongs to q_i of b; element e to q_e of a. */
static void make_core(double *core, const factored *a, const factored *b)
{
    for (size_t i = 0; i < b->k; i++)
        for (size_t e = 0; e < a->k; e++)
            core[i * a->k + e] = dot(a->r + e * a->n, b->r + i * b->n, a->n);
}

/* The largest column that is not yet taken, the first of equal ones. */
static size_t take_largest(double *length, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (length[i] > length[best]) best = i;
    return best;
}

static void fix_sign(double *u, size_t rows, double *v, size_t cols)
{
    size_t at = 0;
    for (size_t i = 1; i < rows; i++)
        if (fabs(u[i]) > fabs(u[at])) at = i;
    if (u[at] >= 0) return;
    for (size_t i = 0; i < rows; i++)
        u[i] = -u[i];
    for (size_t i = 0; i < cols; i++)
        v[i] = -v[i];
}

/* M = a b^T with the larger core side first, so that the core has no more columns than rows.
 * left, right: where vectors of a's and b's side go. */
static fl_status decompose(fl_svd *out, const factored *a, const factored *b, double *left,
                           double *right)
{
    double *w, *v, *length;
    FL_TRY(fl_arena_alloc(out->arena, &w, a->k * b->k, sizeof *w));
    FL_TRY(fl_arena_alloc(out->arena, &v, b->k * b->k, sizeof *v));
    FL_TRY(fl_arena_alloc(out->arena, &length, b->k, sizeof *length));
    make_core(w, a, b);
    jacobi(w, v, a->k, b->k);
    for (size_t i = 0; i < b->k; i++)
        length[i] = sqrt(dot(w + i * a->k, w + i * a->k, a->k));
    for (size_t j = 0; j < b->k; j++) {
        size_t i = take_largest(length, b->k);
        out->sigma[j] = length[i];
        for (size_t e = 0; length[i] > 0 && e < a->k; e++)
            w[i * a->k + e] /= length[i];
        expand(left + j * a->m, a, w + i * a->k);
        expand(right + j * b->m, b, v + i * b->k);
        length[i] = -1;
    }
    return FL_OK;
}

static fl_status find_svd(fl_svd *out, const fl_low_rank *m)
{
    factored x, y;
    FL_TRY(fl_arena_create(&out->arena));
    FL_TRY(factorise(&x, out->arena, m->x, m->rows, m->terms));
    FL_TRY(factorise(&y, out->arena, m->y, m->cols, m->terms));
    out->count = x.k < y.k ? x.k : y.k;
    FL_TRY(fl_arena_alloc(out->arena, &out->sigma, out->count, sizeof *out->sigma));
    FL_TRY(fl_arena_alloc(out->arena, &out->u, out->count * m->rows, sizeof *out->u));
    FL_TRY(fl_arena_alloc(out->arena, &out->v, out->count * m->cols, sizeof *out->v));
    if (x.k >= y.k)
        FL_TRY(decompose(out, &x, &y, out->u, out->v));
    else
        FL_TRY(decompose(out, &y, &x, out->v, out->u));
    for (size_t j = 0; j < out->count; j++)
        fix_sign(out->u + j * m->rows, m->rows, out->v + j * m->cols, m->cols);
    return FL_OK;
}

fl_status fl_low_rank_svd(fl_svd *out, const fl_low_rank *m)
{
    *out = (fl_svd){0};
    fl_status status = find_svd(out, m);
    if (status != FL_OK) fl_svd_fini(out);
    return status;
}

void fl_svd_fini(fl_svd *svd)
{
    fl_arena_destroy(svd->arena);
    *svd = (fl_svd){0};
}

size_t fl_svd_rank(const fl_svd *svd, double share, size_t most)
{
    double total = dot(svd->sigma, svd->sigma, svd->count), sum = 0;
    size_t q = 0;
    while (q < svd->count && q < most && svd->sigma[q] > 0 && sum < share * total) {
        sum += svd->sigma[q] * svd->sigma[q];
        q++;
    }
    return q;
}
