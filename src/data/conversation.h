/* Conversation formats: the text around what is said in a conversation.
 *
 * A format says what stands before and after each turn.  The built-in ones are those of FastChat
 * (conversation_table.c); a model's own chat template (chat_template.h) and a user's texts
 * (text_format.h) give formats of the same kind, so one function writes them all.
 *
 * What stands around a turn depends on who speaks.  (FastChat goes by the number of the turn; that
 * is the same text where user and assistant alternate and the user begins.)
 */
#ifndef FL_DATA_CONVERSATION_H
#define FL_DATA_CONVERSATION_H

#include "base/buf.h"
#include "data/turn.h"

enum { FL_CONVERSATION_MAX_STOPS = 4 };

typedef struct fl_conversation {
    const char *name;
    const char *start;  /* in front of everything; NULL: nothing */
    const char *system; /* the system text, unless a system turn is given; NULL: none then */
    const char *before_system, *after_system;
    const char *user[2];    /* before and after the text */
    const char *answer[3];  /* before the text; behind it, what the model writes to end its answer;
                               what stands behind that */
    const char *open;       /* in front of the answer to come; answer[0] begins so */
    const char *finish;     /* behind a conversation that is not open; NULL: nothing */
    const fl_turn *example; /* [num_example] turns that always stand in front */
    size_t num_example;
    const char *stops[FL_CONVERSATION_MAX_STOPS]; /* texts that end an answer; NULL: no more */
    const int32_t *stop_ids; /* [num_stop_ids] tokens that do, of the one tokenizer that the format
                                was made for */
    size_t num_stop_ids;
    const char *rounds;   /* behind "[Round n]" in front of each user turn; NULL: no such mark */
    uint32_t first_round; /* the number of the first one */

    bool has_bos;     /* the text has bos itself, if wanted: encode without the tokenizer's own */
    bool skips_empty; /* an empty system text is none */
    bool system_in_user; /* the system text, with what stands around it, takes the place of user[0]
                            in the first user turn */
    bool system_in_last; /* the same in the last turn, if that is the user's; else it is left out */
    bool no_system;      /* a system turn is an error */
    bool in_turn;        /* user and assistant must alternate, the user first */
    bool trims_system, trims_user, trims_answer; /* no white space at the ends; a user's text that
                                                    holds the system text is one text with it */
    bool thinks; /* Qwen3: an answer may hold "<think>...</think>", which is written only behind the
                    last user's turn; the last turn has it in any case, empty if need be */
    bool joins_lines; /* \r\n becomes \n, then \n\n becomes \n (RWKV) */
    bool is_api_only; /* names the roles of a web service; has no text */
} fl_conversation;

/* A constant, or NULL when no format has this name. */
const fl_conversation *fl_conversation_find(const char *name);
/* The i-th name, aliases last; NULL behind the last one. */
const char *fl_conversation_name(size_t i);

/* Appends the text of a conversation: the system text (of turns[0] where that is a system turn,
 * else the format's own), its example turns, the turns.  With open_answer it ends where the
 * assistant starts to answer.  Special tokens stand in it as text; bos only with has_bos.
 *
 * spans: NULL, or [n]: for a turn that trains, the bytes of `out` that the model has to write to
 * give and to end this answer, empty for the others.
 *
 * Errors: FL_ERR_INPUT for turns that the format cannot hold (a system turn that is not the first
 * one, a tool's turn, see in_turn and no_system) or a text of 4 GiB, FL_ERR_UNSUPPORTED for
 * is_api_only, FL_ERR_MEMORY; `out` is undefined then. */
fl_status fl_conversation_render(fl_buf *out, const fl_conversation *format, const fl_turn *turns,
                                 size_t n, bool open_answer, fl_span *spans);

/* Does an answer bring a space that is not part of it, as behind "ASSISTANT:"? */
bool fl_conversation_drops_space(const fl_conversation *format);

#endif
