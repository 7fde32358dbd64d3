/* Merges of vocabularies that list none.
 *
 * tiktoken and SentencePiece look for the two neighbours whose joined text is the best token,
 * however its parts came about.  With a merge for every way to write a token as two tokens, all of
 * the token's rank, the merge loop for listed merges does the same. */
#include "data/tokenizer_load.h"
#include "data/utf8.h"

typedef struct merge_list {
    fl_merge *items;
    size_t count, capacity;
} merge_list;

/* All ways to write one token as two. */
static fl_status add_merges(merge_list *list, const fl_vocab *vocab, int32_t id, uint32_t rank)
{
    const fl_vocab_entry *entry = &vocab->entries[id];
    for (size_t at = fl_utf8_size(entry->text[0]); at < entry->length;
         at += fl_utf8_size(entry->text[at])) {
        const int32_t left = fl_vocab_find_model(vocab, entry->text, at);
        if (left < 0) continue;
        const int32_t right = fl_vocab_find_model(vocab, entry->text + at, entry->length - at);
        if (right < 0) continue;
        FL_TRY(fl_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items));
        list->items[list->count++] = (fl_merge){left, right, rank, id};
    }
    return FL_OK;
}

fl_status fl_imply_merges(fl_tokenizer *tokenizer, const uint32_t *ranks)
{
    merge_list list = {0};
    fl_status status = FL_OK;
    for (int32_t id = 0; id < tokenizer->vocab.size && status == FL_OK; id++)
        if (ranks[id] != UINT32_MAX && tokenizer->vocab.entries[id].length > 1)
            status = add_merges(&list, &tokenizer->vocab, id, ranks[id]);
    if (status == FL_OK) status = fl_merges_init(&tokenizer->merges, tokenizer->arena, list.count);
    for (size_t i = 0; i < list.count && status == FL_OK; i++)
        fl_merges_put(&tokenizer->merges, list.items[i]);
    fl_free(list.items);
    return status;
}
