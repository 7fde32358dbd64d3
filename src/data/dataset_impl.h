/* What the files dataset_*.c share: a reader that turns JSON objects into records.
 *
 * A kind of data set is a row of the table in dataset_kind.c: the fields by which it is recognised
 * and a function that reads them.  CSV rows become objects of strings and go the same way. */
#ifndef FL_DATA_DATASET_IMPL_H
#define FL_DATA_DATASET_IMPL_H

#include "base/buf.h"
#include "base/json.h"
#include "data/dataset.h"

typedef struct fl_kind fl_kind;

typedef struct fl_dataset_reader {
    fl_dataset *dataset;
    fl_dataset_options options; /* no member is NULL */
    const char *split;          /* of a folder's files: "train" */
    const fl_kind *kind;        /* NULL until the first record */
    const char *path;           /* of the present file */
    const char *client;         /* of records that name none; in the arena, or NULL */
    size_t client_length;
    fl_buf where; /* names the present record: "PATH:12" or "PATH: record 12" */
    fl_buf text;  /* for putting texts together */
} fl_dataset_reader;

enum { FL_MAX_NEEDS = 3 };

/* The fields that a kind's function reads, by what they mean; NULL: has none. */
typedef struct fl_kind_fields {
    const char *instruction, *input, *response; /* of instruction kinds */
    const char *turns;                          /* of the others: the conversation */
    const char *chosen, *rejected;
} fl_kind_fields;

struct fl_kind {
    const char *name;
    fl_record_form form;
    const char *needs[FL_MAX_NEEDS]; /* detected by these; none: only by name */
    bool needs_list;                 /* and by needs[0] being an array */
    fl_kind_fields fields;
    /* Adds the records of one object. */
    fl_status (*read)(fl_dataset_reader *reader, const json_t *object);
};

/* The reading functions of kinds. */
fl_status fl_read_instruction(fl_dataset_reader *reader, const json_t *object);
fl_status fl_read_seed_task(fl_dataset_reader *reader, const json_t *object);
fl_status fl_read_chat(fl_dataset_reader *reader, const json_t *object);
fl_status fl_read_preference(fl_dataset_reader *reader, const json_t *object);
fl_status fl_read_transcripts(fl_dataset_reader *reader, const json_t *object);

/* fl_dataset_load in steps.  Opening may fail with FL_ERR_USAGE; the reader is closed in any case,
 * with the status so far: *out = the data set when that is FL_OK.  Returns the status. */
fl_status fl_reader_open(fl_dataset_reader *reader, const fl_dataset_options *options);
fl_status fl_reader_load(fl_dataset_reader *reader, const char *path);
fl_status fl_reader_close(fl_dataset_reader *reader, fl_status status, fl_dataset **out);

/* Takes over the options and, when they name one, the kind.  Errors: FL_ERR_USAGE. */
fl_status fl_reader_set_options(fl_dataset_reader *reader, const fl_dataset_options *options);
/* Without a kind so far, this one.  Errors: FL_ERR_USAGE. */
fl_status fl_reader_set_kind(fl_dataset_reader *reader, const char *name);
bool fl_kind_fits(const json_t *object); /* some kind has the object's fields */
/* The records of one value; reader->where is set.  The first one decides the kind. */
fl_status fl_reader_add(fl_dataset_reader *reader, const json_t *object);
/* Appends a record, with the label and client that the object names. */
fl_status fl_reader_put(fl_dataset_reader *reader, const json_t *object, fl_record record);
/* *out, *length = a copy in the arena of the data set. */
fl_status fl_reader_copy(fl_dataset_reader *reader, const char **out, size_t *length,
                         const char *text, size_t text_length);

/* The list of messages as turns in the arena; `key` names the list in errors. */
fl_status fl_read_turns(fl_dataset_reader *reader, const json_t *list, const char *key,
                        fl_turn **out, size_t *count);

/* The rows of a CSV file, through fl_reader_add. */
fl_status fl_read_csv(fl_dataset_reader *reader, const char *text, size_t length);

#endif
