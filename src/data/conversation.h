/* The text of a conversation in several turns, as FastChat's templates have it (the separator style
 * with a colon and two separators): system, then "USER: message " and "ASSISTANT: answer</s>" in
 * turn, ending in "ASSISTANT:" for the answer that is to come.
 */
#ifndef FL_DATA_CONVERSATION_H
#define FL_DATA_CONVERSATION_H

#include "base/buf.h"

typedef struct fl_conversation {
    const char *name;
    const char *system;
    const char *user, *assistant; /* roles */
    const char *separator;        /* after the system text and after a message; after an answer
                                     stands the tokenizer's eos token */
} fl_conversation;

/* A constant, or NULL when no conversation has this name; names are those of the templates. */
const fl_conversation *fl_conversation_find(const char *name);

/* Appends what stands between the previous answer (or the beginning, when `is_first`) and the next
 * answer: [system] user: message, assistant:  Errors: FL_ERR_MEMORY. */
fl_status fl_conversation_turn(fl_buf *out, const fl_conversation *conversation, bool is_first,
                               const char *message, size_t length);

#endif
