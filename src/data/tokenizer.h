/* Stage 3: text to token ids and back, with the tokenizer of a model folder.
 *
 * Reads tokenizer.json (BPE and Unigram), SentencePiece's tokenizer.model (BPE and unigram),
 * tiktoken's rank files and GPT-2's vocab.json + merges.txt, and gives the ids of Hugging Face's
 * `tokenizers` library: added tokens are cut out of the text, every piece between them is
 * normalised on its own, split by the pre-tokenizer and handed to the model.  docs/tokenizer.md
 * lists the parts that are handled.  Anything else in the file is an error when the file is opened,
 * never another result.  Its members truncation and padding are not used: example.c cuts, and
 * nothing is padded.
 *
 * Two rules of our own:
 * - Added tokens marked special, and the bos, eos, unk and pad tokens of tokenizer_config.json, are
 *   found in the text as it is, also where the file says "normalized": true.  (With a normaliser
 *   that prepends, that flag would keep "</s>" at the end of a text from becoming the eos id.)
 * - Bytes that are not UTF-8 read as U+FFFD, one for each longest invalid part, as Python's
 *   bytes.decode("utf-8", "replace") has it.
 *
 * An open tokenizer is constant and may be used by several threads, each with its own fl_tokens.
 *
 * Use: fl_tokenizer_open, fl_tokenizer_encode / fl_tokenizer_decode, fl_tokenizer_close.
 */
#ifndef FL_DATA_TOKENIZER_H
#define FL_DATA_TOKENIZER_H

#include "base/buf.h"

#include <stdint.h>

typedef struct fl_tokenizer fl_tokenizer;

/* Start with `fl_tokens tokens = {0};`, use for any number of texts, end with fl_tokens_fini. */
typedef struct fl_tokens {
    int32_t *ids; /* [count] */
    int64_t
        *begin;   /* [count] bytes of the text that the token covers: [begin, end), always whole */
    int64_t *end; /* characters; 0, 0 for bos and eos put around the text */
    size_t count;
    size_t capacity;
    struct fl_encode_work *work; /* scratch of the encoder, kept between calls */
} fl_tokens;

void fl_tokens_fini(fl_tokens *tokens);

/* `path` is a file or a folder.  Of a folder the first of these is read: tokenizer.json,
 * tokenizer.model (SentencePiece or tiktoken, by its content), the one *.tiktoken, vocab.json with
 * merges.txt; and tokenizer_config.json beside it, where present.  Errors name file and place:
 * FL_ERR_IO, FL_ERR_INPUT (content that contradicts itself), FL_ERR_UNSUPPORTED (a kind of
 * tokenizer or a part of it that is not handled). */
fl_status fl_tokenizer_open(fl_tokenizer **out, const char *path);
/* The same for the content of one file; `path` is its name, for errors and for what the name tells
 * ("tokenizer.json", "tokenizer.model").  Nothing beside it is read. */
fl_status fl_tokenizer_open_memory(fl_tokenizer **out, const char *data, size_t length,
                                   const char *path);
void fl_tokenizer_close(fl_tokenizer *tokenizer); /* accepts NULL */

/* Replaces the content of `out` by the tokens of the text.  add_special: with the tokens that the
 * file puts around a text (Llama: bos in front).  Time O(n log n), texts below 1 GiB.  The covered
 * bytes never step back from token to token; the word-boundary piece in front of a text covers the
 * first character too.  Errors: FL_ERR_MEMORY, FL_ERR_INPUT (too
 * long, or a pattern of the file that does not come to an end). */
fl_status fl_tokenizer_encode(const fl_tokenizer *tokenizer, const char *text, size_t length,
                              bool add_special, fl_tokens *out);

/* Appends the text of the ids.  Ids outside the vocabulary give nothing; skip_special leaves out
 * special tokens.  Byte tokens that do not form UTF-8 give U+FFFD each.  Errors: FL_ERR_MEMORY. */
fl_status fl_tokenizer_decode(const fl_tokenizer *tokenizer, const int32_t *ids, size_t count,
                              bool skip_special, fl_buf *out);

/* The same token by token, for text that is shown while it is generated.  Every call appends the
 * characters that are complete; the beginning of one waits for the next token.  All that is
 * appended is what fl_tokenizer_decode gives for all ids, with one exception: a run of byte tokens
 * (<0xNN>) that breaks off in a character does not take back the characters before the break.
 * Borrows the tokenizer.  Errors: FL_ERR_MEMORY, FL_ERR_UNSUPPORTED (a decoder that strips the end
 * of the text). */
typedef struct fl_decode_stream fl_decode_stream;
fl_status fl_decode_stream_create(fl_decode_stream **out, const fl_tokenizer *tokenizer,
                                  bool skip_special);
fl_status fl_decode_stream_add(fl_decode_stream *stream, int32_t id, fl_buf *out);
/* Appends U+FFFD for what still waits; the stream is then ready for another text. */
fl_status fl_decode_stream_finish(fl_decode_stream *stream, fl_buf *out);
void fl_decode_stream_destroy(fl_decode_stream *stream); /* accepts NULL */

typedef enum fl_special_kind {
    FL_SPECIAL_BOS,
    FL_SPECIAL_EOS,
    FL_SPECIAL_UNK,
    FL_SPECIAL_PAD, /* the unk token where the files name no pad token */
    FL_NUM_SPECIALS
} fl_special_kind;

int32_t fl_tokenizer_special_id(const fl_tokenizer *tokenizer, fl_special_kind kind); /* or -1 */
/* Owned by the tokenizer; NULL when there is none. */
const char *fl_tokenizer_special_text(const fl_tokenizer *tokenizer, fl_special_kind kind);

/* Largest id + 1, added tokens included; a model's embedding must have at least as many rows. */
int32_t fl_tokenizer_vocab_size(const fl_tokenizer *tokenizer);
/* The token's entry in the vocabulary ("▁the", "<0x0A>"), owned by the tokenizer, or NULL. */
const char *fl_tokenizer_token(const fl_tokenizer *tokenizer, int32_t id);

#endif
