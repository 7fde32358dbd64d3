/* Stage 1: records of a data set from local files.
 *
 * A data set is one file, or a folder of files.  A file holds JSON or CSV, plain or gzip, with or
 * without a byte order mark, with \n or \r\n:
 *   an array of records; JSON Lines; one record; an object {client: [records]}; or, where the name
 *   ends in .csv or .csv.gz, a header row and one record per row, all its fields strings.
 * The fields of the first record decide the kind of the data set (table in dataset_kind.c), unless
 * the options name it; all records must have the kind's fields.  docs/data.md has examples.
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
    const char *label;  /* the field that the options name; NULL where there is none */
    const char *client; /* whose record it is: by the field that the options name, by the name
                           of its list in an object {client: [records]}, or in a folder by
                           the file's path below it without its ending; NULL: not known */
    size_t instruction_length; /* bytes */
    size_t response_length;
    size_t num_turns;
    size_t chosen_length;
    size_t rejected_length;
    size_t label_length, client_length;
} fl_record;

typedef struct fl_dataset {
    fl_record *records;
    size_t count; /* at least 1 */
    fl_record_form form;
    const char *kind;   /* "alpaca", "sharegpt", ...; a constant */
    size_t num_skipped; /* records left out: repeated instructions where the data set's rule says
                           so, transcripts without a common question */
    size_t capacity;    /* of records */
    fl_arena *arena;    /* owns the texts */
} fl_dataset;

/* The words of a configuration row: "auto" detects, "fields" takes the fields named below. */
#define FL_DATASET_KINDS                                                                          \
    "auto|fields|alpaca|instruction_response|dolly|seed_tasks|prompt_completion|prompt_response|" \
    "question_answer|problem_solution|flashcards|sharegpt|messages|preference|"                   \
    "preference_sharegpt|preference_messages|preference_lists|hh_rlhf|text_label"

/* Every member may be NULL or "". */
typedef struct fl_dataset_options {
    const char *kind; /* one of FL_DATASET_KINDS */
    /* With instruction_field and response_field any file with two fields of text can be read;
     * input_field is added to the instruction after a space. */
    const char *instruction_field, *input_field, *response_field;
    /* Fields that are kept besides: texts, or integers in decimal. */
    const char *label_field;  /* what a non-IID split goes by */
    const char *client_field; /* whose record it is */
    /* Preference records as the reference system makes them: answers to be put behind the rendered
     * prompt as they are, so with the space in front; hh-rlhf cut behind the common prefix of both
     * transcripts (num_turns may then be 0). */
    bool dpo_compat;
} fl_dataset_options;

/* Reads a whole file or folder; *out is owned by the caller; options may be NULL.  In a folder the
 * files of the training split count ("train.json", "train-00000-of-00002.jsonl", a folder "train"),
 * or all data files where none is called so, in the order of their paths.
 * Errors name the file and the line (JSON Lines, CSV) or the record, counted from 1 (JSON array).
 * FL_ERR_IO: cannot be read; FL_ERR_INPUT: invalid JSON or CSV, a missing field, a field of the
 * wrong type, no record; FL_ERR_UNSUPPORTED: the fields of the first record belong to no kind, or
 * to one that cannot be trained on; Parquet; FL_ERR_USAGE: options that contradict each other. */
fl_status fl_dataset_load(fl_dataset **out, const char *path, const fl_dataset_options *options);
void fl_dataset_destroy(fl_dataset *dataset); /* accepts NULL */

/* fl_dataset_load for a dataset_name of the reference system or a path: looks for prefix + name,
 * then for prefix + the name's last part, each also with the endings of data files.  A path that
 * ends in one of the reference's names (table in dataset_names.c) is read by that data set's rules.
 * Errors: as above; FL_ERR_IO when nothing is found, which says where it was looked for. */
fl_status fl_dataset_open(fl_dataset **out, const char *prefix, const char *name,
                          const fl_dataset_options *options);

#endif
