/* --help and docs/config.md, both from the tables. */
#include "base/conf_internal.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 100, MAX_KEY_WIDTH = 40 };

/* What stands for the value behind --key. */
static const char *placeholder(fl_conf_type type)
{
    static const char *const words[] = {
        [FL_CONF_BOOL] = "",        [FL_CONF_INT] = " N",     [FL_CONF_FLOAT] = " X",
        [FL_CONF_STRING] = " TEXT", [FL_CONF_TEXT] = " TEXT", [FL_CONF_WORD] = " WORD",
        [FL_CONF_LIST] = " A,B"};
    return words[type];
}

static const char *default_text(const fl_conf_row *row)
{
    return row->default_value && row->default_value[0] ? row->default_value : "\"\"";
}

/* "[1, 8]", "fedavg, fedprox", or nothing. */
static fl_status add_choices(fl_buf *out, const fl_conf_row *row, const char *separator)
{
    if (row->type == FL_CONF_WORD) return conf_add_words(out, row->words, separator);
    char range[80] = "";
    if (row->type == FL_CONF_INT || row->type == FL_CONF_FLOAT)
        conf_range_text(row, range, sizeof range);
    return fl_buf_add_text(out, range);
}

/* Breaks `text` at spaces; the cursor stands at column `indent` already. */
static fl_status add_wrapped(fl_buf *out, const char *text, size_t indent)
{
    size_t column = indent;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > indent && column + 1 + length > COLUMNS) {
            FL_TRY(fl_buf_addf(out, "\n%*s", (int)indent, ""));
            column = indent;
        }
        if (column > indent) FL_TRY(fl_buf_add_text(out, " "));
        column += length + (column > indent);
        FL_TRY(fl_buf_add(out, text, length));
        text += length;
        text += strspn(text, " ");
    }
    return fl_buf_add_text(out, "\n");
}

static size_t key_width(const fl_conf_row *row)
{
    return strlen("  --") + strlen(row->name) + strlen(placeholder(row->type));
}

/* Column at which the explanations begin: behind the longest key, but not too far right. */
static size_t find_indent(const fl_conf_group *groups, size_t group_count)
{
    size_t widest = 0;
    for (size_t i = 0; i < group_count; i++)
        for (size_t k = 0; k < groups[i].row_count; k++) {
            size_t width = key_width(&groups[i].rows[k]);
            if (width > widest && width <= MAX_KEY_WIDTH) widest = width;
        }
    return widest + 2;
}

static fl_status add_help_row(fl_buf *out, const fl_conf_row *row, size_t indent)
{
    size_t width = key_width(row);
    FL_TRY(fl_buf_addf(out, "  --%s%s", row->name, placeholder(row->type)));
    if (width + 2 > indent)
        FL_TRY(fl_buf_addf(out, "\n%*s", (int)indent, ""));
    else
        FL_TRY(fl_buf_addf(out, "%*s", (int)(indent - width), ""));
    const char *between = row->type == FL_CONF_WORD ? "; one of " : "; ";
    fl_buf text = {0}, choices = {0};
    fl_status status;
    FL_TRY_GOTO(add_choices(&choices, row, ", "), out);
    FL_TRY_GOTO(fl_buf_addf(&text, "%s (default %s%s%s)", row->help, default_text(row),
                            choices.length ? between : "", fl_buf_text(&choices)),
                out);
    FL_TRY_GOTO(add_wrapped(out, text.data, indent), out);
out:
    fl_buf_fini(&text);
    fl_buf_fini(&choices);
    return status;
}

fl_status fl_conf_help(const fl_conf_group *groups, size_t group_count, fl_buf *out)
{
    size_t indent = find_indent(groups, group_count);
    for (size_t i = 0; i < group_count; i++) {
        FL_TRY(fl_buf_addf(out, "%s%s: ", i > 0 ? "\n" : "", groups[i].name));
        FL_TRY(add_wrapped(out, groups[i].help, strlen(groups[i].name) + 2));
        for (size_t k = 0; k < groups[i].row_count; k++)
            FL_TRY(add_help_row(out, &groups[i].rows[k], indent));
    }
    return FL_OK;
}

/* A bar would end the cell of a table. */
static fl_status add_cell(fl_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') FL_TRY(fl_buf_add_text(out, "\\"));
        FL_TRY(fl_buf_add(out, text, 1));
    }
    return FL_OK;
}

static fl_status add_markdown_row(fl_buf *out, const fl_conf_row *row)
{
    static const char *const types[] = {
        [FL_CONF_BOOL] = "bool",   [FL_CONF_INT] = "integer", [FL_CONF_FLOAT] = "number",
        [FL_CONF_STRING] = "text", [FL_CONF_TEXT] = "text",   [FL_CONF_WORD] = "word",
        [FL_CONF_LIST] = "list"};
    FL_TRY(fl_buf_addf(out, "| `%s` | %s | `", row->name, types[row->type]));
    FL_TRY(add_cell(out, default_text(row)));
    FL_TRY(fl_buf_add_text(out, "` | "));
    if (row->type == FL_CONF_WORD) FL_TRY(fl_buf_add_text(out, "`"));
    FL_TRY(add_choices(out, row, "` `"));
    if (row->type == FL_CONF_WORD) FL_TRY(fl_buf_add_text(out, "`"));
    FL_TRY(fl_buf_add_text(out, " | "));
    FL_TRY(add_cell(out, row->help));
    return fl_buf_add_text(out, " |\n");
}

fl_status fl_conf_markdown(const fl_conf_group *groups, size_t group_count, fl_buf *out)
{
    FL_TRY(fl_buf_add_text(out, "# Configuration keys\n\n"
                                "Made from the tables in the program; do not edit.\n"));
    for (size_t i = 0; i < group_count; i++) {
        FL_TRY(fl_buf_addf(out, "\n## %s\n\n%s\n\n", groups[i].name, groups[i].help));
        FL_TRY(fl_buf_add_text(out, "| key | type | default | range or words | meaning |\n"
                                    "|---|---|---|---|---|\n"));
        for (size_t k = 0; k < groups[i].row_count; k++)
            FL_TRY(add_markdown_row(out, &groups[i].rows[k]));
    }
    return FL_OK;
}
