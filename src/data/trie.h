/* A set of byte strings in which all that start a text are found in one walk.  Filled once, then
 * constant. */
#ifndef FL_DATA_TRIE_H
#define FL_DATA_TRIE_H

#include "base/status.h"

#include <stdint.h>

typedef struct fl_trie_edge {
    uint32_t key;   /* node << 8 | byte */
    uint32_t child; /* 0: empty slot; the root is nobody's child */
} fl_trie_edge;

/* Start with `fl_trie trie = {0};`, end with fl_trie_fini. */
typedef struct fl_trie {
    fl_trie_edge *edges; /* hash table with open addressing, at most half full */
    size_t num_slots;    /* a power of two */
    int32_t *values;     /* [num_nodes] of the string that ends here, or -1 */
    size_t num_nodes, value_capacity;
} fl_trie;

void fl_trie_fini(fl_trie *trie);
/* A string that is put again gets the new value (>= 0).  Errors: FL_ERR_MEMORY,
 * FL_ERR_UNSUPPORTED (more than 16 million bytes of different strings). */
fl_status fl_trie_put(fl_trie *trie, const char *text, size_t length, int32_t value);

/* The node behind `node` (0: the root), or 0 when there is none. */
static inline uint32_t fl_trie_step(const fl_trie *trie, uint32_t node, char c)
{
    if (trie->num_slots == 0) return 0;
    const uint32_t key = node << 8 | (unsigned char)c;
    const size_t mask = trie->num_slots - 1;
    for (size_t slot = (key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;;
         slot = (slot + 1) & mask) {
        const fl_trie_edge *edge = &trie->edges[slot];
        if (edge->child == 0 || edge->key == key) return edge->child;
    }
}

#endif
