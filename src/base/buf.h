/* A growing byte string; always closed with a zero byte that is not counted.
 * Start with `fl_buf buf = {0};`, end with fl_buf_fini. */
#ifndef FL_BASE_BUF_H
#define FL_BASE_BUF_H

#include "base/status.h"

typedef struct fl_buf {
    char *data;      /* NULL until something is added */
    size_t length;   /* bytes, without the closing zero */
    size_t capacity; /* bytes */
} fl_buf;

void fl_buf_fini(fl_buf *buf);
void fl_buf_clear(fl_buf *buf);             /* length 0, memory kept */
const char *fl_buf_text(const fl_buf *buf); /* "" when empty; valid until the next change */
fl_status fl_buf_add(fl_buf *buf, const void *data, size_t length);
fl_status fl_buf_add_text(fl_buf *buf, const char *text);
fl_status fl_buf_addf(fl_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text without white space at its ends: a pointer into it; *length follows. */
const char *fl_trim(const char *text, size_t *length);

/* Puts line break, tabulator and backslash where "\n", "\t" and "\\" stand, in place. */
void fl_unescape(char *text);

#endif
