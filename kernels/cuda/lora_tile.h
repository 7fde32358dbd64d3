/* Tiles of the LoRA kernels: shared memory filled four elements at a time, wide matrices with their
 * dropout masks. */
#ifndef FL_KERNELS_CUDA_LORA_TILE_H
#define FL_KERNELS_CUDA_LORA_TILE_H

#include "kernels/cuda/lora.h"
#include "kernels/cuda/philox.h"

namespace FL_DEVICE
{

enum {
    LORA_THREADS = 128,
    FOUR = 4,
    ROW_FOURS = LORA_TILE / FOUR /* of a wide tile's row */
};

/* Blocks of a multiprocessor at least; R: tile of r. */
constexpr int lora_blocks(int R)
{
    return R <= 16 ? 4 : R <= 32 ? 3 : 2;
}

typedef float Four[FOUR];

static __device__ __forceinline__ int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Four neighbouring elements as they lie in memory, by how they can be read: all at once, from a
 * boundary of their size, or one by one, `there` of them.  BATCH: reads of a thread that are under
 * way before the first is used. */
struct alignas(16) FourFloats {
    enum { BATCH = 4 };
    float x[FOUR];
    static __device__ __forceinline__ FourFloats read(const Rows &from, int64_t t, int64_t c,
                                                      int64_t)
    {
        auto *data = static_cast<const float *>(from.data) + t * from.stride + c;
        return *reinterpret_cast<const FourFloats *>(data);
    }
    __device__ __forceinline__ float element(int e) const
    {
        return x[e];
    }
};
struct alignas(8) FourNarrow {
    enum { BATCH = 8 };
    __nv_bfloat16 x[FOUR];
    static __device__ __forceinline__ FourNarrow read(const Rows &from, int64_t t, int64_t c,
                                                      int64_t)
    {
        auto *data = static_cast<const __nv_bfloat16 *>(from.data) + t * from.stride + c;
        return *reinterpret_cast<const FourNarrow *>(data);
    }
    __device__ __forceinline__ float element(int e) const
    {
        return __bfloat162float(x[e]);
    }
};
struct FourSingle {
    enum { BATCH = 1 };
    float x[FOUR];
    static __device__ __forceinline__ FourSingle read(const Rows &from, int64_t t, int64_t c,
                                                      int64_t there)
    {
        FourSingle all;
        FL_UNROLLED (e, FOUR)
            all.x[e] = e < there ? read_row(from, t, c + e) : 0.0f;
        return all;
    }
    __device__ __forceinline__ float element(int e) const
    {
        return x[e];
    }
};

/* A tile of a matrix: rows row .. row+rows-1 and columns col .. col+cols-1 exist, as far as the
 * tile reaches; col is a multiple of four. */
struct Window {
    int64_t row, rows, col, cols;
};

/* Groups of four elements of the window lie on boundaries of their size and end with it. */
static __device__ __forceinline__ bool has_fours(const Rows &x, const Window &at)
{
    return at.cols % FOUR == 0 && x.stride % FOUR == 0 &&
           (uintptr_t)x.data % (x.is_bf16 ? sizeof(FourNarrow) : sizeof(FourFloats)) == 0;
}

template <class Raw, int ROWS, int COLS, int CUT, class Use>
static __device__ __forceinline__ void read_fours(const Rows &from, const Window &at,
                                                  const Use &use)
{
    constexpr int fours = COLS / FOUR, step = LORA_THREADS / fours, all = ROWS / step;
    constexpr int batch = all < Raw::BATCH / CUT ? all : (Raw::BATCH + CUT - 1) / CUT;
    static_assert(LORA_THREADS % fours == 0 && all % batch == 0, "whole batches");
    int first = (int)threadIdx.x / fours, col = (int)threadIdx.x % fours * FOUR;
    int rows = col < at.cols ? (int)least(ROWS, at.rows) : 0; // that this thread reads
    FL_LOOP
    for (int row = first; row < ROWS; row += batch * step) {
        Raw raw[batch] = {};
        FL_UNROLLED (k, batch)
            if (row + k * step < rows)
                raw[k] = Raw::read(from, at.row + row + k * step, at.col + col, at.cols - col);
        FL_UNROLLED (k, batch) {
            Four x;
            FL_UNROLLED (e, FOUR)
                x[e] = raw[k].element(e);
            use(row + k * step, col, x);
        }
    }
}

/* use(row, col, x) for the elements (row, col) .. (row, col+3) of a tile [ROWS][COLS], zeros around
 * the window; CUT: batches are so many times smaller, where registers are few */
template <int ROWS, int COLS, int CUT = 1, class Use>
static __device__ __forceinline__ void each_four(const Rows &from, const Window &at, const Use &use)
{
    if (!has_fours(from, at))
        read_fours<FourSingle, ROWS, COLS, CUT>(from, at, use);
    else if (from.is_bf16)
        read_fours<FourNarrow, ROWS, COLS, CUT>(from, at, use);
    else
        read_fours<FourFloats, ROWS, COLS, CUT>(from, at, use);
}

/* The first `there` of them. */
static __device__ __forceinline__ void write_four(const Rows &x, int64_t t, int64_t c,
                                                  int64_t there, const Four &values)
{
    auto *wide = static_cast<float *>(x.data) + t * x.stride + c;
    auto *narrow = static_cast<__nv_bfloat16 *>(x.data) + t * x.stride + c;
    if (there >= FOUR && !x.is_bf16 && (uintptr_t)wide % sizeof(FourFloats) == 0) {
        FourFloats all;
        FL_UNROLLED (e, FOUR)
            all.x[e] = values[e];
        *reinterpret_cast<FourFloats *>(wide) = all;
    } else if (there >= FOUR && x.is_bf16 && (uintptr_t)narrow % sizeof(FourNarrow) == 0) {
        FourNarrow all;
        FL_UNROLLED (e, FOUR)
            all.x[e] = __float2bfloat16(values[e]);
        *reinterpret_cast<FourNarrow *>(narrow) = all;
    } else {
        FL_UNROLLED (e, FOUR)
            if (e < there) write_row(x, t, c + e, values[e]);
    }
}

/* tile[ROWS][COLS + PAD] = the window, zeros around it */
template <class Engine, int ROWS, int COLS>
static __device__ void fill_tile(const fl_shared<typename Engine::Element> &tile, const Rows &from,
                                 const Window &at)
{
    each_four<ROWS, COLS>(from, at, [&](int row, int col, Four &x) {
        Engine::put(tile, row * (COLS + Engine::PAD) + col, x);
    });
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
    Window window = {at.start + first, end - first, col, part.width - col};
    each_four<LORA_TILE, LORA_TILE, SIDE == SIDE_A ? 2 : 1>(
        part.wide, window, [&](int row, int c, Four &x) {
            if (rng) {
                unsigned kept = kept_bits(*rng, (first + row) * part.width + col + c, call.dropout);
                FL_UNROLLED (e, FOUR)
                    x[e] = kept >> e & 1 ? x[e] * call.kept : 0.0f;
            }
            Engine::put(tile, row * (LORA_TILE + Engine::PAD) + c, x);
        });
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

/* Parts of a block: one on the side of B, all on that of A. */
template <Side SIDE> struct BlockParts {
    enum { MOST = SIDE == SIDE_A ? FL_MOST_LINEARS : 1 };
};

} // namespace FL_DEVICE

#endif
