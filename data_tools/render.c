/* fedllm_data render: a record as the model sees it, and what the loss counts of it. */
#include "data_tools/data_tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Around text that counts. */
typedef struct marks {
    const char *begin, *end;
} marks;

/* Green and underlined on a terminal. */
static marks choose_marks(void)
{
    return isatty(STDOUT_FILENO) ? (marks){"\033[4;32m", "\033[0m"} : (marks){"«", "»"};
}

typedef struct view {
    const int32_t *ids;    /* [length] */
    const int32_t *labels; /* [length]; NULL: what follows the prompt counts */
    size_t prompt, length;
} view;

/* The first token is never predicted. */
static bool counts(const view *v, size_t i)
{
    return i > 0 && (v->labels ? v->labels[i] != FL_LABEL_IGNORE : i >= v->prompt);
}

/* Bytes of a character that is spread over tokens come with the last of them; `piece` is scratch.
 */
static fl_status add_tokens(fl_buf *out, const view *v, fl_decode_stream *stream, fl_buf *piece)
{
    const marks mark = choose_marks();
    for (size_t i = 0; i < v->length; i++) {
        if (counts(v, i) && !counts(v, i - 1)) FL_TRY(fl_buf_add_text(out, mark.begin));
        fl_buf_clear(piece);
        FL_TRY(fl_decode_stream_add(stream, v->ids[i], piece));
        if (i + 1 == v->length) FL_TRY(fl_decode_stream_finish(stream, piece));
        FL_TRY(data_add_visible(out, fl_buf_text(piece), piece->length, true));
        bool ends = i + 1 == v->length || !counts(v, i + 1);
        if (counts(v, i) && ends) FL_TRY(fl_buf_add_text(out, mark.end));
    }
    return fl_buf_add_text(out, "\n\n");
}

static fl_status add_text(fl_buf *out, const view *v, const fl_tokenizer *tokenizer)
{
    fl_decode_stream *stream;
    fl_buf piece = {0};
    FL_TRY(fl_decode_stream_create(&stream, tokenizer, false));
    fl_status status = add_tokens(out, v, stream, &piece);
    fl_buf_fini(&piece);
    fl_decode_stream_destroy(stream);
    return status;
}

static fl_status add_table(fl_buf *out, const view *v, const fl_tokenizer *tokenizer)
{
    FL_TRY(fl_buf_add_text(out, "position      id   label  token\n"));
    for (size_t i = 0; i < v->length; i++) {
        const char *token = fl_tokenizer_token(tokenizer, v->ids[i]);
        if (!token) token = "(not in the vocabulary)";
        FL_TRY(fl_buf_addf(out, "%8zu %7d %7d  ", i, (int)v->ids[i],
                           counts(v, i) ? (int)v->ids[i] : FL_LABEL_IGNORE));
        FL_TRY(data_add_visible(out, token, strlen(token), false));
        FL_TRY(fl_buf_add_text(out, "\n"));
    }
    return FL_OK;
}

/* *record: its number in the data set, from 0. */
static fl_status find_record(size_t *record, const data_tool *tool)
{
    const fl_partition *p = &tool->data.partition;
    size_t number = (size_t)tool->record - 1, client = (size_t)tool->client;
    if (tool->client < 0) {
        FL_CHECK(number < tool->data.dataset->count, FL_ERR_USAGE,
                 "--record %zu, but the data has only %zu records", number + 1,
                 tool->data.dataset->count);
        *record = number;
        return FL_OK;
    }
    FL_CHECK(client < p->num_clients, FL_ERR_USAGE,
             "--client %zu, but clients are numbered 0 to %zu", client, p->num_clients - 1);
    FL_CHECK(number < fl_partition_size(p, client), FL_ERR_USAGE,
             "--record %zu, but client %zu has only %zu records", number + 1, client,
             fl_partition_size(p, client));
    *record = p->indices[p->offset[client] + number];
    return FL_OK;
}

/* Whose it is, or that dataset_sample left it out. */
static fl_status add_owner(fl_buf *out, const fl_partition *p, size_t record)
{
    for (size_t k = 0; k < p->num_clients; k++)
        for (size_t i = p->offset[k]; i < p->offset[k + 1]; i++)
            if (p->indices[i] == record)
                return fl_buf_addf(out, "client %zu, its record %zu", k, i - p->offset[k] + 1);
    return fl_buf_add_text(out, "no client (dataset_sample leaves it out)");
}

static fl_status add_head(fl_buf *out, const data_tool *tool, size_t record, const view *v)
{
    const fl_record *r = &tool->data.dataset->records[record];
    size_t counted = 0;
    for (size_t i = 0; i < v->length; i++)
        counted += counts(v, i);
    FL_TRY(fl_buf_addf(out, "record %zu of %zu; ", record + 1, tool->data.dataset->count));
    FL_TRY(add_owner(out, &tool->data.partition, record));
    if (r->label) {
        FL_TRY(fl_buf_addf(out, "; %s ", tool->options.data.dataset.label_field));
        FL_TRY(data_add_visible(out, r->label, r->label_length, false));
    }
    return fl_buf_addf(out, "; %zu tokens, %zu of them count in the loss\n\n", v->length, counted);
}

static fl_status add_view(fl_buf *out, const data_tool *tool, const view *v)
{
    FL_TRY(add_text(out, v, tool->data.tokenizer));
    return add_table(out, v, tool->data.tokenizer);
}

static fl_status render_example(const data_tool *tool, size_t record, fl_buf *out)
{
    const fl_examples *e = tool->data.examples;
    const view v = {.ids = e->ids + e->offset[record],
                    .labels = e->labels + e->offset[record],
                    .length = (size_t)fl_example_length(e, record)};
    FL_TRY(add_head(out, tool, record, &v));
    return add_view(out, tool, &v);
}

/* The prompt with one of its answers; ids: room for both. */
static view view_of(const fl_pairs *pairs, size_t record, int answer, int32_t *ids)
{
    size_t prompt = (size_t)fl_pair_length(pairs, record, FL_PART_PROMPT);
    size_t length = (size_t)fl_pair_length(pairs, record, answer);
    memcpy(ids, pairs->ids + fl_pair_begin(pairs, record, FL_PART_PROMPT), prompt * sizeof *ids);
    memcpy(ids + prompt, pairs->ids + fl_pair_begin(pairs, record, answer), length * sizeof *ids);
    return (view){.ids = ids, .prompt = prompt, .length = prompt + length};
}

static fl_status render_answers(const data_tool *tool, size_t record, int32_t *ids, fl_buf *out)
{
    static const char *const names[] = {
        [FL_PART_CHOSEN] = "chosen", [FL_PART_REJECTED] = "\nrejected"};
    for (int part = FL_PART_CHOSEN; part < FL_NUM_PARTS; part++) {
        const view v = view_of(tool->data.pairs, record, part, ids);
        FL_TRY(fl_buf_addf(out, "%s: ", names[part]));
        FL_TRY(add_head(out, tool, record, &v));
        FL_TRY(add_view(out, tool, &v));
    }
    return FL_OK;
}

static fl_status render_pair(const data_tool *tool, size_t record, fl_buf *out)
{
    const fl_pairs *pairs = tool->data.pairs;
    size_t all = fl_pair_begin(pairs, record + 1, FL_PART_PROMPT) -
                 fl_pair_begin(pairs, record, FL_PART_PROMPT);
    int32_t *ids;
    FL_TRY(fl_alloc(&ids, all, sizeof *ids));
    fl_status status = render_answers(tool, record, ids, out);
    fl_free(ids);
    return status;
}

fl_status data_render(data_tool *tool, fl_buf *out)
{
    size_t record;
    FL_TRY(fl_run_data_open(&tool->data, &tool->options));
    FL_TRY(find_record(&record, tool));
    return (tool->data.pairs ? render_pair : render_example)(tool, record, out);
}
