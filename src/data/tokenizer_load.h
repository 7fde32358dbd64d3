/* Reading of tokenizer.json and tokenizer_config.json; for the files tokenizer_load*.c only. */
#ifndef FL_DATA_TOKENIZER_LOAD_H
#define FL_DATA_TOKENIZER_LOAD_H

#include "base/json.h"
#include "data/tokenizer_encode.h"

enum { FL_MAX_VOCAB = 1 << 22 }; /* ids above are taken for a damaged file */

/* `root` is the file's content, `path` its name for errors.  All: FL_ERR_INPUT,
 * FL_ERR_UNSUPPORTED, FL_ERR_MEMORY. */

/* vocab, merges and the options of the model; then the added tokens, which need them. */
fl_status fl_load_model(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_added(fl_tokenizer *tokenizer, const json_t *root, const char *path);

/* normalizer, pre_tokenizer, decoder, post_processor. */
fl_status fl_load_normalizer(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_pre_tokenizer(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_decoder(fl_tokenizer *tokenizer, const json_t *root, const char *path);
fl_status fl_load_post_processor(fl_tokenizer *tokenizer, const json_t *root, const char *path);

/* Adds a token to the raw set and makes it special. */
void fl_add_special(fl_tokenizer *tokenizer, int32_t id);

#endif
