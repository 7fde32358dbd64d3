/* What an open tokenizer holds; for the files tokenizer*.c only. */
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

/* May a merge join what ends, or starts, with this character with its neighbour? */
enum {
    FL_JOINS_RIGHT = 1, /* with another character after it */
    FL_JOINS_LEFT = 2,  /* with another character before it */
    FL_JOINS_SELF = 4,  /* with the same character */
    FL_JOINS_LONG = 8   /* the symbol is not one character */
};

#endif
