#include "app/run_data.h"

/* The split asks for a field only if it goes by it. */
fl_status fl_run_data_split(fl_run_data *out, fl_options *options)
{
    const fl_options *o = options;
    const fl_dataset_options *fields = &o->data.dataset;
    const fl_partition_strategy *strategy;
    FL_TRY(fl_partition_strategy_find(&strategy, o->fed.split_strategy));
    FL_TRY(fl_dataset_open(&out->dataset, o->data.local_data_dir, o->data.dataset_name, fields));
    const fl_record_key key = fl_partition_strategy_key(strategy);
    FL_TRY(fl_record_groups_make(&out->groups, out->dataset, key, o->data.dataset_name,
                                 key == FL_KEY_LABEL ? fields->label_field : fields->client_field));
    FL_TRY(fl_partition_make(&out->partition, &out->groups, &o->fed, (size_t)o->data.dataset_sample,
                             (uint64_t)o->train.seed));
    options->fed.num_clients = (int64_t)out->partition.num_clients;
    return fl_options_check_clients(options);
}

fl_status fl_run_data_open(fl_run_data *out, fl_options *options)
{
    const fl_options *o = options;
    FL_TRY(fl_tokenizer_open(&out->tokenizer, o->data.model_name_or_path));
    FL_TRY(fl_text_format_open(&out->format, o->data.template, &o->custom, out->tokenizer,
                               o->data.model_name_or_path));
    FL_TRY(fl_run_data_split(out, options));
    const fl_status status = fl_examples_build(&out->examples, out->dataset, out->tokenizer,
                                               &out->format, o->data.seq_length);
    if (status != FL_OK) return fl_fail_context(status, "%s", o->data.dataset_name);
    FL_CHECK(out->examples->num_targets > 0, FL_ERR_INPUT,
             "%s: no example keeps a token of its response within seq_length = %lld",
             o->data.dataset_name, (long long)o->data.seq_length);
    return FL_OK;
}

void fl_run_data_close(fl_run_data *data)
{
    fl_partition_fini(&data->partition);
    fl_record_groups_fini(&data->groups);
    fl_examples_destroy(data->examples);
    fl_dataset_destroy(data->dataset);
    fl_text_format_fini(&data->format);
    fl_tokenizer_close(data->tokenizer);
    *data = (fl_run_data){0};
}
