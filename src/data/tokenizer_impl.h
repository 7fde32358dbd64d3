/* Inside of the tokenizer; for the files tokenizer*.c and vocab.c only.
 *
 * A text goes through: cut at the raw added tokens -> per piece: normalised copy with origins
 * (tokenizer_text.c) -> cut at the normalised added tokens -> Metaspace -> words -> merges
 * (tokenizer_bpe.c) -> ids.
 */
#ifndef FL_DATA_TOKENIZER_IMPL_H
#define FL_DATA_TOKENIZER_IMPL_H

#include "base/mem.h"
#include "data/tokenizer.h"
#include "data/vocab.h"

/* A short text; owned by the tokenizer's arena. */
typedef struct fl_piece {
    const char *text;
    size_t length; /* bytes */
} fl_piece;

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

/* One step of the normaliser or of the decoder. */
typedef enum fl_step_kind {
    FL_STEP_PREPEND,       /* content in front of a text that is not empty */
    FL_STEP_REPLACE,       /* every pattern by content */
    FL_STEP_BYTE_FALLBACK, /* decoder only, as are those below */
    FL_STEP_FUSE,
    FL_STEP_STRIP /* content, one character, up to `start` and `stop` times at the ends */
} fl_step_kind;

typedef struct fl_step {
    fl_step_kind kind;
    fl_piece pattern, content;
    int64_t start, stop;
} fl_step;

enum { FL_MAX_STEPS = 16 };
typedef struct fl_steps {
    fl_step step[FL_MAX_STEPS];
    size_t count;
} fl_steps;

typedef enum fl_prepend_scheme {
    FL_PREPEND_NEVER,
    FL_PREPEND_FIRST,
    FL_PREPEND_ALWAYS
} fl_prepend_scheme;

/* The pre-tokenizer Metaspace. */
typedef struct fl_metaspace {
    bool is_used, split;
    fl_prepend_scheme scheme;
    fl_step replace; /* " " by the replacement character */
} fl_metaspace;

/* An added token as it is looked for in a text. */
typedef struct fl_added {
    fl_piece text;
    int32_t id;
    bool lstrip, rstrip;
} fl_added;

/* Sorted by first byte, longest first; those that start with byte b are
 * [start[b], start[b + 1]). */
typedef struct fl_added_set {
    fl_added *items;
    size_t count;
    uint32_t start[257];
} fl_added_set;

enum { FL_MAX_AROUND = 8 };
typedef struct fl_around {
    int32_t ids[FL_MAX_AROUND];
    size_t count;
} fl_around;

struct fl_tokenizer {
    fl_arena *arena; /* owns all that follows */
    fl_vocab vocab;
    fl_merges merges;
    uint8_t *joins;     /* [vocab.size] FL_JOINS_* */
    bool can_cut;       /* joins may be used */
    int32_t ascii[128]; /* id of the character, -1 for none */
    int32_t bytes[256]; /* ids of the byte tokens */
    bool byte_fallback;
    bool fuse_unk, ignore_merges;
    int32_t model_unk;   /* for characters that nothing else covers; -1: they vanish */
    fl_added_set raw;    /* looked for before normalisation */
    fl_added_set normal; /* looked for after it */
    fl_steps normalizer;
    fl_metaspace metaspace;
    fl_around before, after; /* put around a text */
    bool has_decoder;
    fl_steps decoder;
    int32_t special[FL_NUM_SPECIALS];
};

/* May a merge join a symbol, at its end or start, with a neighbour?  Symbols that are characters.
 */
enum {
    FL_JOINS_RIGHT = 1, /* with another character after it */
    FL_JOINS_LEFT = 2,  /* with another character before it */
    FL_JOINS_SELF = 4,  /* with the same character */
    FL_JOINS_LONG = 8   /* the symbol is not one character */
};

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
