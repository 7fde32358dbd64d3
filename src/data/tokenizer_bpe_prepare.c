/* Tables that byte-pair encoding needs beside vocabulary and merges. */
#include "data/alphabet.h"
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

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

static fl_status find_bytes(fl_tokenizer *tokenizer)
{
    fl_buf text = {0};
    fl_status status = FL_OK;
    for (int i = 0; i < 256 && status == FL_OK; i++) {
        const char byte = (char)i;
        fl_buf_clear(&text);
        status = fl_alphabet_write(&text, &byte, 1);
        if (status == FL_OK)
            tokenizer->bytes[i] = fl_vocab_find_model(&tokenizer->vocab, text.data, text.length);
    }
    fl_buf_fini(&text);
    return status;
}

static void mark_joins(fl_tokenizer *tokenizer)
{
    const fl_vocab *vocab = &tokenizer->vocab;
    uint8_t *const joins = tokenizer->joins;
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
}

fl_status fl_bpe_prepare(fl_tokenizer *tokenizer, const char *path)
{
    const fl_vocab *vocab = &tokenizer->vocab;
    for (int i = 0; i < 128; i++) {
        const char c = (char)i;
        tokenizer->ascii[i] = fl_vocab_find_model(vocab, &c, 1);
    }
    for (int32_t i = 0; i < vocab->size; i++)
        if (vocab->entries[i].in_model && vocab->entries[i].length > tokenizer->longest)
            tokenizer->longest = vocab->entries[i].length;
    if (tokenizer->byte_level) {
        FL_CHECK(!tokenizer->byte_fallback, FL_ERR_UNSUPPORTED,
                 "%s: byte_fallback together with ByteLevel is not supported", path);
        return find_bytes(tokenizer);
    }
    FL_TRY(fl_arena_alloc(tokenizer->arena, &tokenizer->joins, (size_t)vocab->size, 1));
    mark_long_symbols(tokenizer);
    mark_joins(tokenizer);
    return FL_OK;
}
