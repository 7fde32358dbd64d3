/* wide[t, m] += sum over r of narrow[t, r] factor[m, r]: a block per tile of a client's rows and
 * tile of the width. */
#include "kernels/cuda/lora_launch.h"

namespace FL_DEVICE
{

enum { STAGE_COLS = LORA_TILE + 4 }; /* of the sums' way to neighbouring addresses */

/* What of a tile dropout kept: four bits for four elements. */
static __device__ void fill_mask(const fl_shared<unsigned char> &mask, const LoraCall &call,
                                 const LoraPart &part, const fl_rng &rng, int64_t first, int64_t m)
{
    for (int i = (int)threadIdx.x; i < LORA_TILE * ROW_FOURS; i += LORA_THREADS) {
        int64_t element = (first + i / ROW_FOURS) * part.width + m + i % ROW_FOURS * FOUR;
        mask[i] = (unsigned char)(kept_bits(rng, element, call.dropout) & 15);
    }
}

/* wide += the tile of sums */
static __device__ void add_tile(const Rows &wide, const fl_shared<float> &stage, const Window &at)
{
    each_four<LORA_TILE, LORA_TILE>(wide, at, [&](int row, int col, Four &x) {
        if (row >= at.rows || col >= at.cols) return;
        FL_UNROLLED (e, FOUR)
            x[e] += stage[row * STAGE_COLS + col + e];
        write_four(wide, at.row + row, at.col + col, at.cols - col, x);
    });
}

template <class Engine, int R, Side SIDE>
static __global__ void __launch_bounds__(LORA_THREADS, lora_blocks(R))
    lora_wide_kernel(LoraCall call)
{
    constexpr int FACTOR_ROWS = SIDE == SIDE_A ? R : LORA_TILE;
    constexpr int FACTOR_COLS = SIDE == SIDE_A ? LORA_TILE : R;
    typedef typename Engine::Element Element;
    FL_SHARED_DYNAMIC(Element, memory);
    constexpr int OWN = LORA_TILE * (R + Engine::PAD);
    fl_shared<Element> narrow = fl_part(memory, 0, OWN);
    fl_shared<Element> factor = fl_part(memory, OWN, FACTOR_ROWS * (FACTOR_COLS + Engine::PAD));
    FL_SHARED(float, stage, LORA_TILE *STAGE_COLS);
    FL_SHARED(unsigned char, mask, LORA_TILE *ROW_FOURS);
    ClientRows at = find_rows(call, blockIdx.x, LORA_TILE);
    PartRange range = parts_of_block<SIDE>(call);
    const LoraPart &first = call.part[range.begin];
    int64_t m = (int64_t)blockIdx.y * LORA_TILE;
    if (at.first >= at.count || m >= first.width) return; // the whole block
    Window window = {at.start + at.first, at.count - at.first, m, first.width - m};
    float total[LORA_TILE / 2] = {};
    for (int p = range.begin; p < range.end; p++) {
        const LoraPart &part = call.part[p];
        const fl_rng *rng = stream_of<SIDE>(call, part, at.client);
        Rows from = factor_of(call, part, at.client, SIDE);
        float sum[LORA_TILE / 2] = {}, scale = scale_of(call, part, SIDE, at.client);
        if (rng) fill_mask(mask, call, part, *rng, at.first, m);
        for (int64_t r = 0; r < part.r; r += R) {
            int64_t there = part.r - r;
            Window piece = {r, there, m, window.cols};
            if (SIDE == SIDE_B) piece = {m, window.cols, r, there};
            fill_tile<Engine, LORA_TILE, R>(narrow, part.narrow,
                                            {window.row, window.rows, r, there});
            fill_tile<Engine, FACTOR_ROWS, FACTOR_COLS>(factor, from, piece);
            __syncthreads(); // the tiles are there
            Engine::template multiply<LORA_TILE, R, true, SIDE == SIDE_B>(sum, narrow, factor,
                                                                          (int)least(R, there));
            __syncthreads(); // and have been used
        }
        Engine::each_sum(sum, [&](int number, int row, int col, float value) {
            if (rng) {
                unsigned bits = mask[row * ROW_FOURS + col / FOUR];
                value = bits >> col % FOUR & 1 ? value * call.kept : 0.0f;
            }
            total[number] += scale * value;
        });
        __syncthreads(); // the mask has been used
    }
    Engine::each_sum(
        total, [&](int, int row, int col, float value) { stage[row * STAGE_COLS + col] = value; });
    __syncthreads(); // the sums are there
    add_tile(first.wide, stage, window);
}

template <Side SIDE> static void launch(const LoraCall &call)
{
    with_engine<16, 32>(call.r, [&](auto engine, auto tile) {
        auto kernel = lora_wide_kernel<decltype(engine), decltype(tile)::R, SIDE>;
        dim3 grid((unsigned)lora_places(call, LORA_TILE), (unsigned)ceil_div(call.width, LORA_TILE),
                  SIDE == SIDE_A ? 1 : (unsigned)call.count);
        constexpr int R = decltype(tile)::R, rows = SIDE == SIDE_A ? R : LORA_TILE;
        size_t bytes = tile_bytes<decltype(engine)>(R, rows, R + LORA_TILE - rows);
        FL_LAUNCH(kernel, grid, LORA_THREADS, bytes, call);
    });
}

void lora_wide(const LoraCall &call, Side side)
{
    side == SIDE_A ? launch<SIDE_A>(call) : launch<SIDE_B>(call);
}

} // namespace FL_DEVICE
