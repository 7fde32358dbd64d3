/* dA += drop(x)^T dt: a block per span of a client's rows and tile of the width; lora_finish.cu
 * adds the spans. */
#include "kernels/cuda/lora_launch.h"

namespace FL_DEVICE
{

template <class Engine, int R>
static __global__ void __launch_bounds__(LORA_THREADS, lora_blocks(R))
    lora_outer_kernel(LoraCall call)
{
    typedef typename Engine::Element Element;
    FL_SHARED_DYNAMIC(Element, memory);
    constexpr int OWN = LORA_TILE * (LORA_TILE + Engine::PAD);
    fl_shared<Element> wide = fl_part(memory, 0, OWN);
    fl_shared<Element> narrow = fl_part(memory, OWN, LORA_TILE * (R + Engine::PAD));
    ClientRows at = find_rows(call, blockIdx.x, LORA_SPAN);
    PartRange range = parts_of_block<SIDE_A>(call);
    const LoraPart &first = call.part[range.begin];
    int64_t m = (int64_t)blockIdx.y * LORA_TILE, r = (int64_t)range.tile * R;
    if (at.first >= at.count || m >= first.width) return; // the whole block
    int64_t end = least(at.first + LORA_SPAN, at.count);
    float sum[BlockParts<SIDE_A>::MOST][R / 2] = {};
    for (int64_t t = at.first; t < end; t += LORA_TILE) {
        int depth = (int)least(LORA_TILE, end - t);
        FL_UNROLLED (p, BlockParts<SIDE_A>::MOST) {
            if (p >= range.end - range.begin) break;
            const LoraPart &part = call.part[range.begin + p];
            if (p == 0 || call.streams) fill_wide<Engine, SIDE_A>(wide, call, part, at, t, end, m);
            fill_tile<Engine, LORA_TILE, R>(narrow, part.narrow,
                                            {at.start + t, end - t, r, part.r - r});
            __syncthreads(); // the tiles are there
            Engine::template multiply<R, LORA_TILE, false, false>(sum[p], wide, narrow, depth);
            __syncthreads(); // and have been used
        }
    }
    FL_UNROLLED (p, BlockParts<SIDE_A>::MOST) {
        if (p >= range.end - range.begin) break;
        const LoraPart &part = call.part[range.begin + p];
        float *out = call.sums + part.sums + ((int64_t)blockIdx.x * part.width + m) * part.r + r;
        write_sums<Engine>(out, sum[p], part.r, part.width - m, part.r - r);
    }
}

static void launch(const LoraCall &call)
{
    with_engine<16, 64>(call.r, [&](auto engine, auto tile) {
        constexpr int R = decltype(tile)::R;
        auto kernel = lora_outer_kernel<decltype(engine), R>;
        dim3 grid((unsigned)lora_places(call, LORA_SPAN), (unsigned)ceil_div(call.width, LORA_TILE),
                  (unsigned)ceil_div(call.r, R));
        FL_LAUNCH(kernel, grid, LORA_THREADS, tile_bytes<decltype(engine)>(LORA_TILE, LORA_TILE, R),
                  call);
    });
}

void lora_outer(LoraCall call)
{
    call.sums = place_spans(&call);
    launch(call);
    lora_finish_outer(call, SIDE_A);
}

} // namespace FL_DEVICE
