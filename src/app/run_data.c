#include "app/run_data.h"

#include "data/pairs_build.h"

#include <math.h>
fl_status fl_run_data_load(fl_run_data *out, const fl_options *o)
{
    return fl_dataset_open(&out->dataset, o->data.local_data_dir, o->data.dataset_name,
                           &o->data.dataset);
}

/* The split asks for a field only if it goes by it. */
fl_status fl_run_data_split(fl_run_data *out, fl_options *options)
{
    const fl_options *o = options;
    const fl_dataset_options *fields = &o->data.dataset;
    const fl_partition_strategy *strategy;
    FL_TRY(fl_partition_strategy_find(&strategy, o->fed.split_strategy));
    FL_TRY(fl_run_data_load(out, o));
    const fl_record_key key = fl_partition_strategy_key(strategy);
    FL_TRY(fl_record_groups_make(&out->groups, out->dataset, key, o->data.dataset_name,
                                 key == FL_KEY_LABEL ? fields->label_field : fields->client_field));
    FL_TRY(fl_partition_make(&out->partition, &out->groups, &o->fed, (size_t)o->data.dataset_sample,
                             (uint64_t)o->train.seed));
    options->fed.num_clients = (int64_t)out->partition.num_clients;
    return fl_options_check_clients(options);
}

static fl_status open_examples(fl_run_data *out, const fl_options *o)
{
    const fl_status status = fl_examples_build(&out->examples, out->dataset, out->tokenizer,
                                               &out->format, o->data.seq_length);
    if (status != FL_OK) return fl_fail_context(status, "%s", o->data.dataset_name);
    FL_CHECK(out->examples->num_targets > 0, FL_ERR_INPUT,
             "%s: no example keeps a token of its response within seq_length = %lld",
             o->data.dataset_name, (long long)o->data.seq_length);
    return FL_OK;
}

static fl_status open_pairs(fl_run_data *out, const fl_options *o)
{
    const fl_pair_rules rules = {.compat = o->train.dpo_compat,
                                 .max_length = o->train.dpo_max_length,
                                 .max_prompt_length = o->train.dpo_max_prompt_length};
    const fl_status status = fl_pairs_build(&out->pairs, out->dataset, out->tokenizer,
                                            &out->format.conversation, &rules);
    if (status != FL_OK) return fl_fail_context(status, "%s", o->data.dataset_name);
    FL_TRY(fl_alloc(&out->reference, 2 * out->pairs->count, sizeof *out->reference));
    for (size_t i = 0; i < 2 * out->pairs->count; i++)
        out->reference[i] = NAN;
    return FL_OK;
}

fl_status fl_run_data_open(fl_run_data *out, fl_options *options)
{
    out->objective = fl_objective_find(options->train.objective);
    const char *model = options->data.model_name_or_path;
    FL_TRY(fl_tokenizer_open(&out->tokenizer, model));
    FL_TRY(fl_text_format_open(&out->format, options->data.template, &options->custom,
                               out->tokenizer, model));
    FL_TRY(fl_run_data_split(out, options));
    return out->objective == &fl_objective_dpo ? open_pairs(out, options)
                                               : open_examples(out, options);
}

fl_train_data fl_run_data_train(const fl_run_data *data, const fl_backend_ops *ops)
{
    return (fl_train_data){.examples = data->examples,
                           .pairs = data->pairs,
                           .reference = data->reference,
                           .share_prompts = ops->shares_prefixes};
}

void fl_run_data_close(fl_run_data *data)
{
    fl_partition_fini(&data->partition);
    fl_record_groups_fini(&data->groups);
    fl_examples_destroy(data->examples);
    fl_pairs_destroy(data->pairs);
    fl_free(data->reference);
    fl_dataset_destroy(data->dataset);
    fl_text_format_fini(&data->format);
    fl_tokenizer_close(data->tokenizer);
    *data = (fl_run_data){0};
}
