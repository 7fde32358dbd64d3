/* Reading of tokenizer files; for the files tokenizer_load*.c only. */
#ifndef FL_DATA_TOKENIZER_LOAD_H
#define FL_DATA_TOKENIZER_LOAD_H

#include "base/json.h"
#include "data/tokenizer_encode.h"

enum {
    FL_MAX_VOCAB = 1 << 22, /* ids above are taken for a damaged file */
    FL_MAX_TOKEN = 1024     /* bytes of a token of a rank file or SentencePiece model */
};

/* GPT-2's pattern, which ByteLevel has where the file gives no other. */
#define FL_PATTERN_GPT2 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* Files of other kinds than tokenizer.json.  `data` is the file's content, `path` its name for
 * errors.  All: FL_ERR_INPUT, FL_ERR_UNSUPPORTED, FL_ERR_MEMORY. */
bool fl_is_tiktoken(const char *data, size_t length); /* by the first line */
fl_status fl_load_tiktoken(fl_tokenizer *tokenizer, const char *data, size_t length,
                           const char *path);
fl_status fl_load_sentencepiece(fl_tokenizer *tokenizer, const char *data, size_t length,
                                const char *path);
/* vocab.json (`vocab`, its root) and the text of merges.txt, at `path`. */
fl_status fl_load_gpt2(fl_tokenizer *tokenizer, const json_t *vocab, const char *merges,
                       const char *path);

/* The parts of a tokenizer.json; `root` is the file's content. */

/* vocabulary, merges or scores, and the options of the model. */
fl_status fl_load_model(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_normalizer(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_pre_tokenizer(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_decoder(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_post_processor(fl_tokenizer *tokenizer, const json_t *root, const char *path);
/* The added tokens, which need the model and the normalizer. */
fl_status fl_load_added(fl_tokenizer *tokenizer, const json_t *root, const char *path);

/* What the readers share. */

/* Checks that the id is free, then puts the token. */
fl_status fl_load_token(fl_tokenizer *tokenizer, int64_t id, const char *text, bool in_model,
                        const char *path);
/* Vocabulary {"text": id} of a file, with room for `added` (may be NULL). */
fl_status fl_load_vocab(fl_tokenizer *tokenizer, const json_t *vocab, const json_t *added,
                        const char *path);
/* Ids of two parts and of what they join to; false when one of the three is no token, or when
 * *status has become an error. */
bool fl_load_find_merge(const fl_vocab *vocab, fl_piece left, fl_piece right, fl_buf *scratch,
                        fl_merge *merge, fl_status *status);
/* Merges of a vocabulary without a list of them: any two tokens that join to a token do, with its
 * rank.  ranks: [vocab.size], UINT32_MAX where nothing joins to the token. */
fl_status fl_imply_merges(fl_tokenizer *tokenizer, const uint32_t *ranks);
/* Finds <0x00> to <0xFF> and switches byte fallback on. */
fl_status fl_load_byte_tokens(fl_tokenizer *tokenizer, const char *path);
fl_status fl_unigram_init(fl_tokenizer *tokenizer); /* once the vocabulary has its size */
/* A piece of the vocabulary takes part with this score. */
fl_status fl_unigram_put(fl_tokenizer *tokenizer, int32_t id, double score, const char *path);

fl_status fl_load_piece(fl_tokenizer *tokenizer, fl_piece *out, const json_t *object,
                        const char *key, const char *path);
fl_status fl_load_scheme(fl_prepend_scheme *out, const json_t *object, const char *path);
fl_status fl_add_regex(fl_tokenizer *tokenizer, const fl_regex **out, const char *pattern,
                       const char *path);
fl_status fl_add_split(fl_tokenizer *tokenizer, const char *pattern, fl_split_kind split,
                       bool invert, const char *path);
fl_status fl_not_supported(const char *path, const char *part, const char *type);

/* Room for `count` added tokens, and for those of tokenizer_config.json. */
fl_status fl_added_sets_init(fl_tokenizer *tokenizer, size_t count);
/* Adds a token to the raw set and makes it special. */
void fl_add_special(fl_tokenizer *tokenizer, int32_t id);
/* Adds a token that is looked for in the normalised text as it is. */
void fl_add_normal(fl_tokenizer *tokenizer, int32_t id);

#endif
