/* Stage 1: records of a data set from local files.
 *
 * A file is a JSON array of objects or JSON Lines (told apart by the first byte that is not white
 * space), plain or gzip, with or without a byte order mark, with \n or \r\n.  The fields of the
 * first record decide the kind of the data set (table in dataset.c); all records must have them.
 * A loaded data set is constant and may be read by several threads.
 *
 * Use: fl_dataset_load(&dataset, "alpaca.json", NULL), ... dataset->records[i] ...,
 * fl_dataset_destroy.
 */
#ifndef FL_DATA_DATASET_H
#define FL_DATA_DATASET_H

#include "base/mem.h"
#include "base/status.h"
#include "data/turn.h"

/* What a record consists of; the same for all records of a data set. */
typedef enum fl_record_form {
    FL_FORM_INSTRUCTION, /* instruction and response */
    FL_FORM_CHAT,        /* turns: a conversation, trained on the assistant's turns */
    FL_FORM_PREFERENCE   /* turns: the conversation so far, ending with the user's turn; chosen
                            and rejected: two answers to it */
} fl_record_form;

/* Texts are UTF-8 bytes, closed with a zero byte that is not counted, owned by the data set.  What
 * the form does not have is NULL and 0. */
typedef struct fl_record {
    const char *instruction;
    const char *response;
    const fl_turn *turns; /* [num_turns] */
    const char *chosen;
    const char *rejected;
    const char *domain;         /* NULL where the record has no field "domain" */
    const char *label, *client; /* the fields that fl_dataset_options names; NULL where absent */
    size_t instruction_length;  /* bytes */
    size_t response_length;
    size_t num_turns;
    size_t chosen_length;
    size_t rejected_length;
    size_t domain_length, label_length, client_length;
} fl_record;

/* Names of fields that are kept besides the texts, as text: strings, or integers in decimal.  NULL
 * or "": none. */
typedef struct fl_dataset_options {
    const char *label_field;  /* what a non-IID split goes by */
    const char *client_field; /* whose record it is */
} fl_dataset_options;

typedef struct fl_dataset {
    fl_record *records;
    size_t count; /* at least 1 */
    fl_record_form form;
    const char *kind; /* "alpaca", "instruction_response"; a constant */
    size_t capacity;  /* of records */
    fl_arena *arena;  /* owns the texts */
} fl_dataset;

/* Reads a whole file; *out is owned by the caller.  options may be NULL, for none.  Errors name the
 * file and the line (JSON Lines) or the record, counted from 1 (JSON array).  FL_ERR_IO: cannot be
 * read; FL_ERR_INPUT: invalid JSON, a missing field, a field of the wrong type, no record;
 * FL_ERR_UNSUPPORTED: the fields of the first record belong to no kind. */
fl_status fl_dataset_load(fl_dataset **out, const char *path, const fl_dataset_options *options);
void fl_dataset_destroy(fl_dataset *dataset); /* accepts NULL */

/* The kinds that can be read: "alpaca|instruction_response". */
const char *fl_dataset_kinds(void);

#endif
