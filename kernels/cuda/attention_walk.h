/* The walks of attention kernels: whose keys the queries of a block see, and which queries see its
 * keys.
 *
 * A block owns a tile of neighbouring tokens of one sequence and walks over tiles of the other side
 * in one order: a query tile over the keys of the sequence that its own continues, then over its
 * own; a key tile over the queries of its own sequence, then over those of the sequences that
 * continue it, in each case head after head.  Tiles are counted from the start of their sequence,
 * so the order of every sum depends on these sequences alone.
 */
#ifndef FL_KERNELS_CUDA_ATTENTION_WALK_H
#define FL_KERNELS_CUDA_ATTENTION_WALK_H

#include "kernels/cuda/attention_shape.h"

namespace FL_DEVICE
{

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

} // namespace FL_DEVICE

#endif
