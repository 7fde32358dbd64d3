/* The records of a run and their split: what needs neither ranks nor a model's weights. */
#ifndef FL_APP_RUN_DATA_H
#define FL_APP_RUN_DATA_H

#include "app/options.h"
#include "data/example.h"
#include "fed/partition.h"
#include "train/objective.h"

typedef struct fl_run_data {
    fl_tokenizer *tokenizer;
    fl_text_format format; /* what `template` says */
    fl_dataset *dataset;
    const fl_objective *objective;
    fl_examples *examples; /* [dataset->count] as the objective takes them, the other is NULL */
    fl_pairs *pairs;
    double *reference;       /* [dataset->count][2] see fl_train_data; NULL unless it needs them */
    fl_record_groups groups; /* of what the split goes by */
    fl_partition partition;
} fl_run_data;

/* Reads, tokenises and splits; a zeroed *out before, fl_run_data_close after, also on error.  With
 * num_clients = 0 sets options->fed.num_clients to what the data tells.  Errors: those of the
 * parts; FL_ERR_INPUT when no token of any response is left. */
fl_status fl_run_data_open(fl_run_data *out, fl_options *options);
/* The same without tokenizer and examples, and without groups and partition either. */
fl_status fl_run_data_split(fl_run_data *out, fl_options *options);
fl_status fl_run_data_load(fl_run_data *out, const fl_options *options);
/* The same for local training on this backend; points into `data`. */
fl_train_data fl_run_data_train(const fl_run_data *data, const fl_backend_ops *ops);
void fl_run_data_close(fl_run_data *data);

#endif
