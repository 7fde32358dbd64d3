/* What an open tokenizer holds; for the files tokenizer*.c only. */
#ifndef FL_DATA_TOKENIZER_IMPL_H
#define FL_DATA_TOKENIZER_IMPL_H

#include "base/mem.h"
#include "data/charsmap.h"
#include "data/regex.h"
#include "data/tokenizer.h"
#include "data/trie.h"
#include "data/vocab.h"

/* A short text; owned by the tokenizer's arena. */
typedef struct fl_piece {
    const char *text;
    size_t length; /* bytes */
} fl_piece;

/* One step of the normaliser or of the decoder. */
typedef enum fl_step_kind {
    FL_STEP_REPLACE,       /* every pattern by content */
    FL_STEP_PREPEND,       /* normaliser only: content in front of a text that is not empty */
    FL_STEP_REPLACE_REGEX, /* every match by content */
    FL_STEP_NFC,           /* Unicode's normal forms (UAX #15) */
    FL_STEP_NFD,
    FL_STEP_NFKC,
    FL_STEP_NFKD,
    FL_STEP_LOWERCASE,
    FL_STEP_CHARSMAP,      /* SentencePiece's map of characters, in `map` */
    FL_STEP_TRIM,          /* white space at the start if `start`, at the end if `stop` */
    FL_STEP_BYTE_FALLBACK, /* decoder only, as are those below */
    FL_STEP_BYTE_LEVEL,
    FL_STEP_METASPACE, /* pattern by " ", in the first piece by nothing if `start` */
    FL_STEP_FUSE,
    FL_STEP_STRIP /* content, one character, up to `start` and `stop` times at the ends */
} fl_step_kind;

typedef struct fl_step {
    fl_step_kind kind;
    fl_piece pattern, content;
    int64_t start, stop;
    const fl_regex *regex; /* REPLACE_REGEX; owned by the tokenizer's list */
    fl_charsmap map;       /* CHARSMAP; `start`: by clusters, as Hugging Face applies it */
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

/* What becomes of the matches of a Split, and of the text between them. */
typedef enum fl_split_kind {
    FL_SPLIT_REMOVED,
    FL_SPLIT_ISOLATED,
    FL_SPLIT_MERGED_WITH_PREVIOUS,
    FL_SPLIT_MERGED_WITH_NEXT,
    FL_SPLIT_CONTIGUOUS
} fl_split_kind;

/* One step of the pre-tokenizer: cuts pieces in pieces by a pattern, or marks the word boundaries
 * (Metaspace; ByteLevel's add_prefix_space, with " " for " "). */
typedef struct fl_pre_step {
    const fl_regex *regex; /* NULL: marks */
    fl_split_kind split;
    bool invert; /* the pattern matches what is between the matches */
    fl_prepend_scheme scheme;
    fl_step mark; /* " " by the replacement character */
} fl_pre_step;

typedef struct fl_pre_steps {
    fl_pre_step step[FL_MAX_STEPS];
    size_t count;
} fl_pre_steps;

/* An added token as it is looked for in a text. */
typedef struct fl_added {
    fl_piece text;
    int32_t id;
    bool lstrip, rstrip, single_word;
} fl_added;

typedef struct fl_added_set {
    fl_added *items;
    size_t count;
    fl_trie trie; /* their texts; values are indices of items */
    bool starts[256];
} fl_added_set;

enum { FL_MAX_AROUND = 8, FL_MAX_REGEXES = 32 };
typedef struct fl_around {
    int32_t ids[FL_MAX_AROUND];
    size_t count;
} fl_around;

typedef enum fl_model_kind { FL_MODEL_BPE, FL_MODEL_UNIGRAM } fl_model_kind;

struct fl_tokenizer {
    fl_arena *arena; /* owns all that follows, except tries and regexes */
    uint64_t serial; /* no two tokenizers of a process have the same */
    fl_vocab vocab;
    fl_model_kind model;

    /* BPE */
    fl_merges merges;
    uint8_t *joins; /* [vocab.size] FL_JOINS_* */
    bool can_cut;   /* joins may be used */
    bool ignore_merges;
    bool byte_level;    /* symbols are bytes, whose tokens are in `bytes` */
    int32_t ascii[128]; /* id of the character, -1 for none */
    size_t longest;     /* bytes of the longest token of the model */

    /* Unigram (Kudo 2018): the pieces with the largest sum of scores. */
    fl_trie pieces;   /* values are ids */
    double *scores;   /* [vocab.size] */
    double unk_score; /* of one character that no piece of its length covers */
    bool is_float;    /* sums in single precision, as SentencePiece has them */

    int32_t bytes[256]; /* ids of the byte tokens */
    bool byte_fallback, fuse_unk;
    int32_t model_unk;   /* for characters that nothing else covers; -1: they vanish */
    fl_added_set raw;    /* looked for before normalisation */
    fl_added_set normal; /* looked for after it */
    fl_steps normalizer;
    fl_pre_steps pre;
    fl_around before, after; /* put around a text */
    bool has_decoder;
    fl_steps decoder;
    fl_regex *regexes[FL_MAX_REGEXES];
    size_t num_regexes;
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
