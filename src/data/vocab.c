#include "data/vocab.h"

#include <string.h>

/* The smallest power of two that leaves half of the slots empty. */
static size_t slots_for(size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    return slots;
}

fl_status fl_vocab_init(fl_vocab *vocab, fl_arena *arena, int32_t size, size_t count)
{
    const size_t slots = slots_for(count);
    FL_TRY(fl_arena_alloc(arena, &vocab->entries, (size_t)size, sizeof *vocab->entries));
    FL_TRY(fl_arena_alloc(arena, &vocab->slots, slots, sizeof *vocab->slots));
    vocab->size = size;
    vocab->mask = slots - 1;
    return FL_OK;
}

/* FNV-1a, 64 bits, folded: tokens are a few bytes long, where it is as fast as any. */
static size_t hash_text(const char *text, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash ^ hash >> 32);
}

/* The slot of this text, or the empty one where it belongs. */
static size_t find_slot(const fl_vocab *vocab, const char *text, size_t length)
{
    size_t slot = hash_text(text, length) & vocab->mask;
    for (; vocab->slots[slot] != 0; slot = (slot + 1) & vocab->mask) {
        const fl_vocab_entry *entry = &vocab->entries[vocab->slots[slot] - 1];
        if (entry->length == length && memcmp(entry->text, text, length) == 0) break;
    }
    return slot;
}

fl_status fl_vocab_put(fl_vocab *vocab, fl_arena *arena, int32_t id, const char *text,
                       size_t length, bool in_model)
{
    char *copy;
    FL_TRY(fl_arena_text(arena, &copy, text, length));
    FL_ASSERT(id >= 0 && id < vocab->size && !vocab->entries[id].text);
    const size_t slot = find_slot(vocab, text, length);
    FL_ASSERT(vocab->slots[slot] == 0);
    vocab->entries[id] =
        (fl_vocab_entry){.text = copy, .length = (uint32_t)length, .in_model = in_model};
    vocab->slots[slot] = (uint32_t)id + 1;
    return FL_OK;
}

void fl_vocab_trim(fl_vocab *vocab)
{
    while (vocab->size > 0 && !vocab->entries[vocab->size - 1].text)
        vocab->size--;
}

int32_t fl_vocab_find(const fl_vocab *vocab, const char *text, size_t length)
{
    return (int32_t)vocab->slots[find_slot(vocab, text, length)] - 1;
}

int32_t fl_vocab_find_model(const fl_vocab *vocab, const char *text, size_t length)
{
    const int32_t id = fl_vocab_find(vocab, text, length);
    return id >= 0 && vocab->entries[id].in_model ? id : -1;
}

fl_status fl_merges_init(fl_merges *merges, fl_arena *arena, size_t count)
{
    const size_t slots = slots_for(count);
    FL_TRY(fl_arena_alloc(arena, &merges->slots, slots, sizeof *merges->slots));
    merges->mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        merges->slots[i].left = -1;
    return FL_OK;
}

/* Ranks of a pair that is listed twice: the last one counts, as in Hugging Face's map. */
void fl_merges_put(fl_merges *merges, fl_merge merge)
{
    size_t slot = fl_merge_slot(merges, merge.left, merge.right);
    while (merges->slots[slot].left >= 0 &&
           (merges->slots[slot].left != merge.left || merges->slots[slot].right != merge.right))
        slot = (slot + 1) & merges->mask;
    merges->slots[slot] = merge;
}
