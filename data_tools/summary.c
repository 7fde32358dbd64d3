#include "data_tools/summary.h"

#include "data/pairs_build.h"

#include <math.h>
#include <stdlib.h>

static int compare_lengths(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The records as tokens: one of the two, which the objective decides. */
typedef struct token_set {
    const fl_examples *examples;
    const fl_pairs *pairs;
} token_set;

static int64_t total_tokens(const token_set *set, size_t record)
{
    if (set->examples) return fl_example_length(set->examples, record);
    size_t begin = fl_pair_begin(set->pairs, record, FL_PART_PROMPT);
    return (int64_t)(fl_pair_begin(set->pairs, record + 1, FL_PART_PROMPT) - begin);
}

/* Of a pair, the prompt with the longer answer. */
static int64_t longest_sequence(const token_set *set, size_t record)
{
    if (set->examples) return fl_example_length(set->examples, record);
    int64_t chosen = fl_pair_length(set->pairs, record, FL_PART_CHOSEN);
    int64_t rejected = fl_pair_length(set->pairs, record, FL_PART_REJECTED);
    return total_tokens(set, record) - (chosen < rejected ? chosen : rejected);
}

static size_t counted_tokens(const token_set *set, size_t record)
{
    const fl_examples *e = set->examples;
    size_t counted = 0;
    if (!e)
        return (size_t)(total_tokens(set, record) -
                        fl_pair_length(set->pairs, record, FL_PART_PROMPT));
    for (size_t t = e->offset[record] + 1; t < e->offset[record + 1]; t++)
        counted += e->labels[t] != FL_LABEL_IGNORE;
    return counted;
}

/* `whole`: the records as if there were no limit. */
static fl_status measure(data_summary *s, const data_tool *tool, const token_set *whole)
{
    const token_set cut = {tool->data.examples, tool->data.pairs};
    FL_TRY(fl_arena_alloc(s->arena, &s->length, s->num_records, sizeof *s->length));
    for (size_t i = 0; i < s->num_records; i++) {
        size_t record = tool->data.partition.indices[i], counted = counted_tokens(&cut, record);
        int64_t full = total_tokens(whole, record), kept = total_tokens(&cut, record);
        s->length[i] = longest_sequence(whole, record);
        s->num_cut += full > kept;
        s->num_lost += (size_t)(full - kept);
        s->num_tokens += (size_t)kept;
        s->num_counted += counted;
        s->num_silent += counted == 0;
    }
    qsort(s->length, s->num_records, sizeof *s->length, compare_lengths);
    return FL_OK;
}

static fl_status measure_examples(data_summary *s, const data_tool *tool)
{
    const fl_run_data *data = &tool->data;
    fl_examples *whole;
    s->limit_name = "seq_length";
    s->limit = tool->options.data.seq_length;
    FL_TRY(fl_examples_build(&whole, data->dataset, data->tokenizer, &data->format, INT32_MAX));
    fl_status status = measure(s, tool, &(token_set){.examples = whole});
    fl_examples_destroy(whole);
    return status;
}

static fl_status measure_pairs(data_summary *s, const data_tool *tool)
{
    const fl_run_data *data = &tool->data;
    const fl_pair_rules no_limit = {.compat = tool->options.train.dpo_compat,
                                    .max_length = INT32_MAX,
                                    .max_prompt_length = INT32_MAX - 1};
    fl_pairs *whole;
    s->limit_name = "dpo_max_length";
    s->limit = tool->options.train.dpo_max_length;
    FL_TRY(fl_pairs_build(&whole, data->dataset, data->tokenizer, &data->format.conversation,
                          &no_limit));
    fl_status status = measure(s, tool, &(token_set){.pairs = whole});
    fl_pairs_destroy(whole);
    return status;
}

static bool all_have_labels(const fl_dataset *dataset)
{
    for (size_t i = 0; i < dataset->count; i++)
        if (!dataset->records[i].label) return false;
    return true;
}

/* column_of[label]: the most frequent labels have their own, the others share the last one. */
static fl_status choose_columns(data_summary *s, size_t *column_of, size_t *size)
{
    size_t labels = s->labels.count, own = labels;
    if (labels > SUMMARY_COLUMNS) own = SUMMARY_COLUMNS - 1;
    s->num_columns = labels > own ? own + 1 : own;
    for (size_t l = 0; l < labels; l++)
        column_of[l] = own;
    for (size_t c = 0; c < own; c++) {
        size_t best = labels;
        for (size_t l = 0; l < labels; l++)
            if (column_of[l] == own && (best == labels || size[l] > size[best])) best = l;
        column_of[best] = c;
        s->column[c] = s->labels.names[best];
        s->column_records[c] = size[best];
        size[best] = 0;
    }
    if (labels > own) {
        s->column[own] = "others";
        for (size_t l = 0; l < labels; l++)
            s->column_records[own] += size[l];
    }
    return FL_OK;
}

static fl_status count_labels(data_summary *s, const fl_partition *p, size_t **column_of)
{
    size_t *size;
    FL_TRY(fl_arena_alloc(s->arena, column_of, s->labels.count, sizeof **column_of));
    FL_TRY(fl_arena_alloc(s->arena, &size, s->labels.count, sizeof *size));
    for (size_t i = 0; i < s->num_records; i++)
        size[s->labels.of[p->indices[i]]]++;
    return choose_columns(s, *column_of, size);
}

static fl_status count_clients(data_summary *s, const data_tool *tool)
{
    const fl_partition *p = &tool->data.partition;
    const token_set set = {tool->data.examples, tool->data.pairs};
    size_t *column_of;
    FL_TRY(count_labels(s, p, &column_of));
    FL_TRY(fl_arena_alloc(s->arena, &s->records, s->num_clients, sizeof *s->records));
    FL_TRY(fl_arena_alloc(s->arena, &s->tokens, s->num_clients, sizeof *s->tokens));
    for (size_t k = 0; k < s->num_clients; k++) {
        for (size_t i = p->offset[k]; i < p->offset[k + 1]; i++) {
            uint32_t record = p->indices[i];
            s->records[k][column_of[s->labels.of[record]]]++;
            s->tokens[k] += (size_t)total_tokens(&set, record);
        }
        size_t size = fl_partition_size(p, k);
        if (size > s->largest_client) s->largest_client = size;
    }
    return FL_OK;
}

fl_status data_summary_make(data_summary *out, const data_tool *tool)
{
    const fl_run_data *data = &tool->data;
    out->num_clients = data->partition.num_clients;
    out->num_records = data->partition.offset[out->num_clients];
    out->has_labels = all_have_labels(data->dataset);
    FL_TRY(fl_arena_create(&out->arena));
    FL_TRY(fl_record_groups_make(
        &out->labels, data->dataset, out->has_labels ? FL_KEY_LABEL : FL_KEY_NONE,
        tool->options.data.dataset_name, tool->options.data.dataset.label_field));
    FL_TRY((data->pairs ? measure_pairs : measure_examples)(out, tool));
    return count_clients(out, tool);
}

void data_summary_fini(data_summary *summary)
{
    fl_record_groups_fini(&summary->labels);
    fl_arena_destroy(summary->arena);
    *summary = (data_summary){0};
}

int64_t data_summary_quantile(const data_summary *s, double share)
{
    size_t rank = (size_t)ceil(share * (double)s->num_records);
    return s->length[rank > 0 ? rank - 1 : 0];
}

size_t data_summary_client_size(const data_summary *s, size_t client)
{
    size_t size = 0;
    for (size_t c = 0; c < s->num_columns; c++)
        size += s->records[client][c];
    return size;
}
