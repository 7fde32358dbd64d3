/* What the programs have in common: flags, --help, --version, errors, exit codes.  Needs no MPI. */
#ifndef FL_APP_PROGRAM_H
#define FL_APP_PROGRAM_H

#include "base/conf.h"
#include "base/log.h"

/* What a program says about itself.  The texts are constants. */
typedef struct fl_program {
    const char *name;                /* "fedllm_generate" */
    const char *usage;               /* lines */
    const char *built_in;            /* lines of --version: what was built in */
    fl_status (*help)(fl_buf *);     /* appends the keys as --help shows them; NULL: no keys */
    fl_status (*markdown)(fl_buf *); /* and as a page; NULL: no page */
} fl_program;

/* A flag of one program only. */
typedef struct fl_flag {
    const char *word; /* "--fresh" */
    bool *value;      /* becomes true */
} fl_flag;

enum { FL_MAX_WORDS = 4 };

typedef struct fl_command {
    bool help, version, markdown, check; /* flags of all programs */
    const char *words[FL_MAX_WORDS];     /* arguments in front of all options */
    int num_words;
    int argc; /* what is left: options, for fl_conf_override */
    char **argv;
} fl_command;

/* Sorts the arguments; flags may stand anywhere, words up to max_words only in front.  argv is
 * reordered and stays borrowed. */
fl_command fl_command_parse(int argc, char **argv, int max_words, const fl_flag *flags,
                            size_t num_flags);

/* Takes the first "word value" or "word=value" out of the arguments: options that are no keys of a
 * table.  *value = NULL when there is none.  Errors: FL_ERR_USAGE when the value is missing. */
fl_status fl_args_take(int *argc, char **argv, const char *word, const char **value);

/* Answers --help, --help-markdown and --version, and too few words with the usage; false when there
 * is work to do, else *exit_code is set. */
bool fl_program_answers(const fl_program *program, const fl_command *command, int min_words,
                        int *exit_code);

/* Prints why the program ends on stderr: all faults of the options, or the one error text. */
void fl_program_complain(const fl_program *program, const fl_conf *conf);

/* "error", "warn", "info", "debug" */
fl_log_level fl_log_level_of(const char *word);

#endif
