/* fedllm_data split and convert: records as JSON Lines. */
#include "base/file.h"
#include "data_tools/data_tool.h"
#include "data_tools/record_json.h"

#include <stdio.h>

/* Records that go into one file, in this order; indices = NULL: 0, 1, 2 ... */
typedef struct selection {
    const uint32_t *indices;
    size_t count;
} selection;

static fl_status put_records(fl_file_writer *file, const fl_dataset *dataset, selection chosen,
                             const record_names *names)
{
    fl_buf line = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < chosen.count && status == FL_OK; i++) {
        size_t record = chosen.indices ? chosen.indices[i] : i;
        fl_buf_clear(&line);
        status = record_json_add(&line, &dataset->records[record], dataset->form, names);
        if (status != FL_OK) status = fl_fail_context(status, "record %zu", record + 1);
        if (status == FL_OK) status = fl_file_put(file, line.data, line.length);
    }
    fl_buf_fini(&line);
    return status;
}

static fl_status write_file(const char *path, const fl_dataset *dataset, selection chosen,
                            const record_names *names)
{
    fl_file_writer file;
    fl_status status = fl_file_begin(&file, path);
    if (status == FL_OK) status = put_records(&file, dataset, chosen, names);
    if (status == FL_OK) status = fl_file_commit(&file);
    fl_file_abandon(&file);
    return status;
}

/* Numbers have leading zeros, so that the order of the names is that of the clients. */
static fl_status write_clients(const data_tool *tool, const record_names *names)
{
    const fl_partition *p = &tool->data.partition;
    fl_buf path = {0};
    fl_status status = FL_OK;
    int digits = snprintf(NULL, 0, "%zu", p->num_clients - 1);
    for (size_t k = 0; k < p->num_clients && status == FL_OK; k++) {
        const selection own = {p->indices + p->offset[k], fl_partition_size(p, k)};
        fl_buf_clear(&path);
        status = fl_buf_addf(&path, "%s/client_%0*zu.jsonl", tool->out, digits, k);
        if (status == FL_OK)
            status = write_file(fl_buf_text(&path), tool->data.dataset, own, names);
    }
    fl_buf_fini(&path);
    return status;
}

/* The clients that the data itself names are the split's only with natural; any other name in a
 * record would win over that of its file when the folder is read. */
static record_names names_of_split(const data_tool *tool)
{
    const fl_partition_strategy *strategy;
    record_names names = {.label = tool->options.data.dataset.label_field};
    if (fl_partition_strategy_find(&strategy, tool->options.fed.split_strategy) == FL_OK &&
        fl_partition_strategy_key(strategy) == FL_KEY_CLIENT)
        names.client = tool->options.data.dataset.client_field;
    return names;
}

fl_status data_split(data_tool *tool, fl_buf *out)
{
    FL_TRY(fl_run_data_split(&tool->data, &tool->options));
    FL_CHECK(!tool->out || fl_path_is_empty(tool->out), FL_ERR_USAGE,
             "%s: is there and is not an empty folder", tool->out);
    if (tool->check_only) return FL_OK;
    const fl_partition *p = &tool->data.partition;
    const record_names names = names_of_split(tool);
    FL_TRY(fl_make_dirs(tool->out));
    FL_TRY(write_clients(tool, &names));
    return fl_buf_addf(out, "%s: %zu records of %zu clients\n", tool->out,
                       p->offset[p->num_clients], p->num_clients);
}

fl_status data_convert(data_tool *tool, fl_buf *out)
{
    const fl_data_options *o = &tool->options.data;
    const record_names names = {.label = o->dataset.label_field, .client = o->dataset.client_field};
    FL_TRY(fl_run_data_load(&tool->data, &tool->options));
    FL_CHECK(!fl_path_exists(tool->out), FL_ERR_USAGE, "%s: is there already", tool->out);
    if (tool->check_only) return FL_OK;
    const fl_dataset *dataset = tool->data.dataset;
    const selection all = {NULL, dataset->count};
    FL_TRY(write_file(tool->out, dataset, all, &names));
    return fl_buf_addf(out, "%s: %zu records (read as %s)\n", tool->out, dataset->count,
                       dataset->kind);
}
