/* Rotary position embedding (Su et al. 2021): element i turns with element i + D/2. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"

namespace FL_DEVICE
{

/* i counts pairs of x[T,heads,D]. */
struct Rope {
    float *x;
    const int32_t *pos;
    const float *cos_table, *sin_table;
    int64_t heads, half;
    float sign;
    __device__ void operator()(int64_t i) const
    {
        int64_t head = i / half, pair = i - head * half;
        int64_t row = (int64_t)pos[head / heads] * half + pair;
        float *at = x + head * 2 * half + pair;
        float a = at[0], b = at[half], c = cos_table[row], s = sign * sin_table[row];
        at[0] = a * c - b * s;
        at[half] = b * c + a * s;
    }
};

void op_rope(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
             int64_t T, int64_t heads, int64_t D, bool inverse)
{
    each(T * heads * (D / 2), Rope{dense(x, heads * D), pos, cos_table, sin_table, heads, D / 2,
                                   inverse ? -1.0f : 1.0f});
}

} // namespace FL_DEVICE
