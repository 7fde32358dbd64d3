#include "fed/factors.h"

#include <string.h>

bool fl_factors_have(unsigned factors, size_t tensor)
{
    return (factors & (tensor % 2 == 0 ? FL_FACTOR_A : FL_FACTOR_B)) != 0;
}

size_t fl_factors_count(const fl_params *layout, unsigned factors)
{
    size_t count = 0;
    for (size_t i = 0; i < layout->num_params; i++)
        if (fl_factors_have(factors, i)) count += layout->params[i].count;
    return count;
}

void fl_factors_pack(float *out, const float *values, const fl_params *layout, unsigned factors)
{
    for (size_t i = 0; i < layout->num_params; i++) {
        const fl_param *param = &layout->params[i];
        if (!fl_factors_have(factors, i)) continue;
        memcpy(out, values + param->offset, param->count * sizeof *out);
        out += param->count;
    }
}

void fl_factors_unpack(float *values, const float *packed, const fl_params *layout,
                       unsigned factors)
{
    for (size_t i = 0; i < layout->num_params; i++) {
        const fl_param *param = &layout->params[i];
        if (!fl_factors_have(factors, i)) continue;
        memcpy(values + param->offset, packed, param->count * sizeof *packed);
        packed += param->count;
    }
}
