/* dt = s dy B and dB += s dy^T t in one pass over dy: a block per span of a client's rows and piece
 * of the width; lora_finish.cu adds the pieces of dt and the spans of dB. */
#include "kernels/cuda/lora_launch.h"

namespace FL_DEVICE
{

enum { TILES = LORA_SQUARE / LORA_TILE };

/* The block's rows of B stay in shared memory, its sums of dB in registers. */
template <class Engine, int R>
static __global__ void __launch_bounds__(LORA_THREADS, lora_blocks(R))
    lora_dy_kernel(LoraCall dt, LoraCall db, bool wants_dt, bool wants_db)
{
    typedef typename Engine::Element Element;
    FL_SHARED_DYNAMIC(Element, memory);
    constexpr int WIDE = LORA_TILE * (LORA_TILE + Engine::PAD), LINE = R + Engine::PAD;
    fl_shared<Element> wide = fl_part(memory, 0, WIDE);
    fl_shared<Element> narrow = fl_part(memory, WIDE, LORA_TILE * LINE);
    fl_shared<Element> factor = fl_part(memory, WIDE + LORA_TILE * LINE, LORA_SQUARE * LINE);
    ClientRows at = find_rows(dt, blockIdx.x, LORA_SQUARE);
    PartRange range = parts_of_block<SIDE_B>(dt);
    const LoraPart &part = dt.part[range.begin], &other = db.part[range.begin];
    int64_t begin = (int64_t)blockIdx.y * LORA_SQUARE, r = (int64_t)range.tile * R;
    if (at.first >= at.count || begin >= part.width || r >= part.r) return; // the whole block
    int64_t end = least(at.first + LORA_SQUARE, at.count);
    fill_tile<Engine, LORA_SQUARE, R>(factor, factor_of(dt, part, at.client, SIDE_B),
                                      {begin, part.width - begin, r, part.r - r});
    float grads[TILES][R / 2] = {};
    for (int64_t t = at.first; t < end; t += LORA_TILE) {
        int rows = (int)least(LORA_TILE, end - t);
        float sum[R / 2] = {};
        if (wants_db)
            fill_tile<Engine, LORA_TILE, R>(narrow, other.narrow,
                                            {at.start + t, rows, r, part.r - r});
        FL_UNROLLED (i, TILES) {
            int64_t m = begin + i * LORA_TILE;
            if (m >= part.width) break;
            fill_wide<Engine, SIDE_B>(wide, dt, part, at, t, end, m);
            __syncthreads(); // the tiles are there
            if (wants_dt)
                Engine::template multiply<R, LORA_TILE, true, false>(
                    sum, wide, fl_part(factor, i * LORA_TILE * LINE, LORA_TILE * LINE),
                    (int)least(LORA_TILE, part.width - m));
            if (wants_db)
                Engine::template multiply<R, LORA_TILE, false, false>(grads[i], wide, narrow, rows);
            __syncthreads(); // and have been used
        }
        float *out = dt.sums + part.sums + (blockIdx.y * dt.T + at.start + t) * part.r + r;
        if (wants_dt) write_sums<Engine>(out, sum, part.r, rows, part.r - r);
    }
    FL_UNROLLED (i, TILES) {
        int64_t m = begin + i * LORA_TILE;
        float *out = db.sums + other.sums + (blockIdx.x * part.width + m) * part.r + r;
        if (wants_db) write_sums<Engine>(out, grads[i], part.r, part.width - m, part.r - r);
    }
}

template <class Engine, int R>
static void launch(const LoraCall &dt, const LoraCall &db, bool wants_dt, bool wants_db)
{
    dim3 grid((unsigned)lora_places(dt, LORA_SQUARE), (unsigned)ceil_div(dt.width, LORA_SQUARE),
              (unsigned)(dt.count * ceil_div(dt.r, R)));
    auto kernel = lora_dy_kernel<Engine, R>;
    size_t bytes = tile_bytes<Engine>(LORA_TILE, LORA_TILE + LORA_SQUARE, R);
    FL_LAUNCH(kernel, grid, LORA_THREADS, bytes, dt, db, wants_dt, wants_db);
}

/* The tile of r is as large as registers and, in fp32, shared memory allow. */
void lora_dy(LoraCall dt, LoraCall db, bool wants_dt, bool wants_db)
{
    if (wants_dt) dt.sums = place_pieces(&dt);
    if (wants_db) db.sums = place_spans(&db);
    if (compute_dtype() == FL_F32)
        launch<FloatEngine, 16>(dt, db, wants_dt, wants_db);
    else if (dt.r <= 16)
        launch<TensorEngine, 16>(dt, db, wants_dt, wants_db);
    else
        launch<TensorEngine, 32>(dt, db, wants_dt, wants_db);
    if (wants_dt) lora_finish_narrow(dt, SIDE_B);
    if (wants_db) lora_finish_outer(db, SIDE_B);
}

} // namespace FL_DEVICE
