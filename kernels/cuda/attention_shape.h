/* What attention kernels know of a batch: which tokens a block has, whose keys its queries see, and
 * which queries see its keys.
 *
 * A block owns a tile of neighbouring tokens of one sequence and walks over tiles of the other side
 * in one order: a query tile over the keys of the sequence that its own continues, then over its
 * own; a key tile over the queries of its own sequence, then over those of the sequences that
 * continue it, in each case head after head.  Tiles are counted from the start of their sequence,
 * so the order of every sum depends on these sequences alone.
 */
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

/* A tile of keys on the walk of a block of queries. */
struct KeyTile {
    int start, length; /* of the sequence that they are of */
    int ahead;         /* as in `sees`: its length, or 0 when it is the queries' own */
    int first;         /* counted from start */
};

/* Some of the `rows` queries of the block may see keys of the tile. */
static __device__ inline bool is_there(const KeyTile &t, const Place &at, int rows)
{
    return t.first < t.length && t.first < t.ahead + at.first + rows;
}

/* The first tile that the block's first query sees. */
static __device__ inline KeyTile keys_of(const AttentionShape &s, const Place &at, int sequence,
                                         bool is_own, int tile)
{
    int start = s.cu[sequence], length = s.cu[sequence + 1] - start, ahead = is_own ? 0 : length;
    int first = ahead + at.first + 1 - s.window;
    return {start, length, ahead, first > 0 ? first / tile * tile : 0};
}

static __device__ inline KeyTile first_keys(const AttentionShape &s, const Place &at, int rows,
                                            int tile)
{
    int prefix = s.prefix ? s.prefix[at.sequence] : -1;
    if (prefix >= 0) {
        KeyTile shared = keys_of(s, at, prefix, false, tile);
        if (is_there(shared, at, rows)) return shared;
    }
    return keys_of(s, at, at.sequence, true, tile);
}

/* The one behind; none when it `is_there` no more. */
static __device__ inline KeyTile next_keys(const AttentionShape &s, const Place &at, int rows,
                                           int tile, KeyTile t)
{
    t.first += tile;
    if (!is_there(t, at, rows) && t.ahead > 0) return keys_of(s, at, at.sequence, true, tile);
    return t;
}

/* A tile of queries of one head on the walk of a block of keys. */
struct QueryTile {
    int sequence, start, length; /* that they are of */
    int ahead;                   /* as in `sees`: the length of the keys' sequence, or 0 */
    int first;                   /* counted from start */
    int head;
};

/* Some queries of the tile may see some of the `rows` keys of the block. */
static __device__ inline bool is_there(const AttentionShape &s, const QueryTile &t, const Place &at,
                                       int rows)
{
    return t.first < t.length && t.first + t.ahead - at.first - (rows - 1) < s.window;
}

/* Query tiles are no larger than key tiles: they begin where the block's keys do. */
static __device__ inline QueryTile first_queries(const AttentionShape &s, const Place &at, int kv)
{
    return {at.sequence, at.start, at.length, 0, at.first, kv * s.group};
}

static __device__ inline QueryTile next_queries(const AttentionShape &s, const Place &at, int rows,
                                                int tile, QueryTile t)
{
    t.first += tile;
    if (is_there(s, t, at, rows)) return t;
    t.first = t.ahead > 0 ? 0 : at.first;
    if (++t.head % s.group != 0) return t;
    t.head -= s.group;
    while (++t.sequence < s.S && s.prefix && s.prefix[t.sequence] == at.sequence) {
        t.start = s.cu[t.sequence];
        t.length = s.cu[t.sequence + 1] - t.start;
        t.ahead = at.length;
        t.first = 0;
        if (is_there(s, t, at, rows)) return t;
    }
    t.first = t.length; // no further one
    return t;
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
