/* Stage 2: the text of a record.
 *
 * A template is fixed text around the instruction and the response; what stands in the data is
 * copied as it is (braces mean nothing).  The response key is the piece of fixed text after which
 * the response starts: the loss counts what follows it.
 */
#ifndef FL_DATA_TEMPLATE_H
#define FL_DATA_TEMPLATE_H

#include "base/buf.h"

/* Text = before + instruction + between + response + eos. */
typedef struct fl_template {
    const char *name;
    const char *before;
    const char *between;
    const char *response_key;
} fl_template;

/* The words of a configuration row. */
#define FL_TEMPLATE_NAMES "alpaca|vicuna"

/* A constant, or NULL when no template has this name. */
const fl_template *fl_template_find(const char *name);
const char *fl_template_names(void); /* FL_TEMPLATE_NAMES */

/* Appends the text of a record.  eos_text is the tokenizer's eos token as text, "" for none.
 * Errors: FL_ERR_MEMORY. */
fl_status fl_template_render(fl_buf *out, const fl_template *template, const char *instruction,
                             size_t instruction_length, const char *response,
                             size_t response_length, const char *eos_text);

/* Appends the text that a model continues: everything up to and with the response key, that is the
 * text of an empty response without its final space (the model's first word brings its own).
 * Errors: FL_ERR_MEMORY. */
fl_status fl_template_render_prompt(fl_buf *out, const fl_template *template,
                                    const char *instruction, size_t instruction_length);

#endif
