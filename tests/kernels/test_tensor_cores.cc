/* The emulated tensor cores (kernels/emu/tensor.h): products and layouts as the PTX ISA has them,
 * and planted faults, each of which must be found in every order of the threads. */
#include "kernels/emu/tensor.h"

#include <setjmp.h>
#include <stdarg.h>

extern "C" {
#include <cmocka.h>
}

#include "device_arrays.h"

using namespace fl_emu;
using bf16 = __nv_bfloat16;

enum { M = 16, N = 8, K = 16, WARPS = 3, THREADS = WARPS * 32 };

/* ---- products ------------------------------------------------------------------------------- */

static uint32_t pair_of(bf16 low, bf16 high)
{
    return low.bits | (uint32_t)high.bits << 16;
}

/* sums[M,N] += a[M,K] b[K,N] by one warp; every warp does it with arrays of its own.  The fragments
 * are written out as in the tables of the PTX ISA: a0 .. a7, b0 .. b3, c0 .. c3. */
static __global__ void product_kernel(float *sums, const bf16 *a, const bf16 *b)
{
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int group = lane >> 2, in_group = lane & 3;
    a += warp * M * K;
    b += warp * K * N;
    sums += warp * M * N;
    uint32_t left[4], right[2];
    for (int i = 0; i < 8; i += 2) { // a_i and a_i+1
        int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
        int k = in_group * 2 + (i >= 4 ? 8 : 0);
        left[i / 2] = pair_of(a[row * K + k], a[row * K + k + 1]);
    }
    for (int i = 0; i < 4; i += 2) {
        int k = in_group * 2 + (i >= 2 ? 8 : 0);
        right[i / 2] = pair_of(b[k * N + group], b[(k + 1) * N + group]);
    }
    float sum[4];
    for (int i = 0; i < 4; i++)
        sum[i] = sums[(i < 2 ? group : group + 8) * N + in_group * 2 + (i & 1)];
    multiply_add(sum, left, right[0], right[1]);
    for (int i = 0; i < 4; i++)
        sums[(i < 2 ? group : group + 8) * N + in_group * 2 + (i & 1)] = sum[i];
}

/* A fixed sequence of values in [-1, 1), rounded to bf16. */
static float draw(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return __bfloat162float(__float2bfloat16((float)(*state >> 8) * 0x1p-23f - 1.0f));
}

static void test_products(void **)
{
    bf16 a[WARPS * M * K], b[WARPS * K * N];
    float sums[WARPS * M * N], got[WARPS * M * N], first[WARPS * M * N];
    uint32_t state = 1;
    for (bf16 &x : a)
        x = __float2bfloat16(draw(&state));
    for (bf16 &x : b)
        x = __float2bfloat16(draw(&state));
    for (float &x : sums)
        x = draw(&state);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        float *on_device = device_copy(sums, WARPS * M * N);
        bf16 *left = device_copy(a, WARPS * M * K), *right = device_copy(b, WARPS * K * N);
        fl_emu::launch("product", 1, THREADS, 0, product_kernel, on_device, left, right);
        assert_int_equal(cudaGetLastError(), cudaSuccess);
        read_back(got, on_device, sizeof got);
        for (int i = 0; i < WARPS * M * N; i++) {
            int warp = i / (M * N), row = i % (M * N) / N, column = i % N;
            double want = (double)sums[i], size = fabs(want);
            for (int k = 0; k < K; k++) {
                double term = (double)__bfloat162float(a[(warp * M + row) * K + k]) *
                              (double)__bfloat162float(b[(warp * K + k) * N + column]);
                want += term;
                size += fabs(term);
            }
            // 16 sums in fp32, each wrong by half a unit of at most `size`
            assert_true(fabs((double)got[i] - want) <= K * 0x1p-24 * size);
        }
        if (order == 0) memcpy(first, got, sizeof first);
        assert_memory_equal(got, first, sizeof first);
        cudaFree(on_device);
        cudaFree(left);
        cudaFree(right);
    }
}

/* Sums are rounded one after the other by ascending k: 1 is lost in 2^24 while it stands alone. */
static void test_order_of_sums(void **)
{
    bf16 a[M * K] = {}, b[K * N] = {};
    float sums[M * N] = {}, got[M * N];
    for (int k = 0; k < K; k++)
        b[k * N] = __float2bfloat16(1.0f);
    a[0] = __float2bfloat16(0x1p24f);
    a[1] = a[K - 1] = __float2bfloat16(1.0f);
    a[K] = a[K + 1] = __float2bfloat16(1.0f);
    a[K + K - 1] = __float2bfloat16(0x1p24f);
    float *on_device = device_copy(sums, M * N);
    bf16 *left = device_copy(a, M * K), *right = device_copy(b, K * N);
    fl_emu::launch("product", 1, 32, 0, product_kernel, on_device, left, right);
    read_back(got, on_device, sizeof got);
    assert_true(got[0] == 0x1p24f);
    assert_true(got[N] == 0x1p24f + 2);
    cudaFree(on_device);
    cudaFree(left);
    cudaFree(right);
}

/* ---- matrices of shared memory -------------------------------------------------------------- */

enum { STRIDE = 24, ROWS = 16 };

/* Matrix m of four begins at row m % 2 * 8, column m / 2 * 8 of a tile whose element is its index.
 */
static __global__ void layout_kernel(uint32_t *plain, uint32_t *transposed)
{
    FL_SHARED(bf16, tile, ROWS * STRIDE);
    int thread = (int)threadIdx.x, lane = thread % 32;
    for (int i = thread; i < ROWS * STRIDE; i += THREADS)
        tile[i] = bf16{(uint16_t)i};
    __syncthreads();
    uint32_t out[4];
    load_matrices(out, tile, lane % 16 * STRIDE + lane / 16 * 8);
    for (int m = 0; m < 4; m++)
        plain[thread * 4 + m] = out[m];
    load_transposed(out, tile, lane % 16 * STRIDE + lane / 16 * 8);
    for (int m = 0; m < 4; m++)
        transposed[thread * 4 + m] = out[m];
}

static void test_layout(void **)
{
    uint32_t plain[THREADS * 4], transposed[THREADS * 4];
    uint32_t *p = device_array<uint32_t>(THREADS * 4), *t = device_array<uint32_t>(THREADS * 4);
    fl_emu_set_checks(true);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        fl_emu::launch("layout", 1, THREADS, 0, layout_kernel, p, t);
        assert_int_equal(cudaGetLastError(), cudaSuccess);
        read_back(plain, p, sizeof plain);
        read_back(transposed, t, sizeof transposed);
        for (unsigned i = 0; i < THREADS * 4; i++) {
            unsigned lane = i / 4 % 32, m = i % 4, corner = m % 2 * 8 * STRIDE + m / 2 * 8;
            unsigned row = corner + lane / 4 * STRIDE + lane % 4 * 2;
            unsigned column = corner + lane % 4 * 2 * STRIDE + lane / 4;
            assert_int_equal(plain[i], row | (row + 1) << 16);
            assert_int_equal(transposed[i], column | (column + STRIDE) << 16);
        }
    }
    fl_emu_set_checks(false);
    cudaFree(p);
    cudaFree(t);
}

/* ---- copies, and planted faults ------------------------------------------------------------- */

/* The fault of each `which` is its only one. */
enum Plant {
    NONE,
    LANE_MISSING_IN_PRODUCT,
    LANE_MISSING_IN_LOAD,
    OTHER_PRODUCT,
    NO_WAIT,
    EARLY_WAIT,
    NO_BARRIER,
    REUSED_TOO_EARLY,
    TOUCHED_UNDER_WAY,
    ENDED_UNDER_WAY,
    ODD_PLACE,
    ODD_SOURCE,
    ODD_ROW,
    OUTSIDE
};

static __device__ void plant_products(int which, uint32_t (&word)[4])
{
    float sum[4] = {};
    if (which == LANE_MISSING_IN_PRODUCT && threadIdx.x == 40) return;
    if (which == OTHER_PRODUCT && threadIdx.x == 40)
        multiply_add(sum, word, word[0], word[1]);
    else
        multiply_add(sum, word, word[0], word[1]);
}

/* Eight elements per thread through shared memory, twice, the second time as zeros. */
static __global__ void planted_kernel(bf16 *out, const bf16 *in, int which)
{
    FL_SHARED(bf16, tile, THREADS * 8 + 8);
    int thread = (int)threadIdx.x, mine = thread * 8, other = (thread + 33) % THREADS * 8;
    bool is_odd = thread == 50;
    copy_async(tile, mine + (which == ODD_PLACE && is_odd ? 4 : 0),
               in + mine + (which == ODD_SOURCE && is_odd ? 4 : 0), true);
    copy_commit();
    if (which == TOUCHED_UNDER_WAY && is_odd) (void)bf16(tile[mine]);
    if (which == EARLY_WAIT)
        copy_wait<1>();
    else if (which != NO_WAIT || !is_odd)
        copy_wait<0>();
    if (which != NO_BARRIER) __syncthreads();
    uint4 eight = load_eight(tile, which == OUTSIDE && is_odd ? THREADS * 8 + 8 : other);
    memcpy(out + other, &eight, sizeof eight);
    if (which != REUSED_TOO_EARLY) __syncthreads();
    copy_async(tile, mine, in, false);
    copy_commit();
    if (which == ENDED_UNDER_WAY && is_odd) return;
    copy_wait<0>();
    __syncthreads();
    if (which == LANE_MISSING_IN_LOAD && thread == 40) return;
    uint32_t word[4];
    load_matrices(word, tile, thread % 32 * 8 + (which == ODD_ROW && is_odd ? 4 : 0));
    for (uint32_t w : word)
        if (w != 0) out[0] = bf16{1};
    plant_products(which, word);
}

static void run_planted(int which, const char *text)
{
    bf16 in[THREADS * 8], got[THREADS * 8], *out = device_array<bf16>(THREADS * 8);
    for (int i = 0; i < THREADS * 8; i++)
        in[i] = bf16{(uint16_t)i};
    bf16 *from = device_copy(in, THREADS * 8);
    for (uint64_t order : orders) {
        fl_emu_set_order(order);
        fl_emu::launch("planted", 1, THREADS, 0, planted_kernel, out, from, which);
        if (text) {
            expect_fault(order, which, "planted, block", text);
            continue;
        }
        assert_int_equal(cudaGetLastError(), cudaSuccess);
        read_back(got, out, sizeof got);
        assert_memory_equal(got, in, sizeof in);
    }
    cudaFree(out);
    cudaFree(from);
}

/* After each fault the same kernel runs as if nothing had been. */
static void test_planted_faults(void **)
{
    static const struct {
        int which;
        const char *text;
    } plants[] = {
        {LANE_MISSING_IN_PRODUCT, "for thread 40, which has ended"},
        {LANE_MISSING_IN_LOAD, "for thread 40, which has ended"},
        {OTHER_PRODUCT, "which waits at"},
        {NO_WAIT, "is read but was never written"},
        {EARLY_WAIT, "is read but was never written"},
        {NO_BARRIER, "is read"},
        {REUSED_TOO_EARLY, "without a barrier between"},
        {TOUCHED_UNDER_WAY, "is read but was never written"},
        {ENDED_UNDER_WAY, "copies that it did not wait for"},
        {ODD_PLACE, "to a place that is not"},
        {ODD_SOURCE, "from a place that is not"},
        {ODD_ROW, "a row of a matrix"},
        {OUTSIDE, "is outside"},
    };
    fl_emu_set_checks(true);
    for (const auto &plant : plants) {
        run_planted(NONE, nullptr);
        run_planted(plant.which, plant.text);
    }
    run_planted(NONE, nullptr);
    fl_emu_set_checks(false);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_order_of_sums),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_planted_faults),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
