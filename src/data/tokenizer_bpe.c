/* Byte-pair encoding of one word.
 *
 * The symbols are the bytes of the word (byte level), or its characters, those that the vocabulary
 * lacks as byte tokens.  Short words look for the best merge in a row; in long ones the possible
 * merges wait in a heap, so a word of n characters takes O(n log n).
 *
 * Llama's texts are one piece from start to end.  The piece is cut into words where no merge can
 * ever join the two neighbours (before most word-boundary marks, around digits), which changes no
 * result, since the merges of two words are independent.
 */
#include "data/alphabet.h"
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

#include <string.h>

enum { SHORT_WORD = 24 };

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
static fl_status merge_long(const fl_merges *merges, fl_encode_work *work)
{
    fl_symbol *const symbols = work->symbols;
    const int32_t count = (int32_t)work->num_symbols;
    work->heap_count = 0;
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
        // The pair may have changed since it was noted; one of equal rank is as good.
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
    work->num_symbols = 0;
    for (int32_t i = 0; i < count; i++)
        if (symbols[i].id >= 0) symbols[work->num_symbols++] = symbols[i];
    return FL_OK;
}

/* The same with all pairs in a row. */
static void merge_short(const fl_merges *merges, fl_encode_work *work)
{
    fl_symbol *const symbols = work->symbols;
    const fl_merge *pairs[SHORT_WORD]; // pairs[i]: of symbols i and i + 1, or NULL
    size_t count = work->num_symbols;
    for (size_t i = 0; i + 1 < count; i++)
        pairs[i] = fl_merges_find(merges, symbols[i].id, symbols[i + 1].id);
    for (;;) {
        size_t best = count;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < count; i++)
            if (pairs[i] && pairs[i]->rank < rank) {
                rank = pairs[i]->rank;
                best = i;
            }
        if (best == count) break;
        symbols[best].id = pairs[best]->id;
        symbols[best].span.end = symbols[best + 1].span.end;
        count--;
        for (size_t i = best + 1; i < count; i++) {
            symbols[i] = symbols[i + 1];
            pairs[i - 1] = pairs[i];
        }
        if (best > 0)
            pairs[best - 1] = fl_merges_find(merges, symbols[best - 1].id, symbols[best].id);
        if (best + 1 < count)
            pairs[best] = fl_merges_find(merges, symbols[best].id, symbols[best + 1].id);
    }
    work->num_symbols = count;
}

/* The id of the character at the start, -1 for none. */
static int32_t char_id(const fl_tokenizer *tokenizer, const char *text, size_t size)
{
    if (tokenizer->byte_level) return tokenizer->bytes[(unsigned char)text[0]];
    return size == 1 ? tokenizer->ascii[(unsigned char)text[0]]
                     : fl_vocab_find_model(&tokenizer->vocab, text, size);
}

static fl_status split_word(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word)
{
    bool after_unk = false;
    for (size_t at = 0; at < word.length;) {
        const char *text = word.text + at;
        const size_t size = tokenizer->byte_level ? 1 : fl_utf8_size(text[0]);
        const size_t begin = at;
        const int32_t id = char_id(tokenizer, text, size);
        at += size;
        if (id >= 0) {
            FL_TRY(fl_symbol_add(work, id, begin, at));
        } else if (tokenizer->byte_fallback) {
            for (size_t i = 0; i < size; i++)
                FL_TRY(fl_symbol_add(work, tokenizer->bytes[(unsigned char)text[i]], begin + i,
                                     begin + i + 1));
        } else if (after_unk && tokenizer->fuse_unk) {
            work->symbols[work->num_symbols - 1].span.end = (uint32_t)at;
        } else if (tokenizer->model_unk >= 0) {
            FL_TRY(fl_symbol_add(work, tokenizer->model_unk, begin, at));
        }
        if (id >= 0 || tokenizer->model_unk >= 0) after_unk = id < 0;
    }
    return FL_OK;
}

/* The token that is the whole word, or -1. */
static fl_status find_whole(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word,
                            int32_t *id)
{
    *id = -1;
    if (word.length > tokenizer->longest) return FL_OK;
    if (!tokenizer->byte_level) {
        *id = fl_vocab_find_model(&tokenizer->vocab, word.text, word.length);
        return FL_OK;
    }
    fl_buf_clear(&work->scratch);
    FL_TRY(fl_alphabet_write(&work->scratch, word.text, word.length));
    *id = fl_vocab_find_model(&tokenizer->vocab, work->scratch.data, work->scratch.length);
    return FL_OK;
}

fl_status fl_bpe_word(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word)
{
    if (tokenizer->ignore_merges) {
        int32_t id;
        FL_TRY(find_whole(tokenizer, work, word, &id));
        if (id >= 0) return fl_symbol_add(work, id, 0, word.length);
    }
    FL_TRY(split_word(tokenizer, work, word));
    if (work->num_symbols > SHORT_WORD) return merge_long(&tokenizer->merges, work);
    if (work->num_symbols > 1) merge_short(&tokenizer->merges, work);
    return FL_OK;
}

/* false only if no merge at all can ever join what ends in `left` with what starts with `right`.
 * Three bits per symbol say less than a table of pairs would, but they stay in the cache, and for
 * Llama they part the text at every space. */
static bool can_join(const fl_tokenizer *tokenizer, int32_t left, int32_t right)
{
    const uint8_t *joins = tokenizer->joins;
    if (left == right) return joins[left] & FL_JOINS_SELF;
    return (joins[left] & FL_JOINS_RIGHT) && (joins[right] & FL_JOINS_LEFT);
}

fl_status fl_bpe_cut(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                     fl_tokens *out)
{
    size_t begin = 0;
    int32_t last = -1; // symbol in front; -1: none
    bool after_unk = false;
    for (size_t at = 0; at < piece.length;) {
        const char *text = piece.text + at;
        const size_t size = fl_utf8_size(text[0]);
        const int32_t id = char_id(tokenizer, text, size);
        int32_t first = id, end = id;
        if (id < 0 && tokenizer->byte_fallback) {
            first = tokenizer->bytes[(unsigned char)text[0]];
            end = tokenizer->bytes[(unsigned char)text[size - 1]];
        } else if (id < 0) {
            first = end = tokenizer->model_unk;
        }
        const bool is_unk = id < 0 && !tokenizer->byte_fallback;
        // A character that vanishes parts nothing; unk tokens beside each other may become one.
        if (first >= 0 && last >= 0 && !(is_unk && after_unk) &&
            !can_join(tokenizer, last, first)) {
            FL_TRY(fl_word_encode(tokenizer, work, fl_slice_part(&piece, begin, at), out));
            begin = at;
        }
        if (end >= 0) {
            last = end;
            after_unk = is_unk;
        }
        at += size;
    }
    return fl_word_encode(tokenizer, work, fl_slice_part(&piece, begin, piece.length), out);
}
