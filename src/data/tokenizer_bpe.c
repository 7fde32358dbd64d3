/* Byte-pair encoding of one piece of normalised text.
 *
 * Llama's texts are one piece from start to end.  The piece is cut into words where no merge can
 * ever join the two neighbours (before most word-boundary marks, around digits), which changes no
 * result, since the merges of two words are independent.  In a word the possible merges wait in a
 * heap, so a word of n characters takes O(n log n).
 */
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

fl_status fl_tokens_add(fl_tokens *tokens, int32_t id, fl_span span)
{
    if (tokens->count == tokens->capacity) {
        const size_t needed = tokens->count + 1;
        size_t ids = tokens->capacity, begin = tokens->capacity, end = tokens->capacity;
        FL_TRY(fl_grow(&tokens->ids, &ids, needed, sizeof *tokens->ids));
        FL_TRY(fl_grow(&tokens->begin, &begin, needed, sizeof *tokens->begin));
        FL_TRY(fl_grow(&tokens->end, &end, needed, sizeof *tokens->end));
        tokens->capacity = ids;
    }
    tokens->ids[tokens->count] = id;
    tokens->begin[tokens->count] = span.begin;
    tokens->end[tokens->count++] = span.end;
    return FL_OK;
}

/* The heap: smallest first, that is by rank and then from left to right. */

static fl_status heap_push(fl_encode_work *work, uint64_t item)
{
    FL_TRY(fl_grow(&work->heap, &work->heap_capacity, work->heap_count + 1, sizeof *work->heap));
    uint64_t *const heap = work->heap;
    size_t at = work->heap_count++;
    while (at > 0 && heap[(at - 1) / 2] > item) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
    return FL_OK;
}

static uint64_t heap_pop(fl_encode_work *work)
{
    uint64_t *const heap = work->heap;
    const uint64_t top = heap[0], last = heap[--work->heap_count];
    const size_t count = work->heap_count;
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* Notes that symbol `at` may be joined with the one after it.  Entries are never taken out of the
 * heap when a neighbour changes; they are checked when their turn comes. */
static fl_status propose(const fl_merges *merges, fl_encode_work *work, int32_t at)
{
    const fl_symbol *symbol = &work->symbols[at];
    if (symbol->next < 0) return FL_OK;
    const fl_merge *merge = fl_merges_find(merges, symbol->id, work->symbols[symbol->next].id);
    if (!merge) return FL_OK;
    return heap_push(work, (uint64_t)merge->rank << 32 | (uint32_t)at);
}

/* Joins the best pair until none is left.  A symbol that was joined to the one before it keeps its
 * place in the array with id -1. */
static fl_status merge_word(const fl_merges *merges, fl_encode_work *work)
{
    fl_symbol *const symbols = work->symbols;
    const int32_t count = (int32_t)work->num_symbols;
    for (int32_t i = 0; i < count; i++) {
        symbols[i].prev = i - 1;
        symbols[i].next = i + 1 < count ? i + 1 : -1;
    }
    for (int32_t i = 0; i < count - 1; i++)
        FL_TRY(propose(merges, work, i));
    while (work->heap_count > 0) {
        const uint64_t item = heap_pop(work);
        fl_symbol *const symbol = &symbols[(uint32_t)item];
        if (symbol->id < 0 || symbol->next < 0) continue;
        fl_symbol *const right = &symbols[symbol->next];
        // The pair may have changed since it was noted; a rank belongs to one pair only.
        const fl_merge *merge = fl_merges_find(merges, symbol->id, right->id);
        if (!merge || merge->rank != item >> 32) continue;
        symbol->id = merge->id;
        symbol->span.end = right->span.end;
        symbol->next = right->next;
        right->id = -1;
        const int32_t at = (int32_t)(uint32_t)item;
        if (symbol->next >= 0) symbols[symbol->next].prev = at;
        if (symbol->prev >= 0) FL_TRY(propose(merges, work, symbol->prev));
        FL_TRY(propose(merges, work, at));
    }
    return FL_OK;
}

static fl_status finish_word(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_tokens *out)
{
    if (work->num_symbols > 1) FL_TRY(merge_word(&tokenizer->merges, work));
    for (size_t i = 0; i < work->num_symbols; i++)
        if (work->symbols[i].id >= 0)
            FL_TRY(fl_tokens_add(out, work->symbols[i].id, work->symbols[i].span));
    work->num_symbols = 0;
    return FL_OK;
}

/* false only if no merge at all can ever join what ends in `left` with what starts with `right`.
 * Three bits per symbol say less than a table of pairs would, but they stay in the cache, and for
 * Llama they part the text at every space. */
static bool can_join(const fl_tokenizer *tokenizer, int32_t left, int32_t right)
{
    if (!tokenizer->can_cut) return true;
    const uint8_t *joins = tokenizer->joins;
    if (left == right) return joins[left] & FL_JOINS_SELF;
    return (joins[left] & FL_JOINS_RIGHT) && (joins[right] & FL_JOINS_LEFT);
}

static fl_status add_symbol(const fl_tokenizer *tokenizer, fl_encode_work *work, int32_t id,
                            fl_span span, fl_tokens *out)
{
    if (work->num_symbols > 0 && !can_join(tokenizer, work->symbols[work->num_symbols - 1].id, id))
        FL_TRY(finish_word(tokenizer, work, out));
    FL_TRY(fl_grow(&work->symbols, &work->symbol_capacity, work->num_symbols + 1,
                   sizeof *work->symbols));
    work->symbols[work->num_symbols++] = (fl_symbol){.id = id, .span = span};
    return FL_OK;
}

fl_status fl_bpe_encode(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                        fl_tokens *out)
{
    if (tokenizer->ignore_merges) {
        const int32_t id = fl_vocab_find_model(&tokenizer->vocab, piece.text, piece.length);
        const fl_span span = {piece.span[0].begin, piece.span[piece.length - 1].end};
        if (id >= 0) return fl_tokens_add(out, id, span);
    }
    bool after_unk = false;
    work->num_symbols = work->heap_count = 0;
    for (size_t at = 0; at < piece.length;) {
        const char *text = piece.text + at;
        const size_t size = fl_utf8_size(text[0]);
        const fl_span span = piece.span[at];
        const int32_t id = size == 1 ? tokenizer->ascii[(unsigned char)text[0]]
                                     : fl_vocab_find_model(&tokenizer->vocab, text, size);
        at += size;
        if (id >= 0) {
            FL_TRY(add_symbol(tokenizer, work, id, span, out));
        } else if (tokenizer->byte_fallback) {
            for (size_t i = 0; i < size; i++)
                FL_TRY(add_symbol(tokenizer, work, tokenizer->bytes[(unsigned char)text[i]], span,
                                  out));
        } else if (after_unk && tokenizer->fuse_unk) {
            work->symbols[work->num_symbols - 1].span.end = span.end;
        } else if (tokenizer->model_unk >= 0) {
            FL_TRY(add_symbol(tokenizer, work, tokenizer->model_unk, span, out));
        }
        if (id >= 0 || tokenizer->model_unk >= 0) after_unk = id < 0;
    }
    return finish_word(tokenizer, work, out);
}

/* The id of the first or last character of a token, -1 when that is no token itself. */
static int32_t edge_char(const fl_vocab *vocab, int32_t id, bool last)
{
    const fl_vocab_entry *entry = &vocab->entries[id];
    size_t begin = 0;
    if (last) {
        begin = entry->length - 1;
        while (begin > 0 && ((unsigned char)entry->text[begin] & 0xc0) == 0x80)
            begin--;
    }
    return fl_vocab_find_model(vocab, entry->text + begin, fl_utf8_size(entry->text[begin]));
}

/* Notes the symbols that are not one character: byte tokens and a long unk token. */
static void mark_long_symbols(fl_tokenizer *tokenizer)
{
    for (size_t i = 0; tokenizer->byte_fallback && i < 256; i++)
        tokenizer->joins[tokenizer->bytes[i]] |= FL_JOINS_LONG;
    if (tokenizer->model_unk < 0) return;
    const fl_vocab_entry *unk = &tokenizer->vocab.entries[tokenizer->model_unk];
    if (unk->length == 0 || unk->length != fl_utf8_size(unk->text[0]))
        tokenizer->joins[tokenizer->model_unk] |= FL_JOINS_LONG;
}

fl_status fl_bpe_prepare(fl_tokenizer *tokenizer)
{
    const fl_vocab *vocab = &tokenizer->vocab;
    FL_TRY(fl_arena_alloc(tokenizer->arena, &tokenizer->joins, (size_t)vocab->size, 1));
    for (int i = 0; i < 128; i++) {
        const char c = (char)i;
        tokenizer->ascii[i] = fl_vocab_find_model(vocab, &c, 1);
    }
    uint8_t *const joins = tokenizer->joins;
    mark_long_symbols(tokenizer);
    tokenizer->can_cut = true;
    for (size_t i = 0; i <= tokenizer->merges.mask; i++) {
        const fl_merge *merge = &tokenizer->merges.slots[i];
        if (merge->left < 0) continue;
        // The symbols of what such a merge gives are not the characters of its text.
        if ((joins[merge->left] | joins[merge->right]) & FL_JOINS_LONG) tokenizer->can_cut = false;
        const int32_t left = edge_char(vocab, merge->left, true);
        const int32_t right = edge_char(vocab, merge->right, false);
        if (left < 0 || right < 0) continue; // a token that is never built
        if (left == right) {
            joins[left] |= FL_JOINS_SELF;
        } else {
            joins[left] |= FL_JOINS_RIGHT;
            joins[right] |= FL_JOINS_LEFT;
        }
    }
    return FL_OK;
}
