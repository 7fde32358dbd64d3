/* Memory on the host: checked sizes, and arenas for things that end together.
 *
 * Nothing in the step loop allocates; buffers of a run are made once (see fl_arena).
 */
#ifndef FL_BASE_MEM_H
#define FL_BASE_MEM_H

#include "base/status.h"

#include <stdint.h>

/* *out = a * b, or false when the product does not fit. */
bool fl_mul_size(size_t a, size_t b, size_t *out);

/* *out = count * size zeroed bytes, aligned to 64; owned by the caller, freed with fl_free.
 * count = 0 gives a valid pointer too.  Errors: FL_ERR_MEMORY. */
fl_status fl_alloc(void *out, size_t count, size_t size);
void fl_free(void *pointer); /* accepts NULL */

/* Grows the array *items (element size `size`, *capacity elements) to hold `needed` elements;
 * doubles.  New elements are not cleared.  Pointers into the old array become invalid.
 * The array is owned by the caller and freed with fl_free. */
fl_status fl_grow(void *items, size_t *capacity, size_t needed, size_t size);

/* Allocations counted since the start, to prove that loops do not allocate. */
uint64_t fl_alloc_count(void);

/* Many small pieces that are freed together. */
typedef struct fl_arena fl_arena;
fl_status fl_arena_create(fl_arena **out);
void fl_arena_destroy(fl_arena *arena); /* accepts NULL */
/* Zeroed, aligned to 64, valid until the arena is destroyed. */
fl_status fl_arena_alloc(fl_arena *arena, void *out, size_t count, size_t size);
/* *out = a copy of the first `length` bytes of text, closed with a zero byte. */
fl_status fl_arena_text(fl_arena *arena, char **out, const char *text, size_t length);

#endif
