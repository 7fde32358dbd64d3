/* The chat templates that are known by their form; for chat_template.c only. */
#ifndef FL_DATA_CHAT_TEMPLATE_TABLE_H
#define FL_DATA_CHAT_TEMPLATE_TABLE_H

#include "data/conversation.h"

#include <stdint.h>

enum { FL_FORM_MAX_FREE = 8 };

/* In the format's texts {bos} and {eos} stand for these tokens, {1}, {2} ... for the template's
 * free texts in their order. */
typedef struct fl_known_template {
    uint64_t form;                        /* fl_jinja_form_hash with the free texts left out */
    unsigned char free[FL_FORM_MAX_FREE]; /* numbers of texts that models set differently */
    bool system_is_turn;                  /* `system` holds before_system and after_system too */
    fl_conversation format;
} fl_known_template;

extern const fl_known_template fl_known_templates[];
extern const size_t fl_num_known_templates;

#endif
