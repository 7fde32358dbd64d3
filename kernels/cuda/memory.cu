/* Device memory: blocks of what was reserved, allocations of their own beyond that, and what ops
 * keep for themselves. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/pool.h"

extern "C" {
#include "base/log.h"
}

namespace FL_DEVICE
{

static Pool pool;
static void *pool_base;
static bool has_warned;
static struct {
    void *data;
    size_t bytes;
} scratches[NUM_SCRATCH];

/* ---- blocks --------------------------------------------------------------------------------- */

/* Said once: what the plan left out is slower and may not be there. */
static void warn_of_plan(size_t bytes)
{
    if (!has_warned)
        FL_WARN("%s backend: %zu bytes of device memory more than the plan has", FL_DEVICE_NAME,
                bytes);
    has_warned = true;
}

static cudaError_t take(void **out, size_t bytes)
{
    PoolBlock *block = pool_find_free(&pool, bytes);
    if (!block) {
        if (pool.first) warn_of_plan(bytes);
        return cudaMalloc(out, bytes > 0 ? bytes : 1);
    }
    cudaError_t error = cut_block(&block->data, pool_base, block->at, bytes > 0 ? bytes : 1);
    if (error != cudaSuccess) pool_give_back(&pool, block);
    *out = block->data;
    return error;
}

static cudaError_t give_back(void *data)
{
    PoolBlock *block = data ? pool_find(&pool, data) : nullptr;
    if (!block) return cudaFree(data);
    cudaError_t error = join_block(data);
    pool_give_back(&pool, block);
    return error;
}

static fl_status no_memory(cudaError_t error, size_t bytes)
{
    (void)cudaGetLastError(); // this call's failure, not the backend's
    return fl_fail(FL_ERR_MEMORY, "%s backend: %zu bytes of device memory: %s", FL_DEVICE_NAME,
                   bytes, cudaGetErrorString(error));
}

fl_status op_alloc(void *out, size_t bytes)
{
    void *data = nullptr;
    FL_TRY(op_open(0));
    FL_CHECK(may_interrupt(), FL_ERR_INTERNAL, "%s backend: alloc in a replayed body",
             FL_DEVICE_NAME);
    cudaError_t error = take(&data, bytes);
    if (error != cudaSuccess) return no_memory(error, bytes);
    op_zero(data, bytes);
    memcpy(out, &data, sizeof data);
    return op_status();
}

/* Graphs may point to it. */
void op_release(void *data)
{
    if (!data || !may_interrupt()) return;
    forget_graphs();
    check(give_back(data), "releasing memory");
}

/* ---- scratch -------------------------------------------------------------------------------- */

/* Beside the code that takes it, in the order of scratch_use. */
static size_t (*const scratch_most[NUM_SCRATCH])(const fl_scratch_need *need) = {
    weight_scratch, operand_scratch, operand_scratch, product_scratch, parts_scratch,
    spans_scratch,  narrow_scratch,  sums_scratch,    library_scratch};

static bool resize_scratch(scratch_use use, size_t bytes)
{
    forget_graphs();
    wait();
    if (!check(give_back(scratches[use].data), "releasing scratch memory")) return false;
    scratches[use] = {nullptr, 0};
    void *data = nullptr;
    if (bytes > 0 && !check(take(&data, bytes), "scratch memory")) return false;
    scratches[use] = {data, bytes};
    return true;
}

void *scratch(scratch_use use, size_t bytes)
{
    if (!can_launch()) return nullptr;
    if (bytes <= scratches[use].bytes) return scratches[use].data;
    if (!may_interrupt() || !resize_scratch(use, bytes)) return nullptr;
    return scratches[use].data;
}

size_t op_scratch_bytes(const fl_scratch_need *need)
{
    size_t bytes = 0;
    for (auto most : scratch_most)
        if (most(need) > 0) bytes += pool_rounded(most(need));
    return bytes;
}

/* ---- the plan ------------------------------------------------------------------------------- */

static fl_status open_pool(size_t bytes)
{
    size_t size = pool_rounded(bytes);
    cudaError_t error = pool_malloc(&pool_base, size);
    if (error != cudaSuccess) return no_memory(error, size);
    if (pool_open(&pool, size)) return FL_OK;
    check(pool_free(pool_base), "releasing memory");
    return fl_fail(FL_ERR_MEMORY, "out of memory");
}

fl_status op_reserve(size_t bytes, const fl_scratch_need *need)
{
    FL_TRY(op_open(0));
    for (int use = 0; use < NUM_SCRATCH; use++)
        resize_scratch((scratch_use)use, 0);
    bool is_free = !pool.first || (!pool.first->data && !pool.first->next);
    FL_CHECK(is_free, FL_ERR_INTERNAL, "%s backend: reserved memory is in use", FL_DEVICE_NAME);
    if (pool.first) check(pool_free(pool_base), "releasing memory");
    pool_close(&pool);
    FL_TRY(op_status());
    FL_TRY(open_pool(pool_rounded(bytes) + op_scratch_bytes(need)));
    for (int use = 0; use < NUM_SCRATCH; use++)
        resize_scratch((scratch_use)use, scratch_most[use](need));
    return op_status();
}

fl_status op_memory(fl_device_memory *out)
{
    int device = 0;
    cudaDeviceProp properties;
    size_t free = 0, total = 0;
    FL_TRY(op_open(0));
    check(cudaGetDevice(&device), "asking for the device");
    check(cudaGetDeviceProperties(&properties, device), "asking the device");
    check(cudaMemGetInfo(&free, &total), "asking for the device's memory");
    out->free = free > FL_DEVICE_MARGIN ? free - FL_DEVICE_MARGIN : 0;
    out->total = total;
    static_assert(sizeof out->device == sizeof properties.uuid, "a device's name has 16 bytes");
    memcpy(out->device, &properties.uuid, sizeof out->device);
    return op_status();
}

} // namespace FL_DEVICE
