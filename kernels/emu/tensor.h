/* What tensor cores need, as kernels/cuda/mma.h describes it: products of fragments, matrices of
 * shared memory spread over a warp, copies into shared memory that arrive later.
 *
 * A product's bits are defined here: bf16 times bf16 is exact in fp32, and the products are added
 * to the sum one after the other by ascending k, each sum rounded to nearest.  A device may add in
 * another order and with other roundings; kernels' results may differ from its in the last bits. */
#ifndef FL_KERNELS_EMU_TENSOR_H
#define FL_KERNELS_EMU_TENSOR_H

#include "kernels/emu/emu.h"

namespace fl_emu
{

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

void run_mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const char *site);

/* `index` of the array is the lane's row; all lanes' rows are in one array. */
void run_load_matrices(uint32_t (&out)[4], const Array *array, int64_t index, bool is_transposed,
                       const char *site);

/* Between the call and copy_wait nobody may touch the eight elements: they count as not written. */
void start_copy(const Array *array, int64_t index, const void *from, bool is_there);
void copy_commit();
void finish_copies(int open_groups);

/* Elements index .. index+count-1 of the array, count*2 bytes, each checked. */
void read_elements(void *out, const Array *array, int64_t index, int count);
void write_elements(const Array *array, int64_t index, const void *in, int count);

/* ---- the functions of kernels/cuda/mma.h ---------------------------------------------------- */

using SharedTile = Shared<__nv_bfloat16>;

inline void copy_async(const SharedTile &tile, int at, const __nv_bfloat16 *from, bool is_there)
{
    start_copy(tile.array_of(), tile.place_of(at, 8), from, is_there);
}

template <int OPEN> void copy_wait()
{
    finish_copies(OPEN);
}

inline void store_pair(const SharedTile &tile, int at, uint32_t pair)
{
    write_elements(tile.array_of(), tile.place_of(at, 2), &pair, 2);
}

inline uint4 load_eight(const SharedTile &tile, int at)
{
    uint4 eight;
    read_elements(&eight, tile.array_of(), tile.place_of(at, 8), 8);
    return eight;
}

inline uint32_t pack_pair(float low, float high)
{
    return __float2bfloat16(low).bits | (uint32_t)__float2bfloat16(high).bits << 16;
}

} // namespace fl_emu

#define multiply_add(sum, a, b0, b1) fl_emu::run_mma(sum, a, b0, b1, FL_EMU_SITE)
#define load_matrices(out, tile, at) \
    fl_emu::run_load_matrices(out, (tile).array_of(), (tile).place_of(at, 8), false, FL_EMU_SITE)
#define load_transposed(out, tile, at) \
    fl_emu::run_load_matrices(out, (tile).array_of(), (tile).place_of(at, 8), true, FL_EMU_SITE)

#endif
