/* Shared by the kernel tests: the backends to run on, guarded buffers in backend memory, random
 * data, and comparisons that name the worst element.
 *
 * A test walks over its table of cases and over check_backend(0), check_backend(1), ...; it calls
 * ops through the table alone, so a new backend is one line in check.c.
 *
 * Every buffer has guard values on both sides and starts one element off the 64-byte grid; outputs
 * start as NaN.  check_release ends a case: it compares the guards and frees the buffers.
 */
#ifndef FL_TESTS_KERNELS_CHECK_H
#define FL_TESTS_KERNELS_CHECK_H

#include "backend/dense.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Half a unit in the last place of 1.0f: the relative error of one rounding. */
#define CHECK_EPS 0x1p-24

#define CHECK_COUNT(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

/* Backend number `index`, ready for use (the cpu backend comes once per instruction set that this
 * machine has); NULL at the end.  check_backend_name says which one is in use. */
const fl_backend_ops *check_backend(int index);
const char *check_backend_name(void);

/* Buffers in backend memory, which only ops and the functions here may touch, filled with NaN
 * (bytes 0xff), or with a copy of host values.  Valid until check_release. */
float *check_floats(int64_t count);
float *check_copy(const float *host, int64_t count);
int32_t *check_ints(const int32_t *host, int64_t count); /* host NULL: filled with -1 */
double *check_doubles(int64_t count);
fl_rng *check_stream(const fl_rng *rng);
void *check_buffer(const void *host, int64_t count, size_t size);
/* A weight [rows, cols] of that dtype with the values of `host`, which are rounded to it. */
fl_weight check_weight(float *host, fl_dtype dtype, int64_t rows, int64_t cols);
/* A quantised weight with its values in double (host); everything else is backend memory but the
 * struct.  FL_NF4: with double quantisation when `nested`. */
typedef struct check_quantised {
    fl_quant quant;
    double *values;
} check_quantised;
check_quantised check_quantise(const float *w, fl_format format, bool nested, int64_t rows,
                               int64_t cols);
void check_release(void);

/* Host memory, zeroed, freed by check_release too. */
float *check_host(int64_t count);
double *check_host_double(int64_t count);
/* [count] uniform in [-1, 1], a function of `seed` alone. */
float *check_random(uint64_t seed, int64_t count);
double *check_widen(const float *x, int64_t count);

/* got (backend memory) against want (host): |got - want| <= absolute + relative * |want| for every
 * element, or the test fails with the largest excess, its index and both values. */
void check_close(const char *what, const float *got, const double *want, int64_t count,
                 double absolute, double relative);
/* Two buffers of backend memory have the same bits. */
void check_same(const char *what, const void *a, const void *b, size_t bytes);

#endif
