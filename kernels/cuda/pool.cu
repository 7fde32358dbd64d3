#include "kernels/cuda/pool.h"

#include <stdlib.h>

namespace FL_DEVICE
{

static PoolBlock *make_block(size_t at, size_t bytes, PoolBlock *next)
{
    auto *block = static_cast<PoolBlock *>(malloc(sizeof(PoolBlock)));
    if (block) *block = {at, bytes, nullptr, next};
    return block;
}

bool pool_open(Pool *pool, size_t size)
{
    pool->first = make_block(0, size, nullptr);
    return pool->first != nullptr;
}

void pool_close(Pool *pool)
{
    while (pool->first) {
        PoolBlock *next = pool->first->next;
        free(pool->first);
        pool->first = next;
    }
}

PoolBlock *pool_find_free(Pool *pool, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return nullptr;
    size_t wanted = pool_rounded(bytes);
    PoolBlock *block = pool->first;
    while (block && (block->data || block->bytes < wanted))
        block = block->next;
    if (!block || block->bytes == wanted) return block;
    PoolBlock *rest = make_block(block->at + wanted, block->bytes - wanted, block->next);
    if (!rest) return nullptr;
    block->bytes = wanted;
    block->next = rest;
    return block;
}

PoolBlock *pool_find(const Pool *pool, const void *data)
{
    PoolBlock *block = pool->first;
    while (block && block->data != data)
        block = block->next;
    return block;
}

void pool_give_back(Pool *pool, PoolBlock *block)
{
    block->data = nullptr;
    for (PoolBlock *at = pool->first; at; at = at->next)
        while (!at->data && at->next && !at->next->data) {
            PoolBlock *next = at->next;
            at->bytes += next->bytes;
            at->next = next->next;
            free(next);
        }
}

} // namespace FL_DEVICE
