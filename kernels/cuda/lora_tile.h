/* Tiles of the LoRA kernels: shared memory filled four elements at a time, wide matrices with their
 * dropout masks. */
#ifndef FL_KERNELS_CUDA_LORA_TILE_H
#define FL_KERNELS_CUDA_LORA_TILE_H

#include "kernels/cuda/lora.h"
#include "kernels/cuda/philox.h"

namespace FL_DEVICE
{

enum { LORA_THREADS = 128, FOUR = 4, ROW_FOURS = LORA_TILE / FOUR /* of a wide tile's row */ };

typedef float Four[FOUR];
struct alignas(16) FourFloats {
    float x[FOUR];
};
struct alignas(8) FourNarrow {
    __nv_bfloat16 x[FOUR];
};

/* Elements (t, c) .. (t, c+3), of which `there` exist; zeros for the others. */
static __device__ __forceinline__ void read_four(Four &out, const Rows &x, int64_t t, int64_t c,
                                                 int64_t there)
{
    int64_t at = t * x.stride + c;
    auto *wide = static_cast<const float *>(x.data) + at;
    auto *narrow = static_cast<const __nv_bfloat16 *>(x.data) + at;
    if (there >= FOUR && !x.is_bf16 && (uintptr_t)wide % 16 == 0) {
        FourFloats all = *reinterpret_cast<const FourFloats *>(wide);
        FL_UNROLLED (e, FOUR)
            out[e] = all.x[e];
    } else if (there >= FOUR && x.is_bf16 && (uintptr_t)narrow % 8 == 0) {
        FourNarrow all = *reinterpret_cast<const FourNarrow *>(narrow);
        FL_UNROLLED (e, FOUR)
            out[e] = __bfloat162float(all.x[e]);
    } else {
        FL_UNROLLED (e, FOUR)
            out[e] = e < there ? read_row(x, t, c + e) : 0.0f;
    }
}

/* x += add */
static __device__ __forceinline__ void add_four(const Rows &x, int64_t t, int64_t c, int64_t there,
                                                const Four &add)
{
    Four old;
    read_four(old, x, t, c, there);
    auto *wide = static_cast<float *>(x.data) + t * x.stride + c;
    auto *narrow = static_cast<__nv_bfloat16 *>(x.data) + t * x.stride + c;
    if (there >= FOUR && !x.is_bf16 && (uintptr_t)wide % 16 == 0) {
        FourFloats all;
        FL_UNROLLED (e, FOUR)
            all.x[e] = old[e] + add[e];
        *reinterpret_cast<FourFloats *>(wide) = all;
    } else if (there >= FOUR && x.is_bf16 && (uintptr_t)narrow % 8 == 0) {
        FourNarrow all;
        FL_UNROLLED (e, FOUR)
            all.x[e] = __float2bfloat16(old[e] + add[e]);
        *reinterpret_cast<FourNarrow *>(narrow) = all;
    } else {
        FL_UNROLLED (e, FOUR)
            if (e < there) write_row(x, t, c + e, old[e] + add[e]);
    }
}

/* A tile of a matrix: rows row .. row+rows-1 and columns col .. col+cols-1 exist, as far as the
 * tile reaches. */
struct Window {
    int64_t row, rows, col, cols;
};

/* tile[ROWS][COLS + PAD] = the window, zeros around it */
template <class Engine, int ROWS, int COLS>
static __device__ void fill_tile(const fl_shared<typename Engine::Element> &tile, const Rows &from,
                                 const Window &at)
{
    constexpr int fours = COLS / FOUR;
    for (int i = (int)threadIdx.x; i < ROWS * fours; i += LORA_THREADS) {
        int row = i / fours, col = i % fours * FOUR;
        Four x = {0, 0, 0, 0};
        if (row < at.rows && col < at.cols)
            read_four(x, from, at.row + row, at.col + col, at.cols - col);
        Engine::put(tile, row * (COLS + Engine::PAD) + col, x);
    }
}

/* ---- wide tiles ----------------------------------------------------------------------------- */

/* The stream of a part's mask; NULL: no dropout. */
template <Side SIDE>
static __device__ __forceinline__ const fl_rng *stream_of(const LoraCall &call,
                                                          const LoraPart &part, int64_t client)
{
    if (SIDE == SIDE_B || !call.streams) return nullptr;
    return call.streams + client * call.num_streams + part.stream;
}

/* Bit e: element + e of the client's wide matrix is kept. */
static __device__ __forceinline__ unsigned kept_bits(const fl_rng &rng, int64_t element, float p)
{
    int shift = (int)(element % 4); // not 0: rows whose length is no multiple of four
    unsigned bits = 0;
    Words words = stream_block(rng, element / 4);
    FL_UNROLLED (w, FOUR)
        bits |= (unsigned)(uniform_of(words.w[w]) >= p) << w;
    if (shift == 0) return bits;
    words = stream_block(rng, element / 4 + 1);
    FL_UNROLLED (w, FOUR)
        bits |= (unsigned)(uniform_of(words.w[w]) >= p) << (w + FOUR);
    return bits >> shift;
}

/* tile[LORA_TILE][LORA_TILE + PAD] = a client's wide matrix as the part sees it; first, col: where
 * the tile begins in it; zeros behind row `end`. */
template <class Engine, Side SIDE>
static __device__ void fill_wide(const fl_shared<typename Engine::Element> &tile,
                                 const LoraCall &call, const LoraPart &part, const ClientRows &at,
                                 int64_t first, int64_t end, int64_t col)
{
    const fl_rng *rng = stream_of<SIDE>(call, part, at.client);
    for (int i = (int)threadIdx.x; i < LORA_TILE * ROW_FOURS; i += LORA_THREADS) {
        int row = i / ROW_FOURS, c = i % ROW_FOURS * FOUR;
        Four x = {0, 0, 0, 0};
        if (first + row < end && col + c < part.width)
            read_four(x, part.wide, at.start + first + row, col + c, part.width - col - c);
        if (rng) {
            unsigned kept = kept_bits(*rng, (first + row) * part.width + col + c, call.dropout);
            FL_UNROLLED (e, FOUR)
                x[e] = kept >> e & 1 ? x[e] * call.kept : 0.0f;
        }
        Engine::put(tile, row * (LORA_TILE + Engine::PAD) + c, x);
    }
}

/* The client's factor of a part, as rows. */
static __device__ __forceinline__ Rows factor_of(const LoraCall &call, const LoraPart &part,
                                                 int64_t client, Side side)
{
    const float *data = call.weights + (size_t)client * call.stride + part.factor;
    return {const_cast<float *>(data), side == SIDE_A ? part.width : part.r, false};
}

/* The parts that a block does: all, or one of its own. */
struct PartRange {
    int begin, end, tile; /* tile: of r */
};

template <Side SIDE>
static __device__ __forceinline__ PartRange parts_of_block(const LoraCall &call)
{
    int number = (int)blockIdx.z;
    if (SIDE == SIDE_A) return {0, call.count, number};
    return {number % call.count, number % call.count + 1, number / call.count};
}

static __device__ __forceinline__ int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Parts of a block: one on the side of B, all on that of A. */
template <Side SIDE> struct BlockParts {
    enum { MOST = SIDE == SIDE_A ? FL_MOST_LINEARS : 1 };
};

} // namespace FL_DEVICE

#endif
