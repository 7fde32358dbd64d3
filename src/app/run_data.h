/* The records of a run and their split: what needs neither ranks nor a model's weights. */
#ifndef FL_APP_RUN_DATA_H
#define FL_APP_RUN_DATA_H

#include "app/options.h"
#include "data/example.h"
#include "fed/partition.h"

typedef struct fl_run_data {
    fl_tokenizer *tokenizer;
    fl_text_format format; /* what `template` says */
    fl_dataset *dataset;
    fl_examples *examples;   /* [dataset->count] */
    fl_record_groups groups; /* of what the split goes by */
    fl_partition partition;
} fl_run_data;

/* Reads, tokenises and splits; a zeroed *out before, fl_run_data_close after, also on error.  With
 * num_clients = 0 sets options->fed.num_clients to what the data tells.  Errors: those of the
 * parts; FL_ERR_INPUT when no token of any response is left. */
fl_status fl_run_data_open(fl_run_data *out, fl_options *options);
/* The same without tokenizer and examples. */
fl_status fl_run_data_split(fl_run_data *out, fl_options *options);
void fl_run_data_close(fl_run_data *data);

#endif
