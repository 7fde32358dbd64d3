/* The chat template that comes with a model: chat_template.jinja of its folder, or chat_template of
 * tokenizer_config.json (a text, or a list of named ones of which "default" counts).
 *
 * It is a program in Jinja, which nobody here runs.  Its form (jinja_form.h) is looked up among
 * those of published models (chat_template_table.c), whose text we know how to write; a template
 * that differs in anything that could change the text is an error, never another text.  Role
 * markers and default system texts that models with one form set differently are taken from the
 * template. What a template does with tools and with several parts of a message is not needed here.
 */
#ifndef FL_DATA_CHAT_TEMPLATE_H
#define FL_DATA_CHAT_TEMPLATE_H

#include "base/mem.h"
#include "data/conversation.h"
#include "data/tokenizer.h"

/* Does the folder have one?  Reading it may still fail. */
bool fl_chat_template_exists(const char *model_dir);

/* *out = the model's own format; its texts live in the arena.  Errors name file and fault:
 * FL_ERR_IO, FL_ERR_INPUT (malformed), FL_ERR_UNSUPPORTED (none there, or of no known form). */
fl_status fl_chat_template_load(fl_conversation *out, fl_arena *arena,
                                const fl_tokenizer *tokenizer, const char *model_dir);

/* The same from the template's source.  bos, eos: texts of these tokens, "" for none; `path` begins
 * errors. */
fl_status fl_chat_template_read(fl_conversation *out, fl_arena *arena, const char *source,
                                size_t length, const char *bos, const char *eos, const char *path);

#endif
