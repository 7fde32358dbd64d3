/* Products of fragments, matrices of shared memory, and copies that arrive later. */
#include "kernels/emu/tensor.h"

#include "kernels/emu/block.h"

#include <string.h>

namespace fl_emu
{

enum { MATRIX_ROWS = 8, ROW_WORDS = 4, MAX_COPIES = 256 };

/* ---- products ------------------------------------------------------------------------------- */

static float low_of(uint32_t pair)
{
    return __bfloat162float({(uint16_t)pair});
}

static float high_of(uint32_t pair)
{
    return __bfloat162float({(uint16_t)(pair >> 16)});
}

/* Fragments as the PTX ISA lays them out (warp-level matrix instructions, m16n8k16, .bf16): with
 * g = lane / 4 and t = lane % 4 a lane has A[g, 2t], A[g+8, 2t], A[g, 2t+8], A[g+8, 2t+8] and
 * B[2t, g], B[2t+8, g], each with its neighbour by k, and of the sum [g, 2t], [g, 2t+1], [g+8, 2t],
 * [g+8, 2t+1]. */
void run_mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const char *site)
{
    uint32_t *given = self->words[self->parity];
    memcpy(given, a, sizeof a);
    given[4] = b0;
    given[5] = b1;
    const Thread *lanes = exchange(~0u, 0, false, site);
    unsigned before = self->parity ^ 1;
    for (int e = 0; e < 4; e++) {
        int row = lane() / 4, upper = e / 2, column = lane() % 4 * 2 + e % 2;
        for (int half = 0; half < 2; half++) {
            for (int t = 0; t < ROW_WORDS; t++) {
                uint32_t left = lanes[row * 4 + t].words[before][half * 2 + upper];
                uint32_t right = lanes[column * 4 + t].words[before][4 + half];
                sum[e] += low_of(left) * low_of(right);
                sum[e] += high_of(left) * high_of(right);
            }
        }
    }
}

/* ---- shared memory -------------------------------------------------------------------------- */

void read_elements(void *out, const Array *array, int64_t index, int count)
{
    for (int i = 0; i < count; i++)
        if (checking) check_read(array, index + i);
    memcpy(out, array->data + index * 2, (size_t)count * 2);
}

void write_elements(const Array *array, int64_t index, const void *in, int count)
{
    for (int i = 0; i < count; i++)
        if (checking) check_write(array, index + i);
    memcpy(array->data + index * 2, in, (size_t)count * 2);
}

static void expect_aligned(int64_t index, const char *what)
{
    if (index % 8 != 0) fault_and_leave(what);
}

void run_load_matrices(uint32_t (&out)[4], const Array *array, int64_t index, bool is_transposed,
                       const char *site)
{
    expect_aligned(index, "a row of a matrix is not on a boundary of 16 bytes");
    const Thread *lanes = exchange(~0u, (uint64_t)index, false, site);
    unsigned before = self->parity ^ 1;
    int g = lane() / 4, t = lane() % 4;
    for (int matrix = 0; matrix < 4; matrix++) {
        uint16_t pair[2];
        for (int e = 0; e < 2; e++) {
            int row = is_transposed ? 2 * t + e : g, column = is_transposed ? g : 2 * t + e;
            const Thread *owner = &lanes[matrix * MATRIX_ROWS + row];
            read_elements(&pair[e], array, (int64_t)owner->given[before] + column, 1);
        }
        out[matrix] = pair[0] | (uint32_t)pair[1] << 16;
    }
}

/* ---- copies --------------------------------------------------------------------------------- */

struct Copy {
    const Array *array;
    int64_t index;
    const void *from; /* NULL: zeros */
    int group;
};

static Copy copies[MAX_THREADS][MAX_COPIES];

void start_copy(const Array *array, int64_t index, const void *from, bool is_there)
{
    expect_aligned(index, "a copy of 16 bytes to a place that is not on their boundary");
    if (is_there && (uintptr_t)from % 16 != 0)
        fault_and_leave("a copy of 16 bytes from a place that is not on their boundary");
    if (self->num_copies == MAX_COPIES) fault_and_leave("too many open copies");
    for (int i = 0; i < 8; i++)
        if (checking) forget_write(array, index + i);
    memset(array->data + index * 2, 0xff, 16);
    copies[self->number][self->num_copies++] = {array, index, is_there ? from : nullptr,
                                                self->num_groups};
}

void copy_commit()
{
    self->num_groups++;
}

void finish_copies(int open_groups)
{
    Copy *own = copies[self->number];
    int kept = 0;
    for (int i = 0; i < self->num_copies; i++) {
        static const char zeros[16] = {0};
        if (own[i].group >= self->num_groups - open_groups)
            own[kept++] = own[i];
        else
            write_elements(own[i].array, own[i].index, own[i].from ? own[i].from : zeros, 8);
    }
    self->num_copies = kept;
}

} // namespace fl_emu
