/* What attention kernels know of a batch: which tokens a block has, which queries see which keys,
 * and what a score is. */
#ifndef FL_KERNELS_CUDA_ATTENTION_SHAPE_H
#define FL_KERNELS_CUDA_ATTENTION_SHAPE_H

#include "kernels/cuda/warp.h"

namespace FL_DEVICE
{

enum { ATT_MOST_D = 256 };

/* Arguments that all kernels share; tokens of a batch are counted in int32_t, as cu does. */
struct AttentionShape {
    const int32_t *cu, *prefix;
    int S, H, KV, D, group;
    int window; /* INT32_MAX: all */
    float scale, softcap;
};

inline AttentionShape shape_of(const fl_attn_shape *s)
{
    bool is_open = s->window <= 0 || s->window > INT32_MAX;
    return {s->cu,      s->prefix, (int)s->S,           (int)s->H,
            (int)s->KV, (int)s->D, (int)(s->H / s->KV), is_open ? INT32_MAX : (int)s->window,
            s->scale,   s->softcap};
}

/* x[T, heads * D] of one type, its rows `stride` elements apart. */
template <class T> struct Matrix {
    T *x;
    int64_t stride;
    __device__ __forceinline__ T *at(int64_t row, int column) const
    {
        return x + row * stride + column;
    }
};

template <class T> Matrix<T> matrix_of(fl_act a)
{
    return {static_cast<T *>(a.data), a.stride};
}

/* Tiles of a batch: sequence s has the places cu[s]/tile + s up to cu[s+1]/tile + s of the grid,
 * which are enough for its tiles and at most one more. */
inline unsigned tiles_of(const fl_attn_shape *s, int tile)
{
    return (unsigned)(s->T / tile + s->S);
}

/* The tokens of a block. */
struct Place {
    int sequence, start, length; /* start: first token in the batch */
    int first;                   /* token, counted from start; >= length: nothing to do */
};

static __device__ inline Place find_place(const AttentionShape &s, int place, int tile)
{
    int low = 0, high = s.S; // the sequence is one of low .. high-1
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (s.cu[middle] / tile + middle <= place)
            low = middle;
        else
            high = middle;
    }
    int start = s.cu[low];
    return {low, start, s.cu[low + 1] - start, (place - start / tile - low) * tile};
}

/* Query i, which has `ahead` keys of another sequence in front of its own sequence's, sees key j.
 */
static __device__ __forceinline__ bool sees(const AttentionShape &s, int i, int ahead, int j)
{
    int apart = i + ahead - j;
    return apart >= 0 && apart < s.window;
}

static __device__ __forceinline__ float cap_score(float score, float cap)
{
    return cap > 0 ? cap * tanhf(score / cap) : score;
}

/* The slope of cap_score where it gave `score`. */
static __device__ __forceinline__ float cap_slope(float score, float cap)
{
    return cap > 0 ? 1.0f - score / cap * (score / cap) : 1.0f;
}

/* Announces dynamic shared memory above 48 KB. */
template <class Kernel> bool allow_shared(Kernel *kernel, int bytes)
{
    return check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                 "shared memory for attention");
}

inline void refuse_heads()
{
    fail_op(FL_ERR_UNSUPPORTED, "attention heads of more than 256 elements");
}

} // namespace FL_DEVICE

#endif
