/* The formats that conversation.c finds by name; for the files of src/data only. */
#ifndef FL_DATA_CONVERSATION_TABLE_H
#define FL_DATA_CONVERSATION_TABLE_H

#include "data/conversation.h"

/* System texts that SFT templates share. */
#define FL_TEXT_INSTRUCTION                                                               \
    "Below is an instruction that describes a task. Write a response that appropriately " \
    "completes the request."
#define FL_TEXT_CURIOUS_USER                                                                       \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives " \
    "helpful, detailed, and polite answers to the user's questions."

extern const fl_conversation fl_conversations[];
extern const size_t fl_num_conversations;

typedef struct fl_conversation_alias {
    const char *alias, *name;
} fl_conversation_alias;

extern const fl_conversation_alias fl_conversation_aliases[];
extern const size_t fl_num_conversation_aliases;

#endif
