/* narrow[t, r] = sum over the width of wide[t, m] factor[m, r]: a block per tile of a client's rows
 * and piece of the width; lora_finish.cu adds the pieces. */
#include "kernels/cuda/lora_launch.h"

namespace FL_DEVICE
{

template <class Engine, int R, Side SIDE>
static __global__ void __launch_bounds__(LORA_THREADS) lora_narrow_kernel(LoraCall call)
{
    constexpr int FACTOR_ROWS = SIDE == SIDE_A ? R : LORA_TILE;
    constexpr int FACTOR_COLS = SIDE == SIDE_A ? LORA_TILE : R;
    typedef typename Engine::Element Element;
    FL_SHARED_DYNAMIC(Element, memory);
    constexpr int OWN = LORA_TILE * (LORA_TILE + Engine::PAD);
    fl_shared<Element> wide = fl_part(memory, 0, OWN);
    fl_shared<Element> factor = fl_part(memory, OWN, FACTOR_ROWS * (FACTOR_COLS + Engine::PAD));
    ClientRows at = find_rows(call, blockIdx.x, LORA_TILE);
    PartRange range = parts_of_block<SIDE>(call);
    const LoraPart &first = call.part[range.begin];
    int64_t piece = blockIdx.y, begin = piece * LORA_PIECE, r = (int64_t)range.tile * R;
    if (at.first >= at.count || begin >= first.width) return; // the whole block
    int64_t end = least(begin + LORA_PIECE, first.width);
    float sum[BlockParts<SIDE>::MOST][R / 2] = {};
    for (int64_t m = begin; m < end; m += LORA_TILE) {
        int depth = (int)least(LORA_TILE, end - m);
        FL_UNROLLED (p, BlockParts<SIDE>::MOST) {
            if (p >= range.end - range.begin) break;
            const LoraPart &part = call.part[range.begin + p];
            if (p == 0 || call.streams)
                fill_wide<Engine, SIDE>(wide, call, part, at, at.first, at.count, m);
            Rows from = factor_of(call, part, at.client, SIDE);
            Window window = {r, part.r - r, m, end - m};
            if (SIDE == SIDE_B) window = {m, end - m, r, part.r - r};
            fill_tile<Engine, FACTOR_ROWS, FACTOR_COLS>(factor, from, window);
            __syncthreads(); // the tiles are there
            Engine::template multiply<R, LORA_TILE, true, SIDE == SIDE_A>(sum[p], wide, factor,
                                                                          depth);
            __syncthreads(); // and have been used
        }
    }
    FL_UNROLLED (p, BlockParts<SIDE>::MOST) {
        if (p >= range.end - range.begin) break;
        const LoraPart &part = call.part[range.begin + p];
        float *out = call.sums + part.sums + (piece * call.T + at.start + at.first) * part.r + r;
        Engine::each_sum(sum[p], [&](int, int row, int col, float value) {
            if (at.first + row < at.count && r + col < part.r) out[row * part.r + col] = value;
        });
    }
}

template <Side SIDE> static void launch(const LoraCall &call)
{
    with_engine<16, 64>(call.r, [&](auto engine, auto tile) {
        auto kernel = lora_narrow_kernel<decltype(engine), decltype(tile)::R, SIDE>;
        int64_t parts = SIDE == SIDE_A ? 1 : call.count;
        dim3 grid((unsigned)lora_places(call, LORA_TILE),
                  (unsigned)ceil_div(call.width, LORA_PIECE),
                  (unsigned)(parts * ceil_div(call.r, decltype(tile)::R)));
        constexpr int R = decltype(tile)::R, rows = SIDE == SIDE_A ? R : LORA_TILE;
        size_t bytes = tile_bytes<decltype(engine)>(LORA_TILE, rows, R + LORA_TILE - rows);
        FL_LAUNCH(kernel, grid, LORA_THREADS, bytes, call);
    });
}

void lora_narrow(LoraCall call, Side side)
{
    size_t floats = 0;
    for (int p = 0; p < call.count; p++) {
        LoraPart &part = call.part[p];
        part.sums = floats;
        floats += (size_t)(ceil_div(part.width, LORA_PIECE) * call.T * part.r);
    }
    call.sums = static_cast<float *>(scratch(SCRATCH_PARTS, floats * sizeof(float)));
    side == SIDE_A ? launch<SIDE_A>(call) : launch<SIDE_B>(call);
    lora_finish_narrow(call, side);
}

} // namespace FL_DEVICE
