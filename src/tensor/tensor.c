#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [FL_F32] = {"F32", 4}, [FL_F16] = {"F16", 2}, [FL_BF16] = {"BF16", 2}, [FL_F64] = {"F64", 8},
    [FL_I64] = {"I64", 8}, [FL_I32] = {"I32", 4}, [FL_I8] = {"I8", 1},     [FL_U8] = {"U8", 1},
};

size_t fl_dtype_size(fl_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *fl_dtype_name(fl_dtype dtype)
{
    return dtypes[dtype].name;
}

bool fl_dtype_parse(const char *name, fl_dtype *out)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = (fl_dtype)i;
            return true;
        }
    return false;
}

int64_t fl_tensor_count(const fl_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->ndim; i++)
        count *= tensor->dim[i];
    return count;
}

float fl_bf16_to_f32(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

float fl_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits >> 15) << 31;
    int exponent = (bits >> 10) & 31;
    uint32_t fraction = bits & 1023;
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 is exact in fp32 */
        float value = ldexpf((float)fraction, -24);
        return sign ? -value : value;
    }
    uint32_t wide = exponent == 31 ? 0x7f800000u : (uint32_t)(exponent - 15 + 127) << 23;
    wide |= sign | fraction << 13;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

void fl_to_f32(float *out, const void *data, fl_dtype dtype, size_t count)
{
    FL_ASSERT(dtype == FL_F32 || dtype == FL_F16 || dtype == FL_BF16);
    if (dtype == FL_F32) {
        memcpy(out, data, count * sizeof *out);
        return;
    }
    const unsigned char *bytes = data;
    float (*widen)(uint16_t) = dtype == FL_BF16 ? fl_bf16_to_f32 : fl_f16_to_f32;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        out[i] = widen(bits);
    }
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t fl_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40); /* rounding could make it infinite */
    /* Just under half of the last place, and one more when the result would be odd; a carry runs
     * into the exponent, which is the next larger value. */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t fl_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (isnan(value)) return (uint16_t)(sign | 0x7e00);
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and more: infinity */
    if (size < 0x38800000) {
        /* Below 2^-14: multiples of 2^-24.  Scaling is exact, and so is the current rounding mode's
         * nearest integer, which is to even. */
        return (uint16_t)(sign | (uint32_t)lrintf(ldexpf(fabsf(value), 24)));
    }
    size -= 0x38000000; /* the bias: 127 - 15 */
    return (uint16_t)(sign | (size + 0xfff + (size >> 13 & 1)) >> 13);
}

bool fl_from_f32(void *out, fl_dtype dtype, const float *values, size_t count)
{
    FL_ASSERT(dtype == FL_F32 || dtype == FL_F16 || dtype == FL_BF16);
    if (dtype == FL_F32) {
        memcpy(out, values, count * sizeof *values);
        return fl_all_finite(values, count);
    }
    uint16_t *narrow = out;
    uint16_t (*convert)(float) = dtype == FL_BF16 ? fl_f32_to_bf16 : fl_f32_to_f16;
    uint16_t exponent = dtype == FL_BF16 ? 0x7f80 : 0x7c00; /* all ones: NaN or infinity */
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        narrow[i] = convert(values[i]);
        finite = finite && (narrow[i] & exponent) != exponent;
    }
    return finite;
}

bool fl_all_finite(const float *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(data[i])) return false;
    return true;
}
