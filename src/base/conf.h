/* Configuration from tables of rows.
 *
 * A module describes its keys in a `static const fl_conf_row rows[]` over a plain struct.  The same
 * rows give parsing, defaults, range checks, --help, docs/config.md and the effective config that a
 * run stores.  Leaf names are unique over all groups.
 *
 * Use: fl_conf_create, fl_conf_load (file text), fl_conf_override (command line), fl_conf_finish
 * (fills the structs, or returns all errors at once).  Every rank parses the same text.
 */
#ifndef FL_BASE_CONF_H
#define FL_BASE_CONF_H

#include "base/buf.h"

#include <stdint.h>

typedef enum fl_conf_type {
    FL_CONF_BOOL,   /* bool */
    FL_CONF_INT,    /* int64_t */
    FL_CONF_FLOAT,  /* double */
    FL_CONF_STRING, /* const char *, owned by the fl_conf */
    FL_CONF_TEXT,   /* the same, and may hold line breaks and tabulators; "\n", "\t" and "\\" stand
                       for them in a file, as in all its strings, and on the command line */
    FL_CONF_WORD,   /* const char *, one of row->words, or a word followed by digits where the list
                       has it with a closing '#' ("local#" takes local0, local12) */
    FL_CONF_LIST    /* fl_conf_list: list of strings; in a file ["a", "b"] or "a,b" */
} fl_conf_type;

typedef struct fl_conf_list {
    const char *const *items; /* owned by the fl_conf */
    size_t count;
} fl_conf_list;

typedef struct fl_conf_row {
    const char *name; /* leaf name, the reference's or Hugging Face's where it has one */
    fl_conf_type type;
    size_t offset;             /* in the group's struct */
    const char *default_value; /* as text; "" is the empty string or list */
    double minimum, maximum;   /* inclusive; INT and FLOAT; -INFINITY, INFINITY: no bound */
    const char *words;         /* WORD: "a|b|c#" */
    const char *help;          /* one line */
} fl_conf_row;

typedef struct fl_conf_group {
    const char *name; /* "fed" */
    const char *help;
    const fl_conf_row *rows;
    size_t row_count;
    void *target; /* the struct that is filled; NULL for --help and docs */
} fl_conf_group;

typedef struct fl_conf fl_conf;

/* groups: borrowed, must outlive the conf, targets too.  Errors: FL_ERR_INTERNAL for a fault in the
 * tables (a name that is there twice, a default that its own row refuses), FL_ERR_MEMORY. */
fl_status fl_conf_create(fl_conf **out, const fl_conf_group *groups, size_t group_count);
void fl_conf_destroy(fl_conf *conf);

/* Parses libconfig text.  `path` names it in errors and is where @include looks (its folder).
 * Values may be under `group: { ... }` or at the top level by leaf name.  May be called again with
 * another file, whose keys then win.
 * Errors: FL_ERR_USAGE for text that is no libconfig text, "path:line: reason", where nothing was
 * taken over.  Faults of keys and values are kept for fl_conf_finish. */
fl_status fl_conf_load(fl_conf *conf, const char *path, const char *text);

/* Arguments of a command line after the config: `--key value`, `--key=value`, bare `--flag` and
 * `--no_flag` for bools, `group.key=value`.  Later ones win, and win over the file.  Bools take
 * true t yes y 1 and false f no n 0 in any case, or no value.  A value that begins with "--" needs
 * the form with '='; lists are "a,b".  Faults are kept for fl_conf_finish. */
fl_status fl_conf_override(fl_conf *conf, int argc, char *const *argv);

/* Fills the targets, or, when there were faults, none of them.  On error the text names the first
 * fault and fl_conf_errors gives all lines ("configs/sft.cfg:12: num_rounds = 0 is outside
 * [1, 1000000]", "... unknown key num_round; did you mean num_rounds?").  FL_ERR_USAGE.
 * Strings and lists in the targets live as long as the conf. */
fl_status fl_conf_finish(fl_conf *conf);
const char *fl_conf_errors(const fl_conf *conf); /* lines, each closed by \n; "" when none */

/* Was the key set by file or command line? */
bool fl_conf_is_set(const fl_conf *conf, const char *name);

/* Appends the complete effective config as libconfig text that fl_conf_load reads back to the same
 * values. */
fl_status fl_conf_dump(const fl_conf *conf, fl_buf *out);

/* For "did you mean": the better of two known names, seen from a wrong one; `best` may be NULL, and
 * NULL comes back when none is near.  A third of the letters may be wrong, and at least two, but
 * only one in names of up to four. */
const char *fl_conf_nearer(const char *wrong, const char *best, const char *known);

/* Append the --help text (at most 100 columns) and the page docs/config.md, both from the rows. */
fl_status fl_conf_help(const fl_conf_group *groups, size_t group_count, fl_buf *out);
fl_status fl_conf_markdown(const fl_conf_group *groups, size_t group_count, fl_buf *out);

#endif
