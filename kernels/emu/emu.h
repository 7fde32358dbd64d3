/* CUDA C++ for the host compiler: what device code names (threadIdx, __syncthreads, shuffles,
 * shared memory, narrow floats) and launches, run by fibres, one per thread of a block (emu.cc).
 *
 * Blocks run one after the other, threads of a block take turns at barriers.  A launch ends with a
 * fault when threads of a block do not meet: one has ended or waits elsewhere while others wait.
 * Narrower than CUDA on purpose: whole warps only, masks are all lanes, no float atomics (their
 * order is not defined, so results would not be). */
#ifndef FL_KERNELS_EMU_EMU_H
#define FL_KERNELS_EMU_EMU_H

#include "kernels/emu/control.h"
#include "kernels/emu/runtime.h"
#include "kernels/emu/shared.h"

#include <float.h>
#include <math.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace fl_emu
{

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z)
    {
    }
};

enum { WARP = 32, MAX_THREADS = 1024 };

enum class State { READY, AT_BLOCK, AT_WARP, ENDED };

struct Thread {
    dim3 index;
    int number; /* in the block */
    State state;
    const char *site;  /* of the barrier or exchange it waits at */
    uint64_t given[2]; /* to the exchange with that parity */
    uint32_t words[2][6];
    unsigned parity;
    int num_copies, num_groups; /* copies under way, and groups of them that are complete */
};

/* The running thread and its block. */
extern Thread *self;
extern dim3 block_index, block_size, grid_size;

void wait_for_block(const char *site);
/* All lanes of the warp give a value; returns lane 0's Thread, whose neighbours the lanes are.
 * The values stand in given[parity ^ 1], and what a lane had put into words[parity] in
 * words[parity ^ 1], until the next exchange but one. */
const Thread *exchange(unsigned mask, uint64_t value, bool orders, const char *site);

inline int lane()
{
    return self->number % WARP;
}

template <class T> T shuffle(unsigned mask, T value, int source, const char *site)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    const Thread *lanes = exchange(mask, bits, false, site);
    if (source >= 0 && source < WARP)
        memcpy(&value, &lanes[source].given[self->parity ^ 1], sizeof value);
    return value;
}

inline unsigned ballot(unsigned mask, bool value, const char *site)
{
    const Thread *lanes = exchange(mask, value, false, site);
    unsigned bits = 0;
    for (int i = 0; i < WARP; i++)
        bits |= (unsigned)lanes[i].given[self->parity ^ 1] << i;
    return bits;
}

/* ---- launches ------------------------------------------------------------------------------- */

struct Launch {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t dynamic_bytes;
    void (*run)(const void *call);
    const void *call;
};
void run_launch(const Launch &launch);

template <class... P, class... A>
void launch(const char *name, dim3 grid, dim3 block, size_t dynamic_bytes, void (*kernel)(P...),
            A... arguments)
{
    auto call = [=] { kernel(static_cast<P>(arguments)...); };
    auto run = [](const void *context) { (*static_cast<const decltype(call) *>(context))(); };
    run_launch({name, (const void *)kernel, grid, block, dynamic_bytes, run, &call});
}

/* ---- integers and narrow floats ------------------------------------------------------------- */

/* Threads take turns, so these are whole. */
template <class T> T atomicAdd(T *at, T value)
{
    static_assert(T(1) / T(2) == T(0), "float atomics have no defined order");
    T old = *at;
    *at = old + value;
    return old;
}

struct __half {
    uint16_t bits;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
float __half2float(__half value);
float __bfloat162float(__nv_bfloat16 value);
__nv_bfloat16 __float2bfloat16(float value); /* to nearest, ties to even */

} // namespace fl_emu

#define FL_EMU_TEXT2(x) #x
#define FL_EMU_TEXT(x)  FL_EMU_TEXT2(x)
#define FL_EMU_SITE     __FILE__ ":" FL_EMU_TEXT(__LINE__)

#define threadIdx (fl_emu::self->index)
#define blockIdx  (fl_emu::block_index)
#define blockDim  (fl_emu::block_size)
#define gridDim   (fl_emu::grid_size)

#define __syncthreads()                fl_emu::wait_for_block(FL_EMU_SITE)
#define __syncwarp()                   fl_emu::exchange(~0u, 0, true, FL_EMU_SITE)
#define __shfl_sync(mask, value, from) fl_emu::shuffle(mask, value, from, FL_EMU_SITE)
#define __shfl_xor_sync(mask, value, bits) \
    fl_emu::shuffle(mask, value, fl_emu::lane() ^ (bits), FL_EMU_SITE)
#define __shfl_down_sync(mask, value, by) \
    fl_emu::shuffle(mask, value, fl_emu::lane() + (int)(by), FL_EMU_SITE)
#define __shfl_up_sync(mask, value, by) \
    fl_emu::shuffle(mask, value, fl_emu::lane() - (int)(by), FL_EMU_SITE)
#define __ballot_sync(mask, value) fl_emu::ballot(mask, value, FL_EMU_SITE)
#define __any_sync(mask, value)    (fl_emu::ballot(mask, value, FL_EMU_SITE) != 0)
#define __all_sync(mask, value)    (fl_emu::ballot(mask, value, FL_EMU_SITE) == ~0u)

/* A static shared array; __PRETTY_FUNCTION__ tells instances of a template apart. */
#define FL_SHARED(type, name, count) \
    fl_emu::Shared<type> name =      \
        fl_emu::make_static<type>(__PRETTY_FUNCTION__, FL_EMU_SITE " " #name, count)
#define FL_SHARED_DYNAMIC(type, name) fl_emu::Shared<type> name = fl_emu::make_dynamic<type>(#name)

#endif
