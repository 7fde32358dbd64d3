/* How matrices are cut into chunks. */
#include "kernels/cuda/act.h"

namespace FL_DEVICE
{

bool is_aligned(std::initializer_list<fl_act> all, int count)
{
    for (const fl_act &x : all) {
        size_t bytes = (size_t)count * fl_dtype_size(x.dtype);
        if (bytes > CHUNK_BYTES) bytes = CHUNK_BYTES;
        if ((uintptr_t)x.data % bytes != 0 || x.stride % count != 0) return false;
    }
    return true;
}

Span span_of_rows(int64_t T, int64_t C, int count, std::initializer_list<fl_act> all)
{
    int64_t chunks = (C + count - 1) / count;
    if (T <= 0 || chunks <= 0) return {};
    unsigned blocks = grid_for(T * chunks, CHUNK_THREADS);
    int64_t step = (int64_t)blocks * CHUNK_THREADS;
    return {T, C, chunks, step / chunks, step % chunks, blocks, is_aligned(all, count)};
}

Span span_of(int64_t T, int64_t C, int count, std::initializer_list<fl_act> all)
{
    for (const fl_act &x : all)
        if (x.stride != C) return span_of_rows(T, C, count, all);
    Span span = span_of_rows(1, T * C, count, {});
    for (fl_act x : all) {
        x.stride = 0; // there is no second row
        span.is_aligned = span.is_aligned && is_aligned({x}, count);
    }
    return span;
}

} // namespace FL_DEVICE
