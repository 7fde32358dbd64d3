/* d factor[m, r] += sum over t of wide[t, m] narrow[t, r]: a block per span of a client's rows and
 * tile of the width; lora_finish.cu adds the spans. */
#include "kernels/cuda/lora_launch.h"

namespace FL_DEVICE
{

template <class Engine, int R, Side SIDE>
static __global__ void __launch_bounds__(LORA_THREADS) lora_outer_kernel(LoraCall call)
{
    typedef typename Engine::Element Element;
    FL_SHARED_DYNAMIC(Element, memory);
    constexpr int OWN = LORA_TILE * (LORA_TILE + Engine::PAD);
    fl_shared<Element> wide = fl_part(memory, 0, OWN);
    fl_shared<Element> narrow = fl_part(memory, OWN, LORA_TILE * (R + Engine::PAD));
    ClientRows at = find_rows(call, blockIdx.x, LORA_SPAN);
    PartRange range = parts_of_block<SIDE>(call);
    const LoraPart &first = call.part[range.begin];
    int64_t m = (int64_t)blockIdx.y * LORA_TILE, r = (int64_t)range.tile * R;
    if (at.first >= at.count || m >= first.width) return; // the whole block
    int64_t end = least(at.first + LORA_SPAN, at.count);
    float sum[BlockParts<SIDE>::MOST][R / 2] = {};
    for (int64_t t = at.first; t < end; t += LORA_TILE) {
        int depth = (int)least(LORA_TILE, end - t);
        FL_UNROLLED (p, BlockParts<SIDE>::MOST) {
            if (p >= range.end - range.begin) break;
            const LoraPart &part = call.part[range.begin + p];
            if (p == 0 || call.streams) fill_wide<Engine, SIDE>(wide, call, part, at, t, end, m);
            fill_tile<Engine, LORA_TILE, R>(narrow, part.narrow,
                                            {at.start + t, end - t, r, part.r - r});
            __syncthreads(); // the tiles are there
            Engine::template multiply<R, LORA_TILE, false, false>(sum[p], wide, narrow, depth);
            __syncthreads(); // and have been used
        }
    }
    FL_UNROLLED (p, BlockParts<SIDE>::MOST) {
        if (p >= range.end - range.begin) break;
        const LoraPart &part = call.part[range.begin + p];
        float *out = call.sums + part.sums + ((int64_t)blockIdx.x * part.width + m) * part.r + r;
        Engine::each_sum(sum[p], [&](int, int row, int col, float value) {
            if (m + row < part.width && r + col < part.r) out[row * part.r + col] = value;
        });
    }
}

template <Side SIDE> static void launch(const LoraCall &call)
{
    with_engine<16, 64>(call.r, [&](auto engine, auto tile) {
        auto kernel = lora_outer_kernel<decltype(engine), decltype(tile)::R, SIDE>;
        int64_t parts = SIDE == SIDE_A ? 1 : call.count;
        dim3 grid((unsigned)lora_places(call, LORA_SPAN), (unsigned)ceil_div(call.width, LORA_TILE),
                  (unsigned)(parts * ceil_div(call.r, decltype(tile)::R)));
        size_t bytes = tile_bytes<decltype(engine)>(LORA_TILE, LORA_TILE, decltype(tile)::R);
        FL_LAUNCH(kernel, grid, LORA_THREADS, bytes, call);
    });
}

void lora_outer(LoraCall call, Side side)
{
    size_t floats = 0;
    for (int p = 0; p < call.count; p++) {
        LoraPart &part = call.part[p];
        part.sums = floats;
        floats += (size_t)(lora_places(call, LORA_SPAN) * part.width * part.r);
    }
    call.sums = static_cast<float *>(scratch(SCRATCH_PARTS, floats * sizeof(float)));
    side == SIDE_A ? launch<SIDE_A>(call) : launch<SIDE_B>(call);
    lora_finish_outer(call, side);
}

} // namespace FL_DEVICE
