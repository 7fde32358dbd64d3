/* Floats of 16 bits. */
#include "kernels/emu/emu.h"

namespace fl_emu
{

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float __bfloat162float(__nv_bfloat16 value)
{
    return float_of((uint32_t)value.bits << 16);
}

__nv_bfloat16 __float2bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff}; // NaN
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

/* Sign, exponent and fraction moved to their places; 2^112 makes up for the other bias, also for
 * subnormals. */
float __half2float(__half value)
{
    uint32_t sign = (uint32_t)(value.bits & 0x8000) << 16, rest = value.bits & 0x7fffu;
    if (rest >= 0x7c00) return float_of(sign | 0x7f800000 | rest << 13);
    float size = float_of(rest << 13) * 0x1p112f;
    return sign ? -size : size;
}

} // namespace fl_emu
