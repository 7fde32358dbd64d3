/* Patterns of tokenizer files, matched with PCRE2.
 *
 * The files are written for Oniguruma (Ruby's syntax with Unicode classes), which Hugging Face's
 * library uses.  Where PCRE2 reads the same text otherwise, the pattern is translated first:
 * \s \S \w \b \h \v and \uHHHH, scripts and long category names in \p{...}, ^ and $ at lines, (?m).
 * What has no exact counterpart is refused by name (back references, nested classes, recursion).
 * Classes know the characters of PCRE2's own Unicode version (14 in PCRE2 10.42).
 *
 * A compiled pattern is constant and may be used by several threads, each with its own work.
 */
#ifndef FL_DATA_REGEX_H
#define FL_DATA_REGEX_H

#include "base/buf.h"

typedef struct fl_regex fl_regex;
typedef struct fl_regex_work fl_regex_work;

/* `path` is what errors begin with.  Errors: FL_ERR_INPUT (no pattern at all), FL_ERR_UNSUPPORTED,
 * FL_ERR_MEMORY. */
fl_status fl_regex_compile(fl_regex **out, const char *pattern, size_t length, const char *path);
void fl_regex_destroy(fl_regex *regex); /* accepts NULL */

fl_status fl_regex_work_create(fl_regex_work **out);
void fl_regex_work_destroy(fl_regex_work *work); /* accepts NULL */

/* Start with `fl_regex_match match = {0};`. */
typedef struct fl_regex_match {
    bool found;
    size_t begin, end; /* bytes */
    size_t from;       /* where the next search starts */
} fl_regex_match;

/* The next match in text[0, length), which must be valid UTF-8; found = false at the end.  No empty
 * match directly behind another match.  Errors: FL_ERR_INPUT when the pattern takes more steps than
 * any sensible one (a pattern that backtracks without end), FL_ERR_MEMORY. */
fl_status fl_regex_next(const fl_regex *regex, fl_regex_work *work, const char *text, size_t length,
                        fl_regex_match *match);

/* regex_syntax.c: appends the pattern in PCRE2's syntax. */
fl_status fl_regex_translate(fl_buf *out, const char *pattern, size_t length, const char *path);

#endif
