/* The way of a text to ids; for the files tokenizer*.c only.
 *
 * Cut at the raw added tokens -> per piece: normalised copy with origins (tokenizer_text.c) -> cut
 * at the normalised added tokens -> Metaspace -> words -> merges (tokenizer_bpe.c) -> ids.
 */
#ifndef FL_DATA_TOKENIZER_ENCODE_H
#define FL_DATA_TOKENIZER_ENCODE_H

#include "data/tokenizer_impl.h"

/* Bytes [begin, end) of the text given to fl_tokenizer_encode. */
typedef struct fl_span {
    uint32_t begin, end;
} fl_span;

/* Normalised text, always valid UTF-8; span[i] is what byte i was made from, the same for all
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

typedef struct fl_symbol {
    int32_t id;
    int32_t prev, next; /* -1 at the ends */
    fl_span span;
} fl_symbol;

typedef struct fl_encode_work {
    fl_norm norm[4];    /* 0 and 1: normaliser; 2 and 3: Metaspace */
    fl_symbol *symbols; /* of one word */
    size_t num_symbols, symbol_capacity;
    uint64_t *heap; /* possible merges, smallest first: rank << 32 | symbol */
    size_t heap_count, heap_capacity;
} fl_encode_work;

/* tokenizer_text.c */

/* Copies text[begin, end) into `out` with invalid UTF-8 replaced, and applies the normaliser; the
 * result is *result, one of the work's buffers 0 and 1. */
fl_status fl_normalize(fl_encode_work *work, const fl_steps *steps, const char *text, size_t begin,
                       size_t end, const fl_norm **result);
fl_status fl_apply_step(fl_norm *out, const fl_slice *in, const fl_step *step);
fl_slice fl_slice_of(const fl_norm *norm, size_t begin, size_t end);
void fl_encode_work_destroy(fl_encode_work *work); /* accepts NULL */

typedef struct fl_added_match {
    size_t begin, end; /* bytes, with the white space that the token takes */
    int32_t id;
} fl_added_match;

/* The first added token that starts at or after `from`; false when there is none. */
bool fl_added_find(const fl_added_set *set, const char *text, size_t length, size_t from,
                   fl_added_match *out);
void fl_added_set_sort(fl_added_set *set); /* once items[count] is complete */

/* tokenizer_bpe.c */

/* Appends the tokens of one pre-tokenised piece. */
fl_status fl_bpe_encode(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice piece,
                        fl_tokens *out);
/* Fills joins and can_cut from the merges. */
fl_status fl_bpe_prepare(fl_tokenizer *tokenizer);
fl_status fl_tokens_add(fl_tokens *tokens, int32_t id, fl_span span);

#endif
