/* Rotary position embedding (Su et al. 2021): element i turns with element i + D/2. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

/* Chunks of COUNT pairs of one head; half is a multiple of COUNT. */
template <class V, int PAIRS> struct Rope {
    static constexpr int COUNT = PAIRS;
    V x;
    const int32_t *pos;
    const float *cos_table, *sin_table;
    int64_t half;
    float sign;
    __device__ void operator()(const Chunk &at) const
    {
        int64_t head = at.col / half, pair = at.col - head * half, row = pos[at.row] * half + pair;
        Chunk first = {at.row, at.col + head * half, COUNT, at.is_aligned}, second = first;
        second.col += half;
        float a[COUNT], b[COUNT], c[COUNT], s[COUNT];
        load(a, x, first);
        load(b, x, second);
        load(c, cos_table + row, COUNT, at.is_aligned);
        load(s, sin_table + row, COUNT, at.is_aligned);
        FL_UNROLLED (i, COUNT) {
            float turn = sign * s[i], before = a[i];
            a[i] = before * c[i] - b[i] * turn;
            b[i] = b[i] * c[i] + before * turn;
        }
        store(x, a, first);
        store(x, b, second);
    }
};

void op_rope(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
             int64_t T, int64_t heads, int64_t D, bool inverse)
{
    int64_t half = D / 2;
    float sign = inverse ? -1.0f : 1.0f;
    with_view(x, [&](auto to) {
        using V = decltype(to);
        constexpr int COUNT = chunk_count<V>();
        Span span = span_of_rows(T, heads * half, COUNT,
                                 {x, fl_f32(cos_table, half), fl_f32(sin_table, half)});
        if (half % COUNT == 0 && span.is_aligned)
            return each_chunk(span, Rope<V, COUNT>{to, pos, cos_table, sin_table, half, sign});
        each_chunk(span_of_rows(T, heads * half, 1, {}),
                   Rope<V, 1>{to, pos, cos_table, sin_table, half, sign});
    });
}

} // namespace FL_DEVICE
