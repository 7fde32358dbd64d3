/* The way of a text to ids; for the files tokenizer*.c only.
 *
 * Cut at the raw added tokens (tokenizer_added.c) -> per piece: normalised copy with origins
 * (tokenizer_text.c, tokenizer_unicode.c) -> cut at the normalised added tokens -> pre-tokenizer
 * (tokenizer_split.c) -> words, many of which are remembered (tokenizer_word.c) -> the model
 * (tokenizer_bpe.c, tokenizer_unigram.c) -> ids.
 */
#ifndef FL_DATA_TOKENIZER_ENCODE_H
#define FL_DATA_TOKENIZER_ENCODE_H

#include "data/tokenizer_impl.h"
#include "data/turn.h"

/* Spans are mostly of the text given to fl_tokenizer_encode.
 *
 * Normalised text, always valid UTF-8; span[i] is what byte i was made from, the same for all
 * bytes of a character. */
typedef struct fl_norm {
    char *text;
    fl_span *span;
    size_t length;
    size_t text_capacity, span_capacity;
} fl_norm;

/* A borrowed part of an fl_norm. */
typedef struct fl_slice {
    const char *text;
    const fl_span *span;
    size_t length;
} fl_slice;

/* Pieces of an fl_norm, from left to right. */
typedef struct fl_parts {
    fl_span *items;
    size_t count, capacity;
} fl_parts;

typedef struct fl_symbol {
    int32_t id;         /* -1: joined with the one before it */
    int32_t prev, next; /* -1 at the ends */
    fl_span span;       /* bytes of the word */
} fl_symbol;

/* The last position of the best way to a byte of a word (Unigram). */
typedef struct fl_way {
    double score;
    uint32_t begin; /* of the last piece */
    int32_t id;     /* of the last piece; -1: no way yet */
} fl_way;

typedef struct fl_encode_work {
    fl_norm norm[4];    /* 0 and 1: normaliser; 2 and 3: marks of the pre-tokenizer */
    fl_parts parts[2];  /* of the pre-tokenizer */
    fl_symbol *symbols; /* the tokens of one word */
    size_t num_symbols, symbol_capacity;
    uint64_t *heap; /* possible merges, smallest first: rank << 32 | symbol */
    size_t heap_count, heap_capacity;
    fl_way *ways; /* [bytes of the word + 1] */
    size_t way_capacity;
    int32_t *points, *sorted; /* code points of a stretch that is normalised, and a copy */
    size_t num_points, point_capacity, sorted_capacity;
    fl_buf scratch;
    fl_regex_work *regex;
    struct fl_word_cache *cache;
} fl_encode_work;

fl_status fl_encode_work_create(fl_encode_work **out);
void fl_encode_work_destroy(fl_encode_work *work); /* accepts NULL */

/* tokenizer_text.c */

/* Copies text[begin, end) into `out` with invalid UTF-8 replaced, and applies the normaliser; the
 * result is *result, one of the work's buffers 0 and 1. */
fl_status fl_normalize(fl_encode_work *work, const fl_steps *steps, const char *text, size_t begin,
                       size_t end, const fl_norm **result);
fl_status fl_apply_step(fl_encode_work *work, fl_norm *out, const fl_slice *in,
                        const fl_step *step);
fl_slice fl_slice_of(const fl_norm *norm, size_t begin, size_t end);
fl_slice fl_slice_part(const fl_slice *slice, size_t begin, size_t end);
/* Appends bytes that were all made from the same part of the original text. */
fl_status fl_norm_add(fl_norm *norm, const char *text, size_t length, fl_span span);
fl_status fl_norm_add_slice(fl_norm *norm, const fl_slice *in, size_t begin, size_t end);

/* tokenizer_unicode.c: normal forms and lower case. */
fl_status fl_apply_unicode(fl_encode_work *work, fl_norm *out, const fl_slice *in,
                           const fl_step *step);

/* tokenizer_added.c */

typedef struct fl_added_match {
    size_t begin, end; /* bytes, with the white space that the token takes */
    int32_t id;
} fl_added_match;

/* The first added token that starts at or after `from`; false when there is none. */
bool fl_added_find(const fl_added_set *set, const char *text, size_t length, size_t from,
                   fl_added_match *out);
fl_status fl_added_set_prepare(fl_added_set *set); /* once items[count] is complete */
void fl_added_set_fini(fl_added_set *set);

/* tokenizer_split.c: the pieces that the model sees, work->parts[*parts] of *text. */
fl_status fl_pre_tokenize(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice *text,
                          const fl_parts **parts);

/* tokenizer_word.c */

/* Appends the tokens of one pre-tokenised piece. */
fl_status fl_piece_encode(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                          fl_tokens *out);
fl_status fl_word_encode(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word,
                         fl_tokens *out);
fl_status fl_tokens_add(fl_tokens *tokens, int32_t id, fl_span span);
fl_status fl_symbol_add(fl_encode_work *work, int32_t id, size_t begin, size_t end);
void fl_word_cache_destroy(struct fl_word_cache *cache);

/* The models fill work->symbols, which is empty before. */
fl_status fl_bpe_word(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word);
fl_status fl_unigram_word(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word);

/* Cuts a piece into words that no merge joins, and encodes each. */
fl_status fl_bpe_cut(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                     fl_tokens *out);
/* Fills ascii, bytes (byte level), joins and can_cut from vocabulary and merges. */
fl_status fl_bpe_prepare(fl_tokenizer *tokenizer, const char *path);

#endif
