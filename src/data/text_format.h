/* What `template` in a configuration means: the text that records, prompts and conversations
 * become.
 *
 *     alpaca, vicuna    records of instruction and response in the reference's SFT templates;
 *                       conversations in FastChat's formats of these names
 *     another name      a format of conversation.h; a record of instruction and response is a
 *                       conversation of one turn
 *     custom            a format made of the texts in fl_custom_format
 *     chat              the chat template that comes with the model (chat_template.h)
 *
 * Where the tokenizer knows no token </s>, its eos token stands in the place of </s> in the
 * built-in formats: </s> is the eos of the models they were made for.
 */
#ifndef FL_DATA_TEXT_FORMAT_H
#define FL_DATA_TEXT_FORMAT_H

#include "base/conf.h"
#include "base/mem.h"
#include "data/conversation.h"
#include "data/dataset.h"
#include "data/template.h"
#include "data/tokenizer.h"

/* Texts with {} where what is said goes. */
typedef struct fl_custom_format {
    const char *start, *system, *system_text, *user, *assistant;
} fl_custom_format;

extern const fl_conf_row fl_custom_rows[]; /* of an fl_custom_format; group "chat" */
extern const size_t fl_custom_row_count;

enum { FL_MAX_STOPS = 32 };

typedef struct fl_text_format {
    const fl_template *template; /* NULL: records of instruction and response are conversations */
    fl_conversation conversation;

    /* what ends an answer in the conversation, besides the model's own eos tokens */
    const char *stops[FL_CONVERSATION_MAX_STOPS + 1];
    size_t num_stops;
    int32_t stop_ids[FL_MAX_STOPS];
    size_t num_stop_ids;

    const fl_tokenizer *tokenizer; /* borrowed */
    const char *eos, *bos;         /* the tokenizer's, "" for none */
    fl_arena *arena;               /* owns texts */
} fl_text_format;

/* Is the name one that fl_text_format_open knows?  Errors: FL_ERR_USAGE, with the nearest name or
 * where they are listed. */
fl_status fl_text_format_check(const char *name, const fl_custom_format *custom);

/* custom: read for "custom" only; model_dir: for "chat" only.  The tokenizer is borrowed.
 * fl_text_format_fini is due in any case.  Errors: FL_ERR_USAGE; for "chat" those of
 * fl_chat_template_load. */
fl_status fl_text_format_open(fl_text_format *out, const char *name, const fl_custom_format *custom,
                              const fl_tokenizer *tokenizer, const char *model_dir);
void fl_text_format_fini(fl_text_format *format);

/* Appends the text that a model continues to answer the instruction.
 * Errors: those of fl_conversation_render. */
fl_status fl_text_format_prompt(const fl_text_format *format, fl_buf *out, const char *instruction,
                                size_t length);
/* Is the text of a prompt to be encoded with the tokenizer's special tokens (bos)? */
bool fl_text_format_adds_special(const fl_text_format *format);
/* Does the answer to a prompt bring a space that is not part of it? */
bool fl_text_format_drops_space(const fl_text_format *format);

/* How many of the ids come before the first one that ends an answer. */
size_t fl_text_format_end(const fl_text_format *format, const int32_t *ids, size_t count);
/* How many bytes of the text come before the first stop string. */
size_t fl_text_format_cut(const fl_text_format *format, const char *text, size_t length);

#endif
