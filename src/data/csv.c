#include "data/csv.h"

#include "base/mem.h"

#include <string.h>

void fl_csv_fini(fl_csv *csv)
{
    fl_buf_fini(&csv->values);
    fl_free(csv->starts);
    *csv = (fl_csv){0};
}

const char *fl_csv_field(const fl_csv *csv, size_t i)
{
    return csv->values.data + csv->starts[i];
}

static bool ends_row(const fl_csv *csv)
{
    return csv->at == csv->length || csv->text[csv->at] == '\n' || csv->text[csv->at] == '\r';
}

/* Over the end of a row: \r\n is one. */
static void skip_line_end(fl_csv *csv)
{
    if (csv->at == csv->length) return;
    const bool is_return = csv->text[csv->at++] == '\r';
    csv->at += is_return && csv->at < csv->length && csv->text[csv->at] == '\n';
    csv->lines++;
}

/* Adds the text between two quotes; csv->at is behind the first one, and then behind the last. */
static fl_status read_quoted(fl_csv *csv)
{
    for (;;) {
        const char *start = csv->text + csv->at;
        const char *quote = memchr(start, '"', csv->length - csv->at);
        FL_CHECK(quote, FL_ERR_INPUT, "%s:%zu: a quoted field has no end", csv->path, csv->line);
        const size_t length = (size_t)(quote - start);
        for (size_t i = 0; i < length; i++)
            csv->lines += start[i] == '\n';
        FL_TRY(fl_buf_add(&csv->values, start, length));
        csv->at += length + 1;
        if (csv->at == csv->length || csv->text[csv->at] != '"') break;
        FL_TRY(fl_buf_add(&csv->values, "\"", 1));
        csv->at++;
    }
    FL_CHECK(ends_row(csv) || csv->text[csv->at] == ',', FL_ERR_INPUT,
             "%s:%zu: text behind the closing quote of a field", csv->path, csv->lines + 1);
    return FL_OK;
}

static fl_status read_field(fl_csv *csv)
{
    FL_TRY(fl_grow(&csv->starts, &csv->capacity, csv->count + 1, sizeof *csv->starts));
    csv->starts[csv->count++] = csv->values.length;
    if (!ends_row(csv) && csv->text[csv->at] == '"') {
        csv->at++;
        FL_TRY(read_quoted(csv));
    } else {
        const size_t start = csv->at;
        while (!ends_row(csv) && csv->text[csv->at] != ',')
            csv->at++;
        FL_TRY(fl_buf_add(&csv->values, csv->text + start, csv->at - start));
    }
    return fl_buf_add(&csv->values, "", 1);
}

fl_status fl_csv_next(fl_csv *csv, bool *found)
{
    fl_buf_clear(&csv->values);
    csv->count = 0;
    while (csv->at < csv->length && ends_row(csv))
        skip_line_end(csv);
    csv->line = csv->lines + 1;
    *found = csv->at < csv->length;
    if (!*found) return FL_OK;
    FL_TRY(read_field(csv));
    for (; !ends_row(csv);) {
        csv->at++; /* the comma */
        FL_TRY(read_field(csv));
    }
    skip_line_end(csv);
    return FL_OK;
}
