/* Values as text, and the dump of a whole configuration. */
#include "base/conf_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A double holds no int64_t bound exactly; whatever is this large means "no bound". */
static bool is_bound(const fl_conf_row *row, double limit)
{
    return row->type == FL_CONF_INT ? fabs(limit) < 9.2e18 : isfinite(limit);
}

void conf_range_text(const fl_conf_row *row, char *out, size_t size)
{
    bool has_minimum = is_bound(row, row->minimum), has_maximum = is_bound(row, row->maximum);
    if (has_minimum && has_maximum)
        snprintf(out, size, "[%.15g, %.15g]", row->minimum, row->maximum);
    else if (has_minimum)
        snprintf(out, size, ">= %.15g", row->minimum);
    else if (has_maximum)
        snprintf(out, size, "<= %.15g", row->maximum);
    else
        snprintf(out, size, "%s", "");
}

fl_status conf_add_words(fl_buf *out, const char *words, const char *separator)
{
    for (;;) {
        size_t length = strcspn(words, "|");
        bool numbered = length > 0 && words[length - 1] == '#';
        FL_TRY(fl_buf_add(out, words, length - numbered));
        FL_TRY(fl_buf_addf(out, "%s%s", numbered ? "N" : "", words[length] ? separator : ""));
        if (!words[length]) return FL_OK;
        words += length + 1;
    }
}

/* The shortest decimal that reads back exactly, from 6 digits on so that 100000 stays readable. */
static fl_status add_double(fl_buf *out, double number)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    FL_TRY(fl_buf_add_text(out, text));
    /* without a point or an exponent libconfig would see an integer, which may not fit */
    return strpbrk(text, ".e") ? FL_OK : fl_buf_add_text(out, ".0");
}

/* No other control character gets into a value. */
static fl_status add_quoted(fl_buf *out, const char *text)
{
    FL_TRY(fl_buf_add_text(out, "\""));
    for (; *text; text++) {
        const char c = *text == '\n' ? 'n' : *text == '\t' ? 't' : *text;
        if (c != *text || c == '"' || c == '\\') FL_TRY(fl_buf_add_text(out, "\\"));
        FL_TRY(fl_buf_add(out, &c, 1));
    }
    return fl_buf_add_text(out, "\"");
}

static fl_status add_list(fl_buf *out, const fl_conf_list *list)
{
    FL_TRY(fl_buf_add_text(out, "["));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) FL_TRY(fl_buf_add_text(out, ", "));
        FL_TRY(add_quoted(out, list->items[i]));
    }
    return fl_buf_add_text(out, "]");
}

static fl_status add_value(fl_buf *out, const conf_value *value)
{
    switch (value->row->type) {
    case FL_CONF_BOOL:
        return fl_buf_add_text(out, value->boolean ? "true" : "false");
    case FL_CONF_INT: { /* libconfig before 1.6 takes more than 32 bits only with an L */
        bool is_short = value->integer >= INT32_MIN && value->integer <= INT32_MAX;
        return fl_buf_addf(out, "%lld%s", (long long)value->integer, is_short ? "" : "L");
    }
    case FL_CONF_FLOAT:
        return add_double(out, value->number);
    case FL_CONF_STRING:
    case FL_CONF_TEXT:
    case FL_CONF_WORD:
        return add_quoted(out, value->text);
    case FL_CONF_LIST:
        return add_list(out, &value->list);
    }
    FL_FAIL(FL_ERR_INTERNAL, "config table: %s has no type", value->row->name);
}

/* Groups follow one another as in the tables, so a change of group closes the one before. */
fl_status fl_conf_dump(const fl_conf *conf, fl_buf *out)
{
    FL_TRY(fl_buf_add_text(out, "# The effective configuration of a run: every key, complete.\n"));
    const fl_conf_group *group = NULL;
    for (size_t i = 0; i < conf->value_count; i++) {
        const conf_value *value = &conf->values[i];
        if (value->group != group)
            FL_TRY(fl_buf_addf(out, "%s%s:\n{\n", group ? "}\n" : "", value->group->name));
        group = value->group;
        FL_TRY(fl_buf_addf(out, "    %s = ", value->row->name));
        FL_TRY(add_value(out, value));
        FL_TRY(fl_buf_add_text(out, ";\n"));
    }
    return group ? fl_buf_add_text(out, "}\n") : FL_OK;
}
