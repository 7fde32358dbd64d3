#include "app/run_data.h"

/* local_data_dir is put in front as it is. */
static fl_status name_data(fl_buf *path, const fl_options *o)
{
    return fl_buf_addf(path, "%s%s", o->data.local_data_dir, o->data.dataset_name);
}

fl_status fl_run_data_load(fl_run_data *out, const fl_options *o)
{
    const fl_dataset_options fields = {.label_field = o->data.label_field,
                                       .client_field = o->data.client_field};
    fl_buf path = {0};
    fl_status status = name_data(&path, o);
    if (status == FL_OK) status = fl_dataset_load(&out->dataset, fl_buf_text(&path), &fields);
    fl_buf_fini(&path);
    return status;
}

/* A record needs a field only if the split goes by it. */
static fl_status make_groups(fl_run_data *data, const fl_options *o)
{
    const fl_partition_strategy *strategy;
    FL_TRY(fl_partition_strategy_find(&strategy, o->fed.split_strategy));
    fl_record_key key = fl_partition_strategy_key(strategy);
    const char *field = key == FL_KEY_LABEL ? o->data.label_field : o->data.client_field;
    fl_buf path = {0};
    fl_status status = name_data(&path, o);
    if (status == FL_OK)
        status =
            fl_record_groups_make(&data->groups, data->dataset, key, fl_buf_text(&path), field);
    fl_buf_fini(&path);
    return status;
}

fl_status fl_run_data_split(fl_run_data *out, fl_options *options)
{
    FL_TRY(fl_run_data_load(out, options));
    FL_TRY(make_groups(out, options));
    FL_TRY(fl_partition_make(&out->partition, &out->groups, &options->fed,
                             (size_t)options->data.dataset_sample, (uint64_t)options->train.seed));
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
    FL_TRY(fl_examples_build(&out->examples, out->dataset, out->tokenizer, &out->format,
                             o->data.seq_length));
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
