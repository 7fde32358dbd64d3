/* t = drop(x) A^T: a block per tile of a client's rows and piece of the width; lora_finish.cu adds
 * the pieces. */
#include "kernels/cuda/lora_launch.h"

namespace FL_DEVICE
{

template <class Engine, int R>
static __global__ void __launch_bounds__(LORA_THREADS, lora_blocks(R))
    lora_narrow_kernel(LoraCall call)
{
    typedef typename Engine::Element Element;
    FL_SHARED_DYNAMIC(Element, memory);
    constexpr int OWN = LORA_TILE * (LORA_TILE + Engine::PAD);
    fl_shared<Element> wide = fl_part(memory, 0, OWN);
    fl_shared<Element> factor = fl_part(memory, OWN, R * (LORA_TILE + Engine::PAD));
    ClientRows at = find_rows(call, blockIdx.x, LORA_TILE);
    PartRange range = parts_of_block<SIDE_A>(call);
    const LoraPart &first = call.part[range.begin];
    int64_t piece = blockIdx.y, begin = piece * LORA_PIECE, r = (int64_t)range.tile * R;
    if (at.first >= at.count || begin >= first.width) return; // the whole block
    int64_t end = least(begin + LORA_PIECE, first.width);
    float sum[BlockParts<SIDE_A>::MOST][R / 2] = {};
    for (int64_t m = begin; m < end; m += LORA_TILE) {
        int depth = (int)least(LORA_TILE, end - m);
        FL_UNROLLED (p, BlockParts<SIDE_A>::MOST) {
            if (p >= range.end - range.begin) break;
            const LoraPart &part = call.part[range.begin + p];
            if (p == 0 || call.streams)
                fill_wide<Engine, SIDE_A>(wide, call, part, at, at.first, at.count, m);
            Rows from = factor_of(call, part, at.client, SIDE_A);
            fill_tile<Engine, R, LORA_TILE>(factor, from, {r, part.r - r, m, end - m});
            __syncthreads(); // the tiles are there
            Engine::template multiply<R, LORA_TILE, true, true>(sum[p], wide, factor, depth);
            __syncthreads(); // and have been used
        }
    }
    FL_UNROLLED (p, BlockParts<SIDE_A>::MOST) {
        if (p >= range.end - range.begin) break;
        const LoraPart &part = call.part[range.begin + p];
        float *out = call.sums + part.sums + (piece * call.T + at.start + at.first) * part.r + r;
        write_sums<Engine>(out, sum[p], part.r, at.count - at.first, part.r - r);
    }
}

static void launch(const LoraCall &call)
{
    with_engine<16, 64>(call.r, [&](auto engine, auto tile) {
        constexpr int R = decltype(tile)::R;
        auto kernel = lora_narrow_kernel<decltype(engine), R>;
        dim3 grid((unsigned)lora_places(call, LORA_TILE),
                  (unsigned)ceil_div(call.width, LORA_PIECE), (unsigned)ceil_div(call.r, R));
        FL_LAUNCH(kernel, grid, LORA_THREADS, tile_bytes<decltype(engine)>(LORA_TILE, R, LORA_TILE),
                  call);
    });
}

void lora_narrow(LoraCall call)
{
    call.sums = place_pieces(&call);
    launch(call);
    lora_finish_narrow(call, SIDE_A);
}

} // namespace FL_DEVICE
