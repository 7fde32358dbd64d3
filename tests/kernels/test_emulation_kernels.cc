/* Faults planted in copies of what the kernels are made of: the reduction of a block (warp.h), the
 * walk over tiles in shared memory (attention), rows in device memory (rmsnorm).  Each must be
 * found in every order of the threads; without one the results are right. */
#include "kernels/cuda/warp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

extern "C" {
#include <cmocka.h>
}

using namespace FL_DEVICE;

enum Plant {
    NONE,
    NO_BARRIER_BEFORE, /* shared memory is written while others still read it */
    NO_BARRIER_AFTER,  /* and read while others still write it */
    PLACE_OFF_BY_ONE,
    ONE_MORE_READ,
    ONE_ROW_LESS,
    ONE_COLUMN_MORE,
    ROW_TOO_LONG,
    ROW_BEFORE
};

static const uint64_t orders[] = {0, 1, 2, 20261123};

/* ---- the reduction of a block --------------------------------------------------------------- */

enum { REDUCE_THREADS = 96 };

static __device__ float planted_reduce(float value, int plant)
{
    FL_SHARED(float, parts, WARP_LANES);
    int lane = (int)threadIdx.x % WARP_LANES, warp = (int)threadIdx.x / WARP_LANES;
    int count = (int)blockDim.x / WARP_LANES;
    value = warp_reduce(value, Sum());
    if (plant != NO_BARRIER_BEFORE) __syncthreads();
    if (lane == 0) parts[plant == PLACE_OFF_BY_ONE ? warp + 1 : warp] = value;
    if (plant != NO_BARRIER_AFTER) __syncthreads();
    if (plant == ONE_MORE_READ) count++;
    value = lane < count ? float(parts[lane]) : 0.0f;
    return warp_reduce(value, Sum());
}

/* The deviation from the mean, squared and summed: two reductions. */
static __global__ void reduce_kernel(float *out, const float *x, int plant)
{
    float value = x[threadIdx.x];
    float mean = planted_reduce(value, plant) / (float)REDUCE_THREADS;
    out[threadIdx.x] = planted_reduce((value - mean) * (value - mean), plant);
}

/* ---- tiles ---------------------------------------------------------------------------------- */

enum { TILE_ROWS = 8, TILE_COLUMNS = 16, TILE_THREADS = 64, NUM_TILES = 3 };

static __device__ void planted_load(const fl_shared<float> &tile, const float *x, int plant)
{
    int rows = plant == ONE_ROW_LESS ? TILE_ROWS - 1 : TILE_ROWS;
    for (int i = (int)threadIdx.x; i < rows * TILE_COLUMNS; i += TILE_THREADS)
        tile[i / TILE_COLUMNS * (TILE_COLUMNS + 1) + i % TILE_COLUMNS] = x[i];
}

/* Every thread sums one row of every tile. */
static __global__ void tiles_kernel(float *out, const float *x, int plant)
{
    FL_SHARED_DYNAMIC(float, memory);
    fl_shared<float> tile = fl_part(memory, 0, TILE_ROWS * (TILE_COLUMNS + 1));
    int row = (int)threadIdx.x % TILE_ROWS;
    int columns = plant == ONE_COLUMN_MORE ? TILE_COLUMNS + 1 : TILE_COLUMNS;
    float sum = 0;
    for (int t = 0; t < NUM_TILES; t++) {
        if (plant != NO_BARRIER_BEFORE) __syncthreads();
        planted_load(tile, x + t * TILE_ROWS * TILE_COLUMNS, plant);
        if (plant != NO_BARRIER_AFTER) __syncthreads();
        for (int c = 0; c < columns; c++)
            sum += tile[row * (TILE_COLUMNS + 1) + c];
    }
    out[threadIdx.x] = sum;
}

/* ---- rows in device memory ------------------------------------------------------------------ */

enum { NUM_ROWS = 3, ROW_LENGTH = 37 }; // 444 bytes: the next boundary of 64 is not at the end

static __global__ void rows_kernel(float *out, const float *x, int plant)
{
    int row = (int)threadIdx.x / WARP_LANES, lane = (int)threadIdx.x % WARP_LANES;
    int length = plant == ROW_TOO_LONG ? ROW_LENGTH + 1 : ROW_LENGTH;
    int first = plant == ROW_BEFORE ? row * ROW_LENGTH - 1 : row * ROW_LENGTH;
    for (int c = lane; c < length; c += WARP_LANES)
        out[first + c] = 2 * x[c];
}

/* ---- runs ----------------------------------------------------------------------------------- */

static float *on_device(const float *host, size_t count)
{
    void *data = nullptr;
    assert_int_equal(cudaMalloc(&data, count * sizeof *host), cudaSuccess);
    if (host)
        assert_int_equal(
            cudaMemcpyAsync(data, host, count * sizeof *host, cudaMemcpyHostToDevice, 0),
            cudaSuccess);
    return static_cast<float *>(data);
}

/* text NULL: no fault, and out[0] is `want`. */
template <class Launch>
static void expect(int plant, const char *text, size_t outputs, float want, const Launch &launch)
{
    float *out = on_device(nullptr, outputs), got = 0;
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        launch(out, plant);
        cudaError_t error = cudaGetLastError();
        if (text) {
            if (error != cudaErrorLaunchFailure || !strstr(fl_emu_fault_text(), text))
                fail_msg("order %llu, plant %d: \"%s\" instead of \"%s\"",
                         (unsigned long long)order, plant,
                         error == cudaSuccess ? "" : fl_emu_fault_text(), text);
            continue;
        }
        if (error != cudaSuccess) fail_msg("plant %d: %s", plant, fl_emu_fault_text());
        cudaMemcpyAsync(&got, out, sizeof got, cudaMemcpyDeviceToHost, 0);
        assert_true(got == want);
    }
    cudaFree(out);
}

static void test_reduction(void **)
{
    float host[REDUCE_THREADS];
    for (int i = 0; i < REDUCE_THREADS; i++)
        host[i] = i % 2 ? 3.0f : 1.0f;
    float *x = on_device(host, REDUCE_THREADS);
    auto launch = [x](float *out, int plant) {
        fl_emu::launch("reduce", 1, REDUCE_THREADS, 0, reduce_kernel, out, x, plant);
    };
    expect(NONE, nullptr, REDUCE_THREADS, REDUCE_THREADS, launch);
    expect(NO_BARRIER_BEFORE, "without a barrier between", REDUCE_THREADS, 0, launch);
    expect(NO_BARRIER_AFTER, "parts", REDUCE_THREADS, 0, launch);
    expect(PLACE_OFF_BY_ONE, "parts[0] is read but was never written", REDUCE_THREADS, 0, launch);
    expect(ONE_MORE_READ, "parts[3] is read but was never written", REDUCE_THREADS, 0, launch);
    expect(NONE, nullptr, REDUCE_THREADS, REDUCE_THREADS, launch);
    cudaFree(x);
}

static void test_tiles(void **)
{
    enum { COUNT = NUM_TILES * TILE_ROWS * TILE_COLUMNS };
    float host[COUNT];
    for (int i = 0; i < COUNT; i++)
        host[i] = 1;
    float *x = on_device(host, COUNT), want = NUM_TILES * TILE_COLUMNS;
    auto launch = [x](float *out, int plant) {
        size_t bytes = TILE_ROWS * (TILE_COLUMNS + 1) * sizeof(float);
        fl_emu::launch("tiles", 1, TILE_THREADS, bytes, tiles_kernel, out, x, plant);
    };
    expect(NONE, nullptr, TILE_THREADS, want, launch);
    expect(NO_BARRIER_BEFORE, "without a barrier between", TILE_THREADS, 0, launch);
    expect(NO_BARRIER_AFTER, "memory", TILE_THREADS, 0, launch);
    expect(ONE_ROW_LESS, "is read but was never written", TILE_THREADS, 0, launch);
    expect(ONE_COLUMN_MORE, "is read but was never written", TILE_THREADS, 0, launch);
    cudaFree(x);
}

static void test_rows(void **)
{
    float host[ROW_LENGTH + 1];
    for (float &value : host)
        value = 1;
    float *x = on_device(host, ROW_LENGTH + 1);
    auto launch = [x](float *out, int plant) {
        fl_emu::launch("rows", 1, NUM_ROWS * WARP_LANES, 0, rows_kernel, out, x, plant);
    };
    expect(NONE, nullptr, NUM_ROWS * ROW_LENGTH, 2, launch);
    expect(ROW_TOO_LONG, "rows: wrote behind the end of 444 bytes", NUM_ROWS * ROW_LENGTH, 0,
           launch);
    expect(ROW_BEFORE, "rows: wrote in front of 444 bytes", NUM_ROWS * ROW_LENGTH, 0, launch);
    expect(NONE, nullptr, NUM_ROWS * ROW_LENGTH, 2, launch);
    cudaFree(x);
}

int main()
{
    fl_emu_set_checks(true);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduction),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
