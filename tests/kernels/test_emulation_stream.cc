/* The emulated device's blocks of one allocation, its stream and its graphs. */
#include "test_emulation.h"

#include "device_arrays.h"

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

/* A block of one allocation, with blocks on both sides, ends where host and kernels must not go
 * on. */
static void test_blocks_are_watched(void **)
{
    enum { BYTES = 16 * sizeof(float) };
    void *base = nullptr, *blocks[3];
    size_t free = 0, rest = 0, total;
    assert_int_equal(cudaMemGetInfo(&free, &total), cudaSuccess);
    assert_int_equal(pool_malloc(&base, 3 * BYTES), cudaSuccess);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(cut_block(&blocks[i], base, i * BYTES, BYTES), cudaSuccess);
    assert_int_equal(cudaMemGetInfo(&rest, &total), cudaSuccess);
    assert_int_equal(free - rest, 3 * BYTES); // counted once
    victim = static_cast<float *>(blocks[1]);
    assert_false(survives(touch_on_host));
    assert_false(survives(overrun_on_device));
    for (void *block : blocks)
        assert_int_equal(join_block(block), cudaSuccess);
    assert_int_equal(pool_free(base), cudaSuccess);
    assert_int_equal(cudaMemGetInfo(&rest, &total), cudaSuccess);
    assert_int_equal(free, rest);
}

/* ---- streams and graphs --------------------------------------------------------------------- */

/* A copy out of pinned memory may be done when its event is waited for, and not before. */
static void test_pinned_copies_are_late(void **)
{
    void *pinned = nullptr;
    int *x = device_array<int>(1), *y = device_array<int>(1), got = 0;
    cudaEvent_t first;
    assert_int_equal(cudaHostAlloc(&pinned, 2 * sizeof(int), cudaHostAllocDefault), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&first, cudaEventDisableTiming), cudaSuccess);
    int *host = static_cast<int *>(pinned);
    host[0] = 1;
    host[1] = 2;
    cudaMemcpyAsync(x, host, sizeof *host, cudaMemcpyHostToDevice, 0);
    cudaEventRecord(first, 0);
    cudaMemcpyAsync(y, host + 1, sizeof *host, cudaMemcpyHostToDevice, 0);
    cudaEventSynchronize(first);
    host[0] = 3; // sent
    host[1] = 4; // not yet
    read_back(&got, x, sizeof got);
    assert_int_equal(got, 1);
    read_back(&got, y, sizeof got);
    assert_int_equal(got, 4);
    cudaEventDestroy(first);
    assert_int_equal(cudaFreeHost(host), cudaSuccess);
    assert_int_not_equal(cudaFreeHost(&got), cudaSuccess);
    cudaGetLastError();
    cudaFree(x);
    cudaFree(y);
}

static __global__ void add_kernel(int *x, int by)
{
    if (threadIdx.x == 0) *x += by;
}

static cudaGraphExec_t capture_of(int *x, bool *is_whole, void (*also)(int *))
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    int by = 5;
    assert_int_equal(cudaStreamBeginCapture(0, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    fl_emu::launch("add", 1, 32, 0, add_kernel, x, by);
    by = 7; // what was launched keeps its own
    if (also) also(x);
    *is_whole = cudaStreamEndCapture(0, &graph) == cudaSuccess;
    cudaGetLastError();
    assert_int_equal(*is_whole, graph != nullptr);
    if (!graph) return nullptr;
    assert_int_equal(cudaGraphInstantiateWithFlags(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    return exec;
}

static void test_graphs(void **)
{
    static void (*const forbidden[])(int *) = {
        [](int *) { cudaStreamSynchronize(0); },
        [](int *x) {
            int value = 0;
            cudaMemcpyAsync(x, &value, sizeof value, cudaMemcpyHostToDevice, 0);
        },
        [](int *x) {
            int value;
            cudaMemcpyAsync(&value, x, sizeof value, cudaMemcpyDeviceToHost, 0);
        },
        [](int *) {
            void *data;
            cudaMalloc(&data, 1);
        },
        [](int *x) { cudaFree(x); },
    };
    int *x = device_array<int>(1), got = 0;
    bool is_whole;
    cudaMemsetAsync(x, 0, sizeof *x, 0);
    cudaGraphExec_t exec = capture_of(x, &is_whole, nullptr);
    assert_true(is_whole);
    uint64_t launches = fl_emu_graph_launches();
    for (int i = 0; i < 3; i++) {
        read_back(&got, x, sizeof got);
        assert_int_equal(got, 5 * i); // recording did nothing
        assert_int_equal(cudaGraphLaunch(exec, 0), cudaSuccess);
    }
    assert_int_equal(fl_emu_graph_launches(), launches + 3);
    for (auto also : forbidden) {
        capture_of(x, &is_whole, also);
        assert_false(is_whole);
    }
    read_back(&got, x, sizeof got);
    assert_int_equal(got, 15);
    assert_int_equal(cudaGraphExecDestroy(exec), cudaSuccess);
    cudaFree(x);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_watched),
        cmocka_unit_test(test_pinned_copies_are_late),
        cmocka_unit_test(test_graphs),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
