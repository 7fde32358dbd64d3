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

bool fl_all_finite(const float *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(data[i])) return false;
    return true;
}
