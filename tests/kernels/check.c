#include "check.h"

#include "emulation.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"

#include <stdio.h>

enum { MAX_BUFFERS = 1024, GUARD_BYTES = 64, GUARD = 0xa5 };

static bool select_isa(const char *name)
{
    return fl_isa_select(name);
}

static bool select_order(const char *name)
{
    return check_emulation_order(name[0] == 'f' ? 0 : name[0] == 'b' ? 1 : 20261123);
}

static bool always(const char *name)
{
    (void)name;
    return true;
}

/* One line per backend and way to run it, which `select` tries to take. */
// clang-format off
static const struct {
    const char *backend, *name;
    bool (*select)(const char *name);
} variants[] = {
    {"cpu", "portable", select_isa},
    {"cpu", "avx2", select_isa},
    {"cpu", "avx512", select_isa},
    {"cuda_emu", "forwards", select_order},
    {"cuda_emu", "backwards", select_order},
    {"cuda_emu", "shuffled", select_order},
    {"cuda", "", always},
};
// clang-format on

static const fl_backend_ops *backend = &fl_backend_cpu;
static char backend_name[32];

const fl_backend_ops *check_backend(int index)
{
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const fl_backend_ops *found = fl_backend_find(variants[i].backend);
        if (!found || !found->present() || !variants[i].select(variants[i].name)) continue;
        if (index-- > 0) continue;
        backend = found;
        assert_int_equal(found->open(0), FL_OK);
        assert_int_equal(found->set_compute(FL_F32), FL_OK);
        snprintf(backend_name, sizeof backend_name, "%s %s", variants[i].backend, variants[i].name);
        return found;
    }
    fl_isa_select(NULL);
    fl_cpu_release_scratch();
    return NULL;
}

const char *check_backend_name(void)
{
    return backend_name;
}

/* A buffer with its guards; host memory when ops is NULL. */
static struct {
    const fl_backend_ops *ops;
    unsigned char *base;
    size_t before, bytes;
} buffers[MAX_BUFFERS];
static int num_buffers;

static void *add_host(size_t count, size_t size)
{
    void *data = NULL;
    assert_true(num_buffers < MAX_BUFFERS);
    assert_int_equal(fl_alloc(&data, count, size), FL_OK);
    buffers[num_buffers].ops = NULL;
    buffers[num_buffers++].base = data;
    return data;
}

void *check_buffer(const void *host, int64_t count, size_t size)
{
    size_t bytes = (size_t)count * size, before = GUARD_BYTES + size;
    size_t total = before + bytes + GUARD_BYTES;
    assert_true(num_buffers < MAX_BUFFERS);
    unsigned char *image = NULL, *base = NULL;
    assert_int_equal(fl_alloc(&image, total, 1), FL_OK);
    memset(image, GUARD, total);
    memset(image + before, 0xff, bytes);
    if (host && bytes > 0) memcpy(image + before, host, bytes);
    assert_int_equal(backend->alloc(&base, total), FL_OK);
    backend->copy_in(base, image, total);
    fl_free(image);
    buffers[num_buffers].ops = backend;
    buffers[num_buffers].base = base;
    buffers[num_buffers].before = before;
    buffers[num_buffers++].bytes = bytes;
    return base + before;
}

static void check_guards(int index)
{
    size_t before = buffers[index].before, bytes = buffers[index].bytes;
    size_t total = before + bytes + GUARD_BYTES;
    unsigned char *image = NULL;
    assert_int_equal(fl_alloc(&image, total, 1), FL_OK);
    buffers[index].ops->copy_out(image, buffers[index].base, total);
    for (size_t i = 0; i < total; i++) {
        if (i >= before && i < before + bytes) continue;
        if (image[i] != GUARD)
            fail_msg("%s: buffer %d of %zu bytes was written at byte %td", backend_name, index,
                     bytes, (ptrdiff_t)i - (ptrdiff_t)before);
    }
    fl_free(image);
}

void check_release(void)
{
    if (backend->status() != FL_OK) fail_msg("%s: %s", backend_name, fl_error_text());
    for (int i = 0; i < num_buffers; i++) {
        if (buffers[i].ops) {
            check_guards(i);
            buffers[i].ops->release(buffers[i].base);
        } else {
            fl_free(buffers[i].base);
        }
    }
    num_buffers = 0;
}

float *check_floats(int64_t count)
{
    return check_buffer(NULL, count, sizeof(float));
}

float *check_copy(const float *host, int64_t count)
{
    return check_buffer(host, count, sizeof(float));
}

int32_t *check_ints(const int32_t *host, int64_t count)
{
    return check_buffer(host, count, sizeof(int32_t));
}

double *check_doubles(int64_t count)
{
    return check_buffer(NULL, count, sizeof(double));
}

fl_rng *check_stream(const fl_rng *rng)
{
    return check_buffer(rng, 1, sizeof *rng);
}

/* Cuts to the leading bits of fp32: a bf16 value, or one that fp16 holds exactly. */
static float truncate_bits(float x, int keep_fraction)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= ~0u << (23 - keep_fraction);
    memcpy(&x, &bits, sizeof bits);
    return x;
}

/* The bits of x in fp16; x is normal in fp16 and has 10 bits of fraction. */
static uint16_t f16_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23 & 255) - 127 + 15;
    return (uint16_t)(bits >> 16 & 0x8000) |
           (uint16_t)((uint32_t)exponent << 10 | (bits >> 13 & 1023));
}

fl_weight check_weight(float *host, fl_dtype dtype, int64_t rows, int64_t cols)
{
    int64_t count = rows * cols;
    fl_weight w = {.dtype = dtype, .rows = rows, .cols = cols};
    if (dtype == FL_F32) {
        w.data = check_copy(host, count);
        return w;
    }
    uint16_t *half = add_host((size_t)count, sizeof *half);
    for (int64_t i = 0; i < count; i++) {
        if (fabsf(host[i]) < 0x1p-13f) host[i] = 0x1p-13f; // keeps fp16 normal
        host[i] = truncate_bits(host[i], dtype == FL_BF16 ? 7 : 10);
        uint32_t bits;
        memcpy(&bits, &host[i], sizeof bits);
        half[i] = dtype == FL_BF16 ? (uint16_t)(bits >> 16) : f16_bits(host[i]);
    }
    w.data = check_buffer(half, count, sizeof *half);
    return w;
}

float *check_host(int64_t count)
{
    return add_host((size_t)count, sizeof(float));
}

double *check_host_double(int64_t count)
{
    return add_host((size_t)count, sizeof(double));
}

float *check_random(uint64_t seed, int64_t count)
{
    float *x = check_host(count);
    fl_rng rng = fl_rng_make(seed, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = 2.0f * fl_rng_uniform(&rng) - 1.0f;
    return x;
}

double *check_widen(const float *x, int64_t count)
{
    double *wide = check_host_double(count);
    for (int64_t i = 0; i < count; i++)
        wide[i] = (double)x[i];
    return wide;
}

static void *device_bytes(const void *bytes, int64_t count)
{
    float *copy = check_host((count + 3) / 4);
    memcpy(copy, bytes, (size_t)count);
    return check_copy(copy, (count + 3) / 4);
}

check_quantised check_quantise(const float *w, fl_format format, bool nested, int64_t rows,
                               int64_t cols)
{
    int64_t count = rows * cols, blocks = (count + 63) / 64, groups = (blocks + 255) / 256;
    check_quantised q = {.quant = {.format = format, .cols = cols}};
    uint8_t *codes = (uint8_t *)check_host(count / 4 + 1), *nested_codes;
    float *absmax = check_host(format == FL_INT8 ? rows : blocks), *scale = check_host(groups);
    float *map = check_host(FL_ABSMAX_CODES), *wide = check_host(count);
    nested_codes = (uint8_t *)check_host(blocks / 4 + 1);
    for (int64_t r = 0; format == FL_INT8 && r < rows; r++)
        absmax[r] = fl_quantise_int8_row((int8_t *)codes + r * cols, w + r * cols, cols);
    for (int64_t b = 0; format == FL_NF4 && b < blocks; b++)
        absmax[b] = fl_quantise_nf4_block(codes + b * 32, w + b * 64,
                                          count - b * 64 < 64 ? count - b * 64 : 64);
    fl_dynamic_map(map);
    fl_quantise_absmax(nested_codes, scale, &q.quant.absmax_offset, absmax, nested ? blocks : 0);
    fl_quant host = q.quant;
    host.codes = codes;
    host.absmax = nested ? NULL : absmax;
    host.absmax_codes = nested_codes;
    host.absmax_map = map;
    host.absmax_scale = scale;
    fl_dequantise(wide, &host, 0, count);
    q.values = check_widen(wide, count);
    q.quant.codes = device_bytes(codes, format == FL_INT8 ? count : (count + 1) / 2);
    if (!nested) q.quant.absmax = check_copy(absmax, format == FL_INT8 ? rows : blocks);
    q.quant.absmax_codes = device_bytes(nested_codes, blocks);
    q.quant.absmax_map = check_copy(map, FL_ABSMAX_CODES);
    q.quant.absmax_scale = check_copy(scale, groups);
    return q;
}

void check_close(const char *what, const float *got, const double *want, int64_t count,
                 double absolute, double relative)
{
    float *host = NULL;
    assert_int_equal(fl_alloc(&host, (size_t)count, sizeof *host), FL_OK);
    backend->copy_out(host, got, (size_t)count * sizeof *host);
    int64_t worst = 0;
    double worst_ratio = -1;
    for (int64_t i = 0; i < count; i++) {
        double ratio = fabs((double)host[i] - want[i]) / (absolute + relative * fabs(want[i]));
        if (!(ratio <= worst_ratio)) { // NaN is the worst of all
            worst = i;
            worst_ratio = ratio;
        }
        if (isnan(ratio)) break;
    }
    if (count > 0 && !(worst_ratio <= 1.0))
        fail_msg("%s, %s: element %lld of %lld is %.9g, want %.9g (%.3g times the tolerance)",
                 backend_name, what, (long long)worst, (long long)count, (double)host[worst],
                 want[worst], worst_ratio);
    fl_free(host);
}

void check_same(const char *what, const void *a, const void *b, size_t bytes)
{
    unsigned char *x = NULL, *y = NULL;
    assert_int_equal(fl_alloc(&x, bytes, 1), FL_OK);
    assert_int_equal(fl_alloc(&y, bytes, 1), FL_OK);
    backend->copy_out(x, a, bytes);
    backend->copy_out(y, b, bytes);
    for (size_t i = 0; i < bytes; i++) {
        if (x[i] != y[i])
            fail_msg("%s, %s: bytes differ first at %zu of %zu", backend_name, what, i, bytes);
    }
    fl_free(x);
    fl_free(y);
}
