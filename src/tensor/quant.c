#include "tensor/quant.h"

#include <math.h>

// clang-format off
const float fl_nf4_values[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};

/* Code i + 1 begins above threshold i (bitsandbytes csrc/kernels.cu, dQuantizeNF4). */
static const float nf4_thresholds[15] = {
    -0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f,
    -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,
    0.1202552504837513f, 0.2035212516784668f, 0.2920137718319893f, 0.3893125355243683f,
    0.5016634166240692f, 0.6427869200706482f, 0.8614784181118011f,
};

/* The positive entries below 1 of create_dynamic_map(): 7 decades with 1, 2, 4 ... 64 steps. */
static const float dynamic_positive[127] = {
    0x1.27476ep-21f, 0x1.b43528p-19f, 0x1.040bfep-17f, 0x1.64840cp-16f, 0x1.6f0068p-15f, 0x1.15df66p-14f,
    0x1.743e96p-14f, 0x1.47ae16p-13f, 0x1.19ce0ap-12f, 0x1.8fc506p-12f, 0x1.02de02p-11f, 0x1.3dd982p-11f,
    0x1.78d5p-11f, 0x1.b3d07cp-11f, 0x1.eecbfep-11f, 0x1.4fdf3ap-10f, 0x1.e353f8p-10f, 0x1.3b645ap-9f,
    0x1.851eb8p-9f, 0x1.ced914p-9f, 0x1.0c49bap-8f, 0x1.3126e8p-8f, 0x1.56041ap-8f, 0x1.7ae148p-8f,
    0x1.9fbe76p-8f, 0x1.c49ba6p-8f, 0x1.e978d4p-8f, 0x1.072b02p-7f, 0x1.19999ap-7f, 0x1.2c083p-7f,
    0x1.3e76c8p-7f, 0x1.75c29p-7f, 0x1.d1eb86p-7f, 0x1.170a3ep-6f, 0x1.451ebap-6f, 0x1.733334p-6f,
    0x1.a147aep-6f, 0x1.cf5c2ap-6f, 0x1.fd70a4p-6f, 0x1.15c29p-5f, 0x1.2ccccep-5f, 0x1.43d70ap-5f,
    0x1.5ae146p-5f, 0x1.71eb86p-5f, 0x1.88f5c2p-5f, 0x1.ap-5f, 0x1.b70a3ep-5f, 0x1.ce147ap-5f,
    0x1.e51ebap-5f, 0x1.fc28f6p-5f, 0x1.09999ap-4f, 0x1.151ebap-4f, 0x1.20a3d6p-4f, 0x1.2c28f6p-4f,
    0x1.37ae14p-4f, 0x1.433334p-4f, 0x1.4eb854p-4f, 0x1.5a3d7p-4f, 0x1.65c29p-4f, 0x1.7147aep-4f,
    0x1.7ccccep-4f, 0x1.8851eep-4f, 0x1.93d70ap-4f, 0x1.b66668p-4f, 0x1.fp-4f, 0x1.14ccccp-3f,
    0x1.31999ap-3f, 0x1.4e6666p-3f, 0x1.6b3334p-3f, 0x1.88p-3f, 0x1.a4ccccp-3f, 0x1.c1999ap-3f,
    0x1.de6666p-3f, 0x1.fb3332p-3f, 0x1.0cp-2f, 0x1.1a6668p-2f, 0x1.28ccccp-2f, 0x1.373334p-2f,
    0x1.459998p-2f, 0x1.54p-2f, 0x1.626666p-2f, 0x1.70ccccp-2f, 0x1.7f3334p-2f, 0x1.8d9998p-2f,
    0x1.9cp-2f, 0x1.aa6666p-2f, 0x1.b8ccccp-2f, 0x1.c73334p-2f, 0x1.d59998p-2f, 0x1.e4p-2f,
    0x1.f26664p-2f, 0x1.006666p-1f, 0x1.079998p-1f, 0x1.0eccccp-1f, 0x1.16p-1f, 0x1.1d3334p-1f,
    0x1.246668p-1f, 0x1.2b999ap-1f, 0x1.32ccccp-1f, 0x1.3ap-1f, 0x1.413334p-1f, 0x1.486668p-1f,
    0x1.4f999ap-1f, 0x1.56ccccp-1f, 0x1.5ep-1f, 0x1.653334p-1f, 0x1.6c6668p-1f, 0x1.73999ap-1f,
    0x1.7accccp-1f, 0x1.82p-1f, 0x1.893334p-1f, 0x1.906666p-1f, 0x1.97999ap-1f, 0x1.9eccccp-1f,
    0x1.a6p-1f, 0x1.ad3334p-1f, 0x1.b46666p-1f, 0x1.bb999ap-1f, 0x1.c2ccccp-1f, 0x1.cap-1f,
    0x1.d13334p-1f, 0x1.d86666p-1f, 0x1.df999ap-1f, 0x1.e6ccccp-1f, 0x1.eep-1f, 0x1.f53334p-1f,
    0x1.fc6666p-1f,
};
// clang-format on

void fl_dynamic_map(float out[FL_ABSMAX_CODES])
{
    for (int i = 0; i < 127; i++) {
        out[126 - i] = -dynamic_positive[i];
        out[128 + i] = dynamic_positive[i];
    }
    out[127] = 0;
    out[255] = 1;
}

static float largest(const float *x, int64_t count)
{
    float most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most;
}

float fl_quantise_int8_row(int8_t *out, const float *x, int64_t count)
{
    float absmax = largest(x, count);
    float factor = absmax > 0 ? 127.0f / absmax : 0;
    for (int64_t i = 0; i < count; i++) {
        float q = rintf(x[i] * factor);
        q = q > 127 ? 127 : q < -127 ? -127 : q; // where 127 / absmax is infinite
        out[i] = (int8_t)q;
    }
    return absmax;
}

/* codes[i] = the number of thresholds below x[i], counted for all at once: a search for each would
 * be ten times slower. */
static void nf4_codes(int32_t codes[FL_NF4_BLOCK], const float x[FL_NF4_BLOCK])
{
    for (int i = 0; i < FL_NF4_BLOCK; i++)
        codes[i] = 0;
    for (int t = 0; t < 15; t++) {
        float threshold = nf4_thresholds[t];
        for (int i = 0; i < FL_NF4_BLOCK; i++)
            codes[i] += x[i] > threshold;
    }
}

float fl_quantise_nf4_block(uint8_t *out, const float *x, int64_t count)
{
    float absmax = largest(x, count), scaled[FL_NF4_BLOCK] = {0};
    float factor = 1.0f / (absmax > 1e-38f ? absmax : 1e-38f);
    int32_t codes[FL_NF4_BLOCK];
    for (int64_t i = 0; i < count; i++)
        scaled[i] = x[i] * factor;
    nf4_codes(codes, scaled);
    if (count % 2) codes[count] = 0; // the half byte behind the end
    for (int64_t i = 0; i < count; i += 2)
        out[i / 2] = (uint8_t)(codes[i] << 4 | codes[i + 1]);
    return absmax;
}

static uint8_t nearest_code(const float *map, float x)
{
    int low = 0, high = FL_ABSMAX_CODES - 1; // map[low] <= x < map[high] but at the ends
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (map[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return (uint8_t)(x - map[low] <= map[high] - x ? low : high);
}

void fl_quantise_absmax(uint8_t *codes, float *scale, float *offset, const float *absmax,
                        int64_t blocks)
{
    float map[FL_ABSMAX_CODES], centred[FL_ABSMAX_BLOCK];
    double sum = 0;
    fl_dynamic_map(map);
    for (int64_t b = 0; b < blocks; b++)
        sum += (double)absmax[b];
    *offset = blocks > 0 ? (float)(sum / (double)blocks) : 0;
    for (int64_t begin = 0; begin < blocks; begin += FL_ABSMAX_BLOCK) {
        int64_t count = blocks - begin < FL_ABSMAX_BLOCK ? blocks - begin : FL_ABSMAX_BLOCK;
        for (int64_t i = 0; i < count; i++)
            centred[i] = absmax[begin + i] - *offset;
        float most = largest(centred, count), factor = 1.0f / (most > 1e-38f ? most : 1e-38f);
        scale[begin / FL_ABSMAX_BLOCK] = most;
        for (int64_t i = 0; i < count; i++)
            codes[begin + i] = nearest_code(map, centred[i] * factor);
    }
}

void fl_dequantise(float *out, const fl_quant *q, int64_t at, int64_t count)
{
    for (int64_t i = at; i < at + count; i++) {
        if (q->format == FL_INT8) {
            float step = (float)((const int8_t *)q->codes)[i];
            *out++ = step * q->absmax[i / q->cols] * FL_INT8_STEP;
        } else {
            unsigned byte = ((const uint8_t *)q->codes)[i / 2];
            float absmax = fl_nf4_absmax(q, i / FL_NF4_BLOCK);
            *out++ = fl_nf4_values[i % 2 ? byte & 15 : byte >> 4] * absmax;
        }
    }
}
