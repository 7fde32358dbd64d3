/* A record as one line of JSON. */
#ifndef DATA_TOOLS_RECORD_JSON_H
#define DATA_TOOLS_RECORD_JSON_H

#include "base/buf.h"
#include "data/dataset.h"

/* Names under which the record's label and client are written; NULL: they are left out. */
typedef struct record_names {
    const char *label, *client;
} record_names;

/* Appends the record and a line break.  Instruction and response become {instruction, response}, a
 * conversation {messages: [{role, content}]}, a preference {prompt: [{role, content}], chosen,
 * rejected}; reading that gives the same record.  Errors: FL_ERR_INPUT for text that is not UTF-8,
 * FL_ERR_MEMORY. */
fl_status record_json_add(fl_buf *out, const fl_record *record, fl_record_form form,
                          const record_names *names);

#endif
