/* Words to tokens.  Text repeats itself: the tokens of short words are kept in a table, where each
 * word has one place, and the later one takes it. */
#include "data/tokenizer_encode.h"

#include <string.h>

enum { CACHE_SLOTS = 1 << 13, CACHE_BYTES = 23, CACHE_TOKENS = 6 };

typedef struct cached_word {
    uint64_t key[3]; /* the word's bytes and, in the last one, its length; all 0: empty */
    int32_t ids[CACHE_TOKENS];
    uint8_t begin[CACHE_TOKENS], end[CACHE_TOKENS]; /* bytes of the word */
    uint8_t count;
} cached_word;

struct fl_word_cache {
    uint64_t serial; /* of the tokenizer that filled it */
    cached_word words[CACHE_SLOTS];
};

void fl_word_cache_destroy(struct fl_word_cache *cache)
{
    fl_free(cache);
}

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

fl_status fl_symbol_add(fl_encode_work *work, int32_t id, size_t begin, size_t end)
{
    FL_TRY(fl_grow(&work->symbols, &work->symbol_capacity, work->num_symbols + 1,
                   sizeof *work->symbols));
    work->symbols[work->num_symbols++] =
        (fl_symbol){.id = id, .span = {(uint32_t)begin, (uint32_t)end}};
    return FL_OK;
}

/* The place of a word, emptied first where another tokenizer filled the table. */
static fl_status find_place(const fl_tokenizer *tokenizer, fl_encode_work *work,
                            const uint64_t *key, cached_word **out)
{
    if (!work->cache) FL_TRY(fl_alloc(&work->cache, 1, sizeof *work->cache));
    struct fl_word_cache *cache = work->cache;
    if (cache->serial != tokenizer->serial) {
        memset(cache->words, 0, sizeof cache->words);
        cache->serial = tokenizer->serial;
    }
    uint64_t hash = key[0] * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 29 ^ key[1]) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 32 ^ key[2]) * UINT64_C(0x94d049bb133111eb);
    *out = &cache->words[(hash >> 40) % CACHE_SLOTS];
    return FL_OK;
}

static fl_span covered(const fl_slice *word, size_t begin, size_t end)
{
    return (fl_span){word->span[begin].begin, word->span[end - 1].end};
}

static fl_status run_model(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word,
                           fl_tokens *out)
{
    work->num_symbols = 0;
    if (tokenizer->model == FL_MODEL_UNIGRAM)
        FL_TRY(fl_unigram_word(tokenizer, work, word));
    else
        FL_TRY(fl_bpe_word(tokenizer, work, word));
    for (size_t i = 0; i < work->num_symbols; i++) {
        const fl_symbol *symbol = &work->symbols[i];
        FL_TRY(
            fl_tokens_add(out, symbol->id, covered(&word, symbol->span.begin, symbol->span.end)));
    }
    return FL_OK;
}

static void remember(cached_word *place, const uint64_t *key, const fl_encode_work *work)
{
    if (work->num_symbols > CACHE_TOKENS) return;
    memcpy(place->key, key, sizeof place->key);
    place->count = (uint8_t)work->num_symbols;
    for (size_t i = 0; i < work->num_symbols; i++) {
        place->ids[i] = work->symbols[i].id;
        place->begin[i] = (uint8_t)work->symbols[i].span.begin;
        place->end[i] = (uint8_t)work->symbols[i].span.end;
    }
}

fl_status fl_word_encode(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word,
                         fl_tokens *out)
{
    if (word.length == 0) return FL_OK;
    if (word.length > CACHE_BYTES) return run_model(tokenizer, work, word, out);
    char bytes[CACHE_BYTES + 1] = {0};
    memcpy(bytes, word.text, word.length);
    bytes[CACHE_BYTES] = (char)word.length;
    uint64_t key[3];
    memcpy(key, bytes, sizeof key);
    cached_word *place;
    FL_TRY(find_place(tokenizer, work, key, &place));
    if (memcmp(place->key, key, sizeof key) != 0) {
        FL_TRY(run_model(tokenizer, work, word, out));
        remember(place, key, work);
        return FL_OK;
    }
    for (size_t i = 0; i < place->count; i++)
        FL_TRY(fl_tokens_add(out, place->ids[i], covered(&word, place->begin[i], place->end[i])));
    return FL_OK;
}

fl_status fl_piece_encode(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                          fl_tokens *out)
{
    const bool cuts = tokenizer->model == FL_MODEL_BPE && tokenizer->can_cut &&
                      !tokenizer->ignore_merges && !tokenizer->byte_level;
    return cuts ? fl_bpe_cut(tokenizer, work, piece, out)
                : fl_word_encode(tokenizer, work, piece, out);
}
