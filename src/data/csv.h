/* Comma-separated values (RFC 4180): fields in quotes may hold commas, newlines and doubled quotes;
 * rows end with \n, \r\n or \r.  A quote inside a field without quotes is a character like others.
 *
 * Use: fl_csv csv = {.path = path, .text = text, .length = length}; fl_csv_next until !*found;
 * fl_csv_fini. */
#ifndef FL_DATA_CSV_H
#define FL_DATA_CSV_H

#include "base/buf.h"

typedef struct fl_csv {
    const char *path; /* names the text in errors */
    const char *text; /* borrowed; no zero bytes */
    size_t length;    /* bytes */
    size_t at;        /* where the next row begins */
    size_t lines;     /* line ends before it */
    size_t line;      /* of the present row's beginning, counted from 1 */
    fl_buf values;    /* the present row's fields, each closed with a zero byte */
    size_t *starts;   /* [count] where they begin in `values` */
    size_t count, capacity;
} fl_csv;

/* Reads the next row that is not empty.  Errors: FL_ERR_INPUT, "PATH:LINE: reason". */
fl_status fl_csv_next(fl_csv *csv, bool *found);
const char *fl_csv_field(const fl_csv *csv, size_t i); /* of the present row; i < count */
void fl_csv_fini(fl_csv *csv);

#endif
