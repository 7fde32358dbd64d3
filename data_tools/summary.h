/* Numbers about the records that a run keeps: lengths, sizes of the clients, their labels. */
#ifndef DATA_TOOLS_SUMMARY_H
#define DATA_TOOLS_SUMMARY_H

#include "data_tools/data_tool.h"

enum { SUMMARY_COLUMNS = 8 }; /* labels that are shown; the last one may stand for all others */

typedef struct data_summary {
    size_t num_records; /* kept by dataset_sample */
    int64_t *length;    /* [num_records] tokens before the limit cuts, ascending; of a preference
                           those of the prompt and its longer answer */
    size_t num_cut;     /* records longer than the limit */
    const char *limit_name; /* seq_length, dpo_max_length */
    int64_t limit;
    size_t num_tokens, num_lost, num_counted; /* kept tokens, cut off ones, those in the loss */
    size_t num_silent;                        /* records without a token in the loss */

    fl_record_groups labels; /* one group without a name when a record has no label */
    bool has_labels;
    size_t num_columns;
    const char *column[SUMMARY_COLUMNS]; /* names, the most frequent label first */
    size_t column_records[SUMMARY_COLUMNS];

    size_t num_clients;
    size_t (*records)[SUMMARY_COLUMNS]; /* [num_clients] by column */
    size_t *tokens;                     /* [num_clients] */
    size_t largest_client;              /* records */
    fl_arena *arena;
} data_summary;

/* tool->data is open.  A zeroed *out before, data_summary_fini after, also on error. */
fl_status data_summary_make(data_summary *out, const data_tool *tool);
void data_summary_fini(data_summary *summary);

/* The smallest length that this share of the records does not exceed; 0 < share <= 1. */
int64_t data_summary_quantile(const data_summary *summary, double share);
size_t data_summary_client_size(const data_summary *summary, size_t client);

#endif
