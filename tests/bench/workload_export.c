/* A workload for a peer: settings and token ids as JSON, the adapter as PEFT has it. */
#include "workload.h"

#include "base/file.h"
#include "io/adapter.h"

static const char *const format_names[] = {
    [FL_STORED] = "bfloat16", [FL_INT8] = "int8", [FL_NF4] = "nf4"};

static fl_status add_ids(fl_buf *text, const char *name, const int32_t *ids, int64_t count)
{
    FL_TRY(fl_buf_addf(text, "\"%s\": [", name));
    for (int64_t i = 0; i < count; i++)
        FL_TRY(fl_buf_addf(text, i ? ",%d" : "%d", (int)ids[i]));
    return fl_buf_add_text(text, "]");
}

/* {"ids": [...], "prompt": number of tokens that do not count} */
static fl_status add_example(fl_buf *text, const fl_examples *examples, size_t i)
{
    const int32_t *labels = examples->labels + examples->offset[i];
    int64_t length = fl_example_length(examples, i), prompt = 0;
    while (prompt < length && labels[prompt] == FL_LABEL_IGNORE)
        prompt++;
    FL_TRY(fl_buf_addf(text, "{\"prompt\": %lld, ", (long long)prompt));
    FL_TRY(add_ids(text, "ids", examples->ids + examples->offset[i], length));
    return fl_buf_add_text(text, "}");
}

/* {"prompt": [...], "chosen": [...], "rejected": [...]} */
static fl_status add_pair(fl_buf *text, const fl_pairs *pairs, size_t i)
{
    static const char *const names[] = {"prompt", "chosen", "rejected"};
    for (int part = 0; part < FL_NUM_PARTS; part++) {
        FL_TRY(fl_buf_add_text(text, part ? ", " : "{"));
        FL_TRY(add_ids(text, names[part], pairs->ids + fl_pair_begin(pairs, i, part),
                       fl_pair_length(pairs, i, part)));
    }
    return fl_buf_add_text(text, "}");
}

static fl_status add_settings(fl_buf *text, const workload_start *start)
{
    const workload *w = start->w;
    return fl_buf_addf(
        text,
        "{\"workload\": \"%s\", \"objective\": \"%s\", \"batch\": %lld, \"base\": \"%s\",\n"
        " \"model\": \"%s\", \"dropout\": %g, \"learning_rate\": %g, \"max_grad_norm\": %g, "
        "\"beta\": %g,\n"
        " \"data\": [\n",
        w->name, w->objective, (long long)w->batch, format_names[w->format], start->model_dir,
        w->dropout, start->train->learning_rate, start->train->max_grad_norm,
        start->train->dpo_beta);
}

static fl_status write_data(const char *dir, const workload_start *start, const workload_data *data)
{
    fl_buf text = {0}, path = {0};
    fl_status status = add_settings(&text, start);
    for (size_t i = 0; i < data->count && status == FL_OK; i++) {
        FL_TRY_GOTO(fl_buf_add_text(&text, i ? ",\n" : ""), out);
        FL_TRY_GOTO(data->examples ? add_example(&text, data->examples, i)
                                   : add_pair(&text, data->pairs, i),
                    out);
    }
    FL_TRY_GOTO(status, out);
    FL_TRY_GOTO(fl_buf_add_text(&text, "\n]}\n"), out);
    FL_TRY_GOTO(fl_path_join(&path, dir, "workload.json"), out);
    status = fl_file_write_atomic(fl_buf_text(&path), text.data, text.length);
out:
    fl_buf_fini(&text);
    fl_buf_fini(&path);
    return status;
}

static fl_status write_adapter(const char *dir, const workload_start *start)
{
    const char *names[FL_NUM_MODULES];
    fl_adapter_info info = {.lora_r = (int)start->lora->r,
                            .lora_alpha = start->lora->alpha,
                            .lora_dropout = start->w->dropout,
                            .base_model = start->model_dir,
                            .target_modules = names};
    info.num_target_modules = fl_lora_target_names(start->lora, start->model, names);
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, "adapter");
    if (status == FL_OK) status = fl_adapter_save(fl_buf_text(&path), start->adapter, &info);
    fl_buf_fini(&path);
    return status;
}

fl_status workload_export(const char *dir, const workload_start *start, const workload_data *data)
{
    FL_TRY(fl_make_dirs(dir));
    FL_TRY(write_data(dir, start, data));
    return write_adapter(dir, start);
}
