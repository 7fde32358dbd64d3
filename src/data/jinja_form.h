/* The form of a Jinja template: its tokens, free of everything that does not change what it writes.
 *
 * Gone are comments, white space inside tags, white space of the text that Jinja drops (with
 * trim_blocks and lstrip_blocks, as Transformers sets them, and the minus signs of tags), the kind
 * of quotes, and the difference between message['role'] and message.role, also for content.  Two
 * templates of one form write the same text.  Nothing is evaluated.
 */
#ifndef FL_DATA_JINJA_FORM_H
#define FL_DATA_JINJA_FORM_H

#include "base/mem.h"

typedef struct fl_jinja_token {
    enum {
        FL_JINJA_TAG,  /* "{{", "}}", "{%", "%}" */
        FL_JINJA_WORD, /* a name or a number */
        FL_JINJA_TEXT, /* a string, or text between tags */
        FL_JINJA_MARK  /* any other character */
    } kind;
    const char *text; /* closed by a zero byte */
} fl_jinja_token;

typedef struct fl_jinja_form {
    fl_jinja_token *tokens; /* [count] */
    size_t count, capacity;
    fl_arena *arena; /* owns the texts; borrowed */
} fl_jinja_form;

/* Texts live in the arena; fl_jinja_form_fini is due in any case.  Errors: FL_ERR_INPUT for what is
 * no Jinja (a tag or string without end), FL_ERR_UNSUPPORTED for escapes other than \n \t \\ \' \",
 * raw blocks and line statements; `path` begins the text. */
fl_status fl_jinja_form_read(fl_jinja_form *out, fl_arena *arena, const char *source, size_t length,
                             const char *path);
void fl_jinja_form_fini(fl_jinja_form *form);

/* A hash of the form (FNV-1a, 64 bits) in which the texts of these numbers, counted from 1, are
 * left out; 0 ends the list, NULL is none. */
uint64_t fl_jinja_form_hash(const fl_jinja_form *form, const unsigned char *left_out);
/* The text of this number, or NULL. */
const char *fl_jinja_form_text(const fl_jinja_form *form, size_t number);

#endif
