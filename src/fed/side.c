#include "fed/side.h"

#include <math.h>
#include <string.h>

/* A vector of its own: what is saved and broadcast as a whole. */
static fl_status make_vector(fl_params *out, const char *name, size_t count)
{
    const int64_t dim = (int64_t)count;
    FL_TRY(fl_params_init(out, 1));
    FL_TRY(fl_params_add(out, name, 1, &dim));
    return fl_params_allocate(out);
}

static size_t num_pairs(const fl_side *side)
{
    return side->layout->num_params / 2;
}

static const fl_param *matrix(const fl_side *side, size_t pair, size_t *rows, size_t *cols)
{
    const fl_param *a = &side->layout->params[2 * pair];
    *cols = (size_t)a->dim[1];
    *rows = (size_t)a[1].dim[0];
    return a;
}

static size_t bound(const fl_side *side, size_t pair)
{
    size_t rows, cols;
    matrix(side, pair, &rows, &cols);
    return rows < cols ? rows : cols;
}

fl_status fl_side_init(fl_side *out, const fl_params *layout)
{
    *out = (fl_side){.layout = layout};
    fl_status status = make_vector(&out->rank, "rank", layout->num_params / 2);
    if (status == FL_OK) status = make_vector(&out->values, "values", 0);
    if (status != FL_OK) fl_side_fini(out);
    return status;
}

void fl_side_fini(fl_side *side)
{
    fl_params_fini(&side->rank);
    fl_params_fini(&side->values);
    *side = (fl_side){0};
}

size_t fl_side_rank(const fl_side *side, size_t pair)
{
    return (size_t)side->rank.data[pair];
}

float *fl_side_a(const fl_side *side, size_t pair)
{
    size_t offset = 0, rows, cols;
    for (size_t i = 0; i < pair; i++) {
        matrix(side, i, &rows, &cols);
        offset += fl_side_rank(side, i) * (rows + cols);
    }
    return side->values.data + offset;
}

float *fl_side_b(const fl_side *side, size_t pair)
{
    size_t rows, cols;
    matrix(side, pair, &rows, &cols);
    return fl_side_a(side, pair) + fl_side_rank(side, pair) * cols;
}

fl_status fl_side_set_ranks(fl_side *side, const size_t *rank)
{
    size_t count = 0, rows, cols;
    for (size_t i = 0; i < num_pairs(side); i++) {
        matrix(side, i, &rows, &cols);
        count += rank[i] * (rows + cols);
    }
    fl_params values;
    FL_TRY(make_vector(&values, "values", count));
    fl_params_fini(&side->values);
    side->values = values;
    for (size_t i = 0; i < num_pairs(side); i++)
        side->rank.data[i] = (float)rank[i];
    return FL_OK;
}

void fl_side_clear(fl_side *side)
{
    memset(side->rank.data, 0, side->rank.count * sizeof *side->rank.data);
    side->values.count = side->values.params[0].count = 0;
    side->values.params[0].dim[0] = 0;
}

/* ---- adding --------------------------------------------------------------------------------- */

/* The factors of two sides of a pair behind one another. */
static void join_pair(float *a, float *b, const fl_side *first, const fl_side *second, size_t pair)
{
    size_t rows, cols, p = fl_side_rank(first, pair), q = fl_side_rank(second, pair);
    matrix(first, pair, &rows, &cols);
    memcpy(a, fl_side_a(first, pair), p * cols * sizeof *a);
    memcpy(a + p * cols, fl_side_a(second, pair), q * cols * sizeof *a);
    const float *left = fl_side_b(first, pair), *right = fl_side_b(second, pair);
    for (size_t i = 0; i < rows; i++) {
        memcpy(b + i * (p + q), left + i * p, p * sizeof *b);
        memcpy(b + i * (p + q) + p, right + i * q, q * sizeof *b);
    }
}

/* row[cols] += row i of the pair's product */
static void add_row(double *row, const fl_side *side, size_t pair, size_t i)
{
    size_t rows, cols, q = fl_side_rank(side, pair);
    matrix(side, pair, &rows, &cols);
    const float *a = fl_side_a(side, pair), *b = fl_side_b(side, pair) + i * q;
    for (size_t j = 0; j < q; j++) {
        double factor = (double)b[j];
        for (size_t c = 0; factor != 0 && c < cols; c++)
            row[c] += factor * (double)a[j * cols + c];
    }
}

/* The sum of both products, row by row, beside the identity.  `first` may be such a sum already. */
static void write_out(float *a, float *b, const fl_side *first, const fl_side *second, size_t pair,
                      double *row)
{
    size_t rows, cols;
    matrix(first, pair, &rows, &cols);
    size_t n = rows <= cols ? rows : cols;
    float *product = rows <= cols ? a : b, *identity = rows <= cols ? b : a;
    const float *old = rows <= cols ? fl_side_a(first, pair) : fl_side_b(first, pair);
    if (fl_side_rank(first, pair) < n) old = NULL;
    for (size_t i = 0; i < n; i++)
        identity[i * n + i] = 1;
    for (size_t i = 0; i < rows; i++) {
        memset(row, 0, cols * sizeof *row);
        for (size_t c = 0; old && c < cols; c++)
            row[c] = (double)old[i * cols + c];
        if (!old) add_row(row, first, pair, i);
        add_row(row, second, pair, i);
        for (size_t c = 0; c < cols; c++)
            product[i * cols + c] = (float)row[c];
    }
}

static fl_status add_into(fl_side *sum, const fl_side *side, const fl_side *more, double *row,
                          size_t *rank)
{
    for (size_t i = 0; i < num_pairs(side); i++) {
        size_t both = fl_side_rank(side, i) + fl_side_rank(more, i), most = bound(side, i);
        rank[i] = both < most ? both : most;
    }
    FL_TRY(fl_side_set_ranks(sum, rank));
    for (size_t i = 0; i < num_pairs(side); i++) {
        if (rank[i] < bound(side, i))
            join_pair(fl_side_a(sum, i), fl_side_b(sum, i), side, more, i);
        else
            write_out(fl_side_a(sum, i), fl_side_b(sum, i), side, more, i, row);
    }
    return FL_OK;
}

static fl_status add_with(fl_side *sum, const fl_side *side, const fl_side *more)
{
    size_t widest = 0, rows, cols, *rank;
    double *row;
    for (size_t i = 0; i < num_pairs(side); i++) {
        matrix(side, i, &rows, &cols);
        if (cols > widest) widest = cols;
    }
    FL_TRY(fl_alloc(&rank, num_pairs(side), sizeof *rank));
    fl_status status = fl_alloc(&row, widest, sizeof *row);
    if (status == FL_OK) status = add_into(sum, side, more, row, rank);
    if (status == FL_OK) fl_free(row);
    fl_free(rank);
    return status;
}

fl_status fl_side_add(fl_side *side, const fl_side *more)
{
    fl_side sum;
    FL_TRY(fl_side_init(&sum, side->layout));
    fl_status status = add_with(&sum, side, more);
    if (status != FL_OK) {
        fl_side_fini(&sum);
        return status;
    }
    /* the vectors stay where they are known: only what they hold is exchanged */
    memcpy(side->rank.data, sum.rank.data, sum.rank.count * sizeof *sum.rank.data);
    fl_params old = side->values;
    side->values = sum.values;
    sum.values = old;
    fl_side_fini(&sum);
    return FL_OK;
}

/* ---- loading, saving ----------------------------------------------------------------------- */

fl_status fl_side_check(const fl_side *side)
{
    size_t count = 0;
    for (size_t i = 0; i < num_pairs(side); i++) {
        size_t rows, cols;
        float rank = side->rank.data[i];
        matrix(side, i, &rows, &cols);
        FL_CHECK(rank >= 0 && rank <= (float)bound(side, i) && rank == floorf(rank), FL_ERR_INPUT,
                 "the change of the base has a rank of %g", (double)rank);
        count += (size_t)rank * (rows + cols);
    }
    FL_CHECK(count == side->values.count && fl_all_finite(side->values.data, count), FL_ERR_INPUT,
             "the change of the base does not fit its ranks");
    return FL_OK;
}

static fl_status add_joined(fl_params *out, const fl_side *side)
{
    for (size_t i = 0; i < num_pairs(side); i++) {
        size_t rows, cols;
        const fl_param *a = matrix(side, i, &rows, &cols);
        int64_t rank = (int64_t)fl_side_rank(side, i) + a->dim[0];
        FL_TRY(fl_params_add(out, a->name, 2, (const int64_t[]){rank, (int64_t)cols}));
        FL_TRY(fl_params_add(out, a[1].name, 2, (const int64_t[]){(int64_t)rows, rank}));
    }
    return fl_params_allocate(out);
}

static void fill_joined(fl_params *out, const fl_side *side, const float *adapter,
                        const double *scale, size_t pair)
{
    size_t rows, cols, q = fl_side_rank(side, pair);
    const fl_param *a = matrix(side, pair, &rows, &cols);
    size_t r = (size_t)a->dim[0];
    float *to_a = out->data + out->params[2 * pair].offset;
    float *to_b = out->data + out->params[2 * pair + 1].offset;
    const float *from_b = adapter + a[1].offset, *side_b = fl_side_b(side, pair);
    memcpy(to_a, fl_side_a(side, pair), q * cols * sizeof *to_a);
    memcpy(to_a + q * cols, adapter + a->offset, r * cols * sizeof *to_a);
    for (size_t i = 0; i < rows; i++) {
        memcpy(to_b + i * (q + r), side_b + i * q, q * sizeof *to_b);
        for (size_t j = 0; j < r; j++)
            to_b[i * (q + r) + q + j] = (float)(scale[pair] * (double)from_b[i * r + j]);
    }
}

fl_status fl_side_join(fl_params *out, const fl_side *side, const float *adapter,
                       const double *scale)
{
    fl_params joined;
    FL_TRY(fl_params_init(&joined, side->layout->num_params));
    fl_status status = add_joined(&joined, side);
    if (status != FL_OK) {
        fl_params_fini(&joined);
        return status;
    }
    for (size_t i = 0; i < num_pairs(side); i++)
        fill_joined(&joined, side, adapter, scale, i);
    *out = joined;
    return FL_OK;
}
