#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, ARENA_BLOCK = 1 << 18 };

static atomic_uint_fast64_t alloc_count;

bool fl_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

uint64_t fl_alloc_count(void)
{
    return atomic_load(&alloc_count);
}

/* *bytes = count * size rounded up to the alignment, at least one unit. */
static bool padded_size(size_t count, size_t size, size_t *bytes)
{
    size_t product;
    if (!fl_mul_size(count, size, &product) || product > SIZE_MAX / 2) return false;
    *bytes = (product + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    return true;
}

fl_status fl_alloc(void *out, size_t count, size_t size)
{
    size_t bytes;
    FL_CHECK(padded_size(count, size, &bytes), FL_ERR_MEMORY,
             "cannot allocate %zu elements of %zu bytes", count, size);
    void *pointer = aligned_alloc(ALIGNMENT, bytes);
    FL_CHECK(pointer, FL_ERR_MEMORY, "out of memory: %zu bytes", bytes);
    memset(pointer, 0, bytes);
    memcpy(out, &pointer, sizeof pointer);
    atomic_fetch_add(&alloc_count, 1);
    return FL_OK;
}

void fl_free(void *pointer)
{
    free(pointer);
}

fl_status fl_grow(void *items, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity) return FL_OK;
    size_t count = *capacity > SIZE_MAX / 2 ? needed : *capacity * 2;
    if (count < 16) count = 16;
    if (count < needed) count = needed;
    size_t bytes;
    FL_CHECK(padded_size(count, size, &bytes), FL_ERR_MEMORY,
             "cannot allocate %zu elements of %zu bytes", count, size);
    void *old;
    memcpy(&old, items, sizeof old);
    void *pointer = aligned_alloc(ALIGNMENT, bytes);
    FL_CHECK(pointer, FL_ERR_MEMORY, "out of memory: %zu bytes", bytes);
    if (old) memcpy(pointer, old, *capacity * size);
    free(old);
    memcpy(items, &pointer, sizeof pointer);
    *capacity = count;
    atomic_fetch_add(&alloc_count, 1);
    return FL_OK;
}

typedef struct arena_block arena_block;
struct arena_block {
    arena_block *next;
    size_t used, capacity;
    char *data;
};

struct fl_arena {
    arena_block *blocks; /* newest first */
};

fl_status fl_arena_create(fl_arena **out)
{
    return fl_alloc(out, 1, sizeof(fl_arena));
}

void fl_arena_destroy(fl_arena *arena)
{
    if (!arena) return;
    for (arena_block *block = arena->blocks; block;) {
        arena_block *next = block->next;
        fl_free(block->data);
        fl_free(block);
        block = next;
    }
    fl_free(arena);
}

static fl_status add_block(fl_arena *arena, size_t bytes)
{
    arena_block *block;
    FL_TRY(fl_alloc(&block, 1, sizeof *block));
    block->capacity = bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK;
    fl_status status = fl_alloc(&block->data, block->capacity, 1);
    if (status != FL_OK) {
        fl_free(block);
        return status;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    return FL_OK;
}

fl_status fl_arena_alloc(fl_arena *arena, void *out, size_t count, size_t size)
{
    size_t bytes;
    FL_CHECK(padded_size(count, size, &bytes), FL_ERR_MEMORY,
             "cannot allocate %zu elements of %zu bytes", count, size);
    if (!arena->blocks || arena->blocks->capacity - arena->blocks->used < bytes)
        FL_TRY(add_block(arena, bytes));
    void *pointer = arena->blocks->data + arena->blocks->used;
    arena->blocks->used += bytes;
    memcpy(out, &pointer, sizeof pointer);
    return FL_OK;
}

fl_status fl_arena_text(fl_arena *arena, char **out, const char *text, size_t length)
{
    FL_CHECK(length < SIZE_MAX, FL_ERR_MEMORY, "text is too long");
    char *copy;
    FL_TRY(fl_arena_alloc(arena, &copy, length + 1, 1));
    memcpy(copy, text, length);
    *out = copy;
    return FL_OK;
}
