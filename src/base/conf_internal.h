/* What the conf_*.c files share; nobody else includes it.
 *
 * conf.c        life of an fl_conf, files, fl_conf_finish
 * conf_args.c   the command line
 * conf_value.c  one value: reading, checking
 * conf_suggest.c  did you mean ...?
 * conf_scan.c   what libconfig lets pass silently
 * conf_text.c   numbers, ranges and words as text; the dump
 * conf_help.c   --help and docs/config.md
 *
 * Faults of the user are collected in conf->errors and are not statuses: a function that meets one
 * reports it with conf_complain and returns FL_OK.  A status is for what stops at once (memory).
 */
#ifndef FL_BASE_CONF_INTERNAL_H
#define FL_BASE_CONF_INTERNAL_H

#include "base/conf.h"
#include "base/mem.h"

#include <libconfig.h>

typedef enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_COMMAND_LINE } conf_source;

typedef struct conf_value {
    const fl_conf_group *group;
    const fl_conf_row *row;
    conf_source source;
    size_t load;       /* number of the fl_conf_load that met the key last, 0 = none */
    const char *where; /* "configs/sft.cfg:12" of that load */
    union {            /* by row->type */
        bool boolean;
        int64_t integer;
        double number;
        const char *text;
        fl_conf_list list;
    };
} conf_value;

struct fl_conf {
    const fl_conf_group *groups;
    size_t group_count;
    conf_value *values; /* one per row, in the order of the tables */
    size_t value_count;
    fl_arena *arena; /* texts and lists */
    fl_buf errors;   /* lines */
    size_t loads;
};

/* Adds one line to conf->errors. */
fl_status conf_complain(fl_conf *conf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* NULL when there is none.  Names of `length` bytes, so that parts of arguments can be looked up.
 */
conf_value *conf_find(const fl_conf *conf, const char *name, size_t length);
const fl_conf_group *conf_find_group(const fl_conf *conf, const char *name, size_t length);

/* "LABEL: unknown key num_round; did you mean num_rounds?", and the same for groups. */
fl_status conf_complain_unknown_key(fl_conf *conf, const char *where, const char *name);
fl_status conf_complain_unknown_group(fl_conf *conf, const char *where, const char *name);

/* Reads and checks; `value` changes only when there is no fault.  `label` begins the messages:
 * "configs/sft.cfg:12: num_rounds", "command line: --num_rounds". */
fl_status conf_read_text(fl_conf *conf, conf_value *value, const char *label, const char *text);
fl_status conf_read_setting(fl_conf *conf, conf_value *value, const char *label,
                            const config_setting_t *setting);

/* Reports integers that do not fit, zero bytes in strings, comments without an end.
 * `text` has been accepted by libconfig. */
fl_status conf_scan(fl_conf *conf, const char *path, const char *text);

/* True for "true", "Yes", "1", ... and "false", "No", "0", ... */
bool conf_is_bool_word(const char *text, bool *out);

/* "[1, 8]", ">= 0", "<= 1", or "" when the row has no bounds (infinite, or those of int64_t). */
void conf_range_text(const fl_conf_row *row, char *out, size_t size);
/* "fedavg, fedprox, localN" */
fl_status conf_add_words(fl_buf *out, const char *words, const char *separator);

#endif
