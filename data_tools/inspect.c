/* fedllm_data inspect: what is in the data, as text. */
#include "data_tools/picture.h"

#include <string.h>

enum { LINES = 100, NAME_WIDTH = 14 }; /* clients that are listed; characters of a label */

static double percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* A name in a column: its first characters, right-aligned. */
static fl_status add_name(fl_buf *out, const char *name)
{
    fl_buf text = {0};
    fl_status status = data_add_visible(&text, name, strlen(name), false);
    const char *bytes = fl_buf_text(&text);
    size_t length = 0, width = 0;
    for (; bytes[length]; length++) {
        bool starts = ((unsigned char)bytes[length] & 0xc0) != 0x80;
        if (starts && width == NAME_WIDTH) break;
        width += starts;
    }
    if (status == FL_OK)
        status = fl_buf_addf(out, "  %*s%.*s", (int)(NAME_WIDTH - width), "", (int)length, bytes);
    fl_buf_fini(&text);
    return status;
}

static fl_status add_data(fl_buf *out, const data_summary *s, const data_tool *tool)
{
    const fl_data_options *o = &tool->options.data;
    FL_TRY(fl_buf_addf(out, "data      %s%s: %zu records (%s)", o->local_data_dir, o->dataset_name,
                       tool->data.dataset->count, tool->data.dataset->kind));
    if (tool->data.dataset->num_skipped)
        FL_TRY(fl_buf_addf(out, ", %zu more are left out", tool->data.dataset->num_skipped));
    if (s->num_records < tool->data.dataset->count)
        FL_TRY(fl_buf_addf(out, ", dataset_sample keeps %zu", s->num_records));
    FL_TRY(fl_buf_addf(out,
                       "\ntokens    of a record: min %lld, median %lld, p90 %lld, p99 %lld, max "
                       "%lld\n",
                       (long long)s->length[0], (long long)data_summary_quantile(s, 0.5),
                       (long long)data_summary_quantile(s, 0.9),
                       (long long)data_summary_quantile(s, 0.99),
                       (long long)data_summary_quantile(s, 1)));
    FL_TRY(fl_buf_addf(out,
                       "cut       %s = %lld cuts %zu records (%.2f %%) and %.2f %% of all "
                       "tokens\n",
                       s->limit_name, (long long)s->limit, s->num_cut,
                       percent(s->num_cut, s->num_records),
                       percent(s->num_lost, s->num_lost + s->num_tokens)));
    return fl_buf_addf(
        out, "loss      counts %zu of %zu tokens (%.2f %%); %zu records teach nothing\n",
        s->num_counted, s->num_tokens, percent(s->num_counted, s->num_tokens), s->num_silent);
}

static fl_status add_labels(fl_buf *out, const data_summary *s, const data_tool *tool)
{
    const char *field = tool->options.data.dataset.label_field;
    if (!s->has_labels)
        return fl_buf_addf(out, "labels    none: not every record has the field \"%s\"\n", field);
    FL_TRY(fl_buf_addf(out, "labels    %zu in the field \"%s\":", s->labels.count, field));
    for (size_t c = 0; c < s->num_columns; c++) {
        FL_TRY(fl_buf_add_text(out, c ? ", " : " "));
        FL_TRY(data_add_visible(out, s->column[c], strlen(s->column[c]), false));
        FL_TRY(fl_buf_addf(out, " %zu", s->column_records[c]));
    }
    return fl_buf_add_text(out, "\n");
}

static fl_status add_client(fl_buf *out, const data_summary *s, size_t k)
{
    FL_TRY(fl_buf_addf(out, "%8zu  %9zu  %9zu", k, data_summary_client_size(s, k), s->tokens[k]));
    for (size_t c = 0; s->has_labels && c < s->num_columns; c++)
        FL_TRY(fl_buf_addf(out, "  %*zu", NAME_WIDTH, s->records[k][c]));
    return fl_buf_add_text(out, "\n");
}

/* Names of clients, where the data has them, stand at the end: they may be long. */
static fl_status add_clients(fl_buf *out, const data_summary *s, const data_tool *tool)
{
    size_t smallest = s->largest_client, shown = s->num_clients < LINES ? s->num_clients : LINES;
    for (size_t k = 0; k < s->num_clients; k++) {
        size_t size = data_summary_client_size(s, k);
        if (size < smallest) smallest = size;
    }
    FL_TRY(fl_buf_addf(out, "split     %s: %zu clients of %zu to %zu records\n\n",
                       tool->options.fed.split_strategy, s->num_clients, smallest,
                       s->largest_client));
    FL_TRY(fl_buf_add_text(out, "  client    records     tokens"));
    for (size_t c = 0; s->has_labels && c < s->num_columns; c++)
        FL_TRY(add_name(out, s->column[c]));
    FL_TRY(fl_buf_add_text(out, "\n"));
    for (size_t k = 0; k < shown; k++)
        FL_TRY(add_client(out, s, k));
    if (shown == s->num_clients) return FL_OK;
    return fl_buf_addf(out, "  and %zu more\n", s->num_clients - shown);
}

static fl_status report(const data_tool *tool, data_summary *s, fl_buf *out)
{
    FL_TRY(data_summary_make(s, tool));
    FL_TRY(add_data(out, s, tool));
    FL_TRY(add_labels(out, s, tool));
    FL_TRY(add_clients(out, s, tool));
    if (!tool->picture || tool->check_only) return FL_OK;
    FL_TRY(data_picture_write(tool->picture, s, tool));
    return fl_buf_addf(out, "\npicture   %s\n", tool->picture);
}

fl_status data_inspect(data_tool *tool, fl_buf *out)
{
    data_summary summary = {0};
    FL_TRY(fl_run_data_open(&tool->data, &tool->options));
    fl_status status = report(tool, &summary, out);
    data_summary_fini(&summary);
    return status;
}
