/* Dropout whose mask is a function of the stream and the element's number, as on the cpu. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/philox.h"

namespace FL_DEVICE
{

/* A chunk is what one block of the stream decides. */
template <class Out, class X> struct Dropout {
    static constexpr int COUNT = 4;
    Out out;
    X x;
    int64_t C;
    float p, factor;
    const fl_rng *rng;
    bool accumulate;
    __device__ void operator()(const Chunk &at) const
    {
        Words words = stream_block(*rng, (at.row * C + at.col) / COUNT);
        float kept[COUNT], sum[COUNT] = {};
        load(kept, x, at);
        if (accumulate) load(sum, out, at);
        FL_UNROLLED (i, COUNT) {
            kept[i] = uniform_of(words.w[i]) >= p ? kept[i] * factor : 0.0f;
            sum[i] = accumulate ? sum[i] + kept[i] : kept[i];
        }
        store(out, sum, at);
    }
};

void op_dropout(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                bool accumulate)
{
    float factor = (float)(1.0 / (1.0 - (double)p));
    with_view(out, [&](auto to) {
        with_view(x, [&](auto from) {
            using Op = Dropout<decltype(to), decltype(from)>;
            each_chunk(span_of(T, C, Op::COUNT, {out, x}),
                       Op{to, from, C, p, factor, rng, accumulate});
        });
    });
}

} // namespace FL_DEVICE
