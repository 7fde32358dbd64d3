/* The emulated device itself: what kernels may rely on, and planted faults, each of which must be
 * found in every order of the threads. */
#include "kernels/emu/emu.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

#include "device_arrays.h"

using namespace fl_emu;

enum { THREADS = 96, BLOCKS = 5 };

/* ---- what kernels rely on ------------------------------------------------------------------- */

/* Reverses each block's part through shared memory and adds the lane sums of every warp. */
static __global__ void reverse_kernel(float *out, const float *in)
{
    FL_SHARED(float, tile, THREADS);
    int i = (int)threadIdx.x, n = (int)blockDim.x, at = (int)blockIdx.x * n;
    tile[i] = in[at + i];
    __syncthreads();
    float value = tile[n - 1 - i], sum = value;
    for (int bit = 16; bit > 0; bit /= 2)
        sum += __shfl_xor_sync(~0u, sum, bit);
    out[at + i] = value + 1000.0f * sum;
}

static void test_values(void **)
{
    float in[THREADS * BLOCKS], want[THREADS * BLOCKS], got[THREADS * BLOCKS];
    for (int i = 0; i < THREADS * BLOCKS; i++)
        in[i] = (float)(i * 7 % 11);
    for (int i = 0; i < THREADS * BLOCKS; i++) {
        int at = i / THREADS * THREADS, from = i % THREADS / 32 * 32;
        float sum = 0;
        for (int lane = 0; lane < 32; lane++)
            sum += in[at + THREADS - 1 - from - lane];
        want[i] = in[at + THREADS - 1 - i % THREADS] + 1000.0f * sum;
    }
    float *x = device_array<float>(THREADS * BLOCKS), *y = device_array<float>(THREADS * BLOCKS);
    assert_int_equal(cudaMemcpyAsync(x, in, sizeof in, cudaMemcpyHostToDevice, 0), cudaSuccess);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        fl_emu::launch("reverse", BLOCKS, THREADS, 0, reverse_kernel, y, x);
        assert_int_equal(cudaGetLastError(), cudaSuccess);
        read_back(got, y, sizeof got);
        assert_memory_equal(got, want, sizeof want);
    }
    cudaFree(x);
    cudaFree(y);
}

struct Seen {
    unsigned ballot, any, all, from_lane, down, up;
    uint64_t wide;
};

static __global__ void warp_kernel(Seen *out)
{
    int lane = (int)threadIdx.x % 32;
    Seen seen = {};
    seen.ballot = __ballot_sync(~0u, lane % 3 == 0);
    seen.any = __any_sync(~0u, lane == 17);
    seen.all = __all_sync(~0u, lane < 31);
    seen.from_lane = __shfl_sync(~0u, (unsigned)threadIdx.x, 5);
    seen.down = __shfl_down_sync(~0u, (unsigned)lane, 3);
    seen.up = __shfl_up_sync(~0u, (unsigned)lane, 3);
    seen.wide = __shfl_xor_sync(~0u, (uint64_t)lane << 40, 1);
    out[threadIdx.x] = seen;
}

static void test_warps(void **)
{
    Seen got[THREADS];
    Seen *out = device_array<Seen>(THREADS);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        fl_emu::launch("warp", 1, THREADS, 0, warp_kernel, out);
        read_back(got, out, sizeof got);
        for (unsigned i = 0; i < THREADS; i++) {
            unsigned lane = i % 32;
            assert_int_equal(got[i].ballot, 0x49249249);
            assert_true(got[i].any && !got[i].all);
            assert_int_equal(got[i].from_lane, i / 32 * 32 + 5);
            assert_int_equal(got[i].down, lane + 3 < 32 ? lane + 3 : lane);
            assert_int_equal(got[i].up, lane >= 3 ? lane - 3 : lane);
            assert_int_equal(got[i].wide, (uint64_t)(lane ^ 1) << 40);
        }
    }
    cudaFree(out);
}

static __global__ void grid_kernel(int *count, int *seen)
{
    int block = (int)(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
    int thread = (int)(threadIdx.x + blockDim.x * threadIdx.y);
    atomicAdd(count, 1);
    seen[block * 64 + thread] = block * 64 + thread;
}

static void test_grid(void **)
{
    int count, seen[64 * 24], *on_device = device_array<int>(1),
                              *places = device_array<int>(64 * 24);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        assert_int_equal(cudaMemsetAsync(on_device, 0, sizeof count, 0), cudaSuccess);
        fl_emu::launch("grid", dim3(2, 3, 4), dim3(16, 4), 0, grid_kernel, on_device, places);
        read_back(&count, on_device, sizeof count);
        read_back(seen, places, sizeof seen);
        assert_int_equal(count, 64 * 24);
        for (int i = 0; i < 64 * 24; i++)
            assert_int_equal(seen[i], i);
    }
    cudaFree(on_device);
    cudaFree(places);
}

static void test_narrow_floats(void **)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float half = __half2float({(uint16_t)bits}), brain = __bfloat162float({(uint16_t)bits});
        int exponent = (int)(bits >> 10 & 31);
        double fraction = bits & 1023, sign = bits & 0x8000 ? -1 : 1;
        if (exponent == 31)
            assert_true(fraction != 0 ? isnan(half) : isinf(half));
        else if (exponent == 0)
            assert_true((double)half == sign * ldexp(fraction, -24));
        else
            assert_true((double)half == sign * ldexp(1024 + fraction, exponent - 25));
        if (!isnan(brain)) assert_int_equal(__float2bfloat16(brain).bits, bits);
    }
    assert_int_equal(__float2bfloat16(1 + 0x1p-8f).bits, 0x3f80);            // a tie, to even
    assert_int_equal(__float2bfloat16(1 + 0x3p-8f).bits, 0x3f82);            // a tie, to even
    assert_int_equal(__float2bfloat16(1 + 0x1p-8f + 0x1p-20f).bits, 0x3f81); // above a tie
    assert_int_equal(__float2bfloat16(FLT_MAX).bits, 0x7f80);
    assert_true(isnan(__bfloat162float(__float2bfloat16(NAN))));
}

/* ---- planted faults ------------------------------------------------------------------------- */

/* The fault of each `which` is its only one. */
enum Plant {
    NONE,
    MISSING_BARRIER,
    MISSING_BARRIER_BEFORE_REUSE,
    MISSING_WARP_BARRIER,
    OFF_BY_ONE,
    NEGATIVE,
    OUTSIDE_PART,
    UNWRITTEN,
    TWO_WRITERS,
    EARLY_EXIT,
    OTHER_BARRIER,
    LANE_MISSING,
    PARTIAL_MASK
};

static __device__ void plant_barriers(int which, int i)
{
    if (which == EARLY_EXIT && i == 40) return;
    if (which == OTHER_BARRIER && i == 40)
        __syncthreads();
    else
        __syncthreads();
    if (which == LANE_MISSING && i == 40) return;
    if (which == PARTIAL_MASK) (void)__shfl_xor_sync(0xffffu, i, 1);
    (void)__shfl_xor_sync(~0u, i, 1);
}

static __global__ void planted_kernel(float *out, int which)
{
    FL_SHARED(float, tile, THREADS);
    FL_SHARED_DYNAMIC(float, more);
    int i = (int)threadIdx.x;
    Shared<float> part = more.part(0, THREADS);
    if (which != UNWRITTEN || i != 50) tile[i] = (float)i;
    part[which == OUTSIDE_PART ? i + 1 : i] = 1.0f;
    if (which == OFF_BY_ONE) tile[i + 1] = 2.0f;
    if (which == NEGATIVE && i == 0) tile[i - 1] = 2.0f;
    if (which == TWO_WRITERS) tile[7] = 2.0f;
    if (which != MISSING_BARRIER) __syncthreads();
    float value = tile[THREADS - 1 - i];
    if (which != MISSING_BARRIER_BEFORE_REUSE) __syncthreads();
    tile[i] = value;
    if (which != MISSING_WARP_BARRIER) __syncwarp();
    out[i] = tile[i ^ 1] + part[i];
    plant_barriers(which, i);
}

static void run_planted(int which, const char *text)
{
    float *out = device_array<float>(THREADS);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        fl_emu::launch("planted", 2, THREADS, 2 * THREADS * sizeof(float), planted_kernel, out,
                       which);
        if (text)
            expect_fault(order, which, "planted, block", text);
        else
            assert_int_equal(cudaGetLastError(), cudaSuccess);
    }
    cudaFree(out);
}

/* After each fault the same kernel runs as if nothing had been. */
static void test_planted_faults(void **)
{
    static const struct {
        int which;
        const char *text;
    } plants[] = {
        {MISSING_BARRIER, "is read"},
        {MISSING_BARRIER_BEFORE_REUSE, "without a barrier between"},
        {MISSING_WARP_BARRIER, "without a barrier between"},
        {OFF_BY_ONE, "tile"},
        {NEGATIVE, "tile[-1] is outside [0, 96)"},
        {OUTSIDE_PART, "more[96] is outside [0, 96)"},
        {UNWRITTEN, "tile[50] is read but was never written"},
        {TWO_WRITERS, "is written after it was written by thread"},
        {EARLY_EXIT, "for thread 40, which has ended"},
        {OTHER_BARRIER, "which waits at"},
        {LANE_MISSING, "for thread 40, which has ended"},
        {PARTIAL_MASK, "mask"},
    };
    fl_emu_set_checks(true);
    for (const auto &plant : plants) {
        run_planted(NONE, nullptr);
        run_planted(plant.which, plant.text);
    }
    run_planted(NONE, nullptr);
    fl_emu_set_checks(false);
}

/* ---- configurations and host pointers ------------------------------------------------------- */

static __global__ void nothing_kernel()
{
}

static void expect_refused(dim3 grid, dim3 block, size_t bytes)
{
    fl_emu::launch("nothing", grid, block, bytes, nothing_kernel);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

static void test_configurations(void **)
{
    expect_refused(0, 32, 0);
    expect_refused(1, 0, 0);
    expect_refused(1, 33, 0);
    expect_refused(1, 2048, 0);
    expect_refused(dim3(1, 65536), 32, 0);
    expect_refused(1, 32, (48 << 10) + 4);
    assert_int_equal(cudaFuncSetAttribute(nothing_kernel,
                                          cudaFuncAttributeMaxDynamicSharedMemorySize, 100 << 10),
                     cudaSuccess);
    fl_emu::launch("nothing", 1, 32, 100 << 10, nothing_kernel);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    expect_refused(1, 32, (100 << 10) + 4);
    assert_int_not_equal(
        cudaFuncSetAttribute(nothing_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20),
        cudaSuccess);
    cudaGetLastError();
}

static void test_copies_know_their_ends(void **)
{
    char host[64] = {0};
    char *data = device_array<char>(64);
    assert_int_equal((uintptr_t)data % 64, 0);
    assert_int_not_equal(cudaMemcpyAsync(host, data, 65, cudaMemcpyDeviceToHost, 0), cudaSuccess);
    assert_int_not_equal(cudaMemcpyAsync(data, data, 8, cudaMemcpyHostToDevice, 0), cudaSuccess);
    assert_int_not_equal(cudaMemcpyAsync(host, data, 8, cudaMemcpyHostToDevice, 0), cudaSuccess);
    assert_int_not_equal(cudaMemsetAsync(data + 60, 0, 5, 0), cudaSuccess);
    assert_int_not_equal(cudaFree(host), cudaSuccess);
    cudaFree(data);
    assert_int_not_equal(cudaMemcpyAsync(host, data, 8, cudaMemcpyDeviceToHost, 0), cudaSuccess);
    void *much = nullptr;
    assert_int_equal(cudaMalloc(&much, SIZE_MAX - 100), cudaErrorMemoryAllocation);
    cudaGetLastError();
}

static float *victim;

static void touch_on_host()
{
    *(volatile float *)victim = 1;
}

static __global__ void overrun_kernel(float *out)
{
    out[16] = 1.0f;
}

static void overrun_on_device()
{
    fl_emu::launch("overrun", 1, 32, 0, overrun_kernel, victim);
}

/* How a process ends that does this.  A handler of a sanitizer may turn the signal into an exit. */
static bool survives(void (*act)())
{
    fflush(nullptr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        act();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void do_nothing()
{
}

static void test_host_cannot_touch_the_device(void **)
{
    victim = device_array<float>(16);
    assert_true(survives(do_nothing));
    assert_false(survives(touch_on_host));
    assert_false(survives(overrun_on_device));
    cudaFree(victim);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_warps),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_narrow_floats),
        cmocka_unit_test(test_planted_faults),
        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_copies_know_their_ends),
        cmocka_unit_test(test_host_cannot_touch_the_device),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
