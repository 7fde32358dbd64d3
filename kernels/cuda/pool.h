/* Addresses 0 to size - 1 given out in blocks: the first free stretch that is long enough, and free
 * neighbours are one.  What the addresses stand for is the caller's. */
#ifndef FL_KERNELS_CUDA_POOL_H
#define FL_KERNELS_CUDA_POOL_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

struct PoolBlock {
    size_t at, bytes;
    void *data; /* the caller's, while the block is in use; NULL: it is free */
    PoolBlock *next;
};

struct Pool {
    PoolBlock *first; /* in the order of addresses; NULL: the pool is not open */
};

enum : size_t { POOL_ALIGNMENT = FL_RESERVE_ALIGNMENT };

/* As a block takes it up. */
inline size_t pool_rounded(size_t bytes)
{
    size_t least = bytes > 0 ? bytes : 1;
    return (least + POOL_ALIGNMENT - 1) / POOL_ALIGNMENT * POOL_ALIGNMENT;
}

/* size: a multiple of the alignment.  false: no memory for the list. */
bool pool_open(Pool *pool, size_t size);
/* Everything is free, and the pool is closed. */
void pool_close(Pool *pool);
/* A free block of at least `bytes`, which is in use as soon as the caller sets `data`; NULL: there
 * is none. */
PoolBlock *pool_find_free(Pool *pool, size_t bytes);
/* The block in use with this data, or NULL. */
PoolBlock *pool_find(const Pool *pool, const void *data);
void pool_give_back(Pool *pool, PoolBlock *block);

} // namespace FL_DEVICE

#endif
