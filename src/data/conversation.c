#include "data/conversation.h"

#include <string.h>

/* vicuna_v1.1 and alpaca of FastChat (fastchat/conversation.py). */
static const fl_conversation conversations[] = {
    {
        .name = "vicuna",
        .system = "A chat between a curious user and an artificial intelligence assistant. The "
                  "assistant gives helpful, detailed, and polite answers to the user's questions.",
        .user = "USER",
        .assistant = "ASSISTANT",
        .separator = " ",
    },
    {
        .name = "alpaca",
        .system = "Below is an instruction that describes a task. Write a response that "
                  "appropriately completes the request.",
        .user = "### Instruction",
        .assistant = "### Response",
        .separator = "\n\n",
    },
};

const fl_conversation *fl_conversation_find(const char *name)
{
    for (size_t i = 0; i < sizeof conversations / sizeof *conversations; i++)
        if (strcmp(conversations[i].name, name) == 0) return &conversations[i];
    return NULL;
}

/* "role:" ends without a space: the tokenizer puts the word boundary into the answer's first token.
 */
fl_status fl_conversation_turn(fl_buf *out, const fl_conversation *c, bool is_first,
                               const char *message, size_t length)
{
    if (is_first) FL_TRY(fl_buf_addf(out, "%s%s", c->system, c->separator));
    FL_TRY(fl_buf_addf(out, "%s: ", c->user));
    FL_TRY(fl_buf_add(out, message, length));
    return fl_buf_addf(out, "%s%s:", c->separator, c->assistant);
}
