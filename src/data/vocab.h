/* Tables of the tokenizer: token text <-> id, and pair of ids -> merge.  Filled once, then
 * constant.  Both are hash tables with open addressing, at most half full. */
#ifndef FL_DATA_VOCAB_H
#define FL_DATA_VOCAB_H

#include "base/mem.h"

#include <stdint.h>

typedef struct fl_vocab_entry {
    const char *text; /* closed with a zero byte; NULL for an id that no token has */
    uint32_t length;  /* bytes */
    bool in_model;    /* false: an added token only, which characters and merges cannot give */
    bool is_added, is_special;
} fl_vocab_entry;

typedef struct fl_vocab {
    fl_vocab_entry *entries; /* [size] */
    int32_t size;            /* largest id + 1 */
    uint32_t *slots;         /* [mask + 1] id + 1, 0 = empty */
    size_t mask;
} fl_vocab;

/* Room for ids below `size` and for `count` tokens; memory from the arena. */
fl_status fl_vocab_init(fl_vocab *vocab, fl_arena *arena, int32_t size, size_t count);
/* Neither the id nor the text may have been put before.  The text is copied. */
fl_status fl_vocab_put(fl_vocab *vocab, fl_arena *arena, int32_t id, const char *text,
                       size_t length, bool in_model);
/* Drops the ids at the end that no token has. */
void fl_vocab_trim(fl_vocab *vocab);
int32_t fl_vocab_find(const fl_vocab *vocab, const char *text, size_t length);       /* or -1 */
int32_t fl_vocab_find_model(const fl_vocab *vocab, const char *text, size_t length); /* or -1 */

typedef struct fl_merge {
    int32_t left, right; /* ids; left = -1: empty slot */
    uint32_t rank;       /* smaller ones go first */
    int32_t id;          /* of the joined token */
} fl_merge;

typedef struct fl_merges {
    fl_merge *slots; /* [mask + 1] */
    size_t mask;
} fl_merges;

fl_status fl_merges_init(fl_merges *merges, fl_arena *arena, size_t count);
/* A pair that is put again gets the new rank. */
void fl_merges_put(fl_merges *merges, fl_merge merge);

static inline size_t fl_merge_slot(const fl_merges *merges, int32_t left, int32_t right)
{
    // Multiplicative hashing (Knuth, TAOCP 3, 6.4) of the pair; the high bits are the mixed ones.
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & merges->mask;
}

/* NULL when this pair is not joined. */
static inline const fl_merge *fl_merges_find(const fl_merges *merges, int32_t left, int32_t right)
{
    size_t slot = fl_merge_slot(merges, left, right);
    for (;; slot = (slot + 1) & merges->mask) {
        const fl_merge *merge = &merges->slots[slot];
        if (merge->left == left && merge->right == right) return merge;
        if (merge->left < 0) return NULL;
    }
}

#endif
