#include "app/options.h"

#include "fed/algorithm.h"
#include "fed/device_sums.h"

#include <stddef.h>
#include <string.h>

#define DATA(field) offsetof(fl_data_options, field)
#define LORA(field) offsetof(fl_lora_options, field)
#define RUN(field)  offsetof(fl_run_options, field)
#define REF(field)  offsetof(fl_reference_options, field)

// clang-format off
static const fl_conf_row model_rows[] = {
    {"model_name_or_path", FL_CONF_STRING, DATA(model_name_or_path), "", 0, 0, NULL,
     "folder of the base model as Hugging Face lays it out (config.json, safetensors, tokenizer)"},
    {"load_in_8bit", FL_CONF_BOOL, DATA(load_in_8bit), "false", 0, 0, NULL,
     "keep the linears of the layers in int8, an absmax per row; computed at load"},
    {"load_in_4bit", FL_CONF_BOOL, DATA(load_in_4bit), "false", 0, 0, NULL,
     "keep them in NF4, blocks of 64 with double quantisation; computed at load"},
};
static const fl_conf_row data_rows[] = {
    {"dataset_name", FL_CONF_STRING, DATA(dataset_name), "", 0, 0, NULL,
     "file of training records (JSON, JSON Lines, CSV, also .gz), a folder of such files, or a name "
     "that the reference knows; docs/data.md"},
    {"dataset_kind", FL_CONF_WORD, DATA(dataset.kind), "auto", 0, 0, FL_DATASET_KINDS,
     "what the records' fields mean; auto: by the fields of the first record"},
    {"instruction_field", FL_CONF_STRING, DATA(dataset.instruction_field), "", 0, 0, NULL,
     "for other fields: the one that asks"},
    {"input_field", FL_CONF_STRING, DATA(dataset.input_field), "", 0, 0, NULL,
     "the one that is added to it after a space; may be missing"},
    {"response_field", FL_CONF_STRING, DATA(dataset.response_field), "", 0, 0, NULL,
     "the one that answers"},
    {"local_data_dir", FL_CONF_STRING, DATA(local_data_dir), "", 0, 0, NULL,
     "text put in front of dataset_name as it is"},
    {"dataset_sample", FL_CONF_INT, DATA(dataset_sample), "20000", 0, 4294967295.0, NULL,
     "records kept after the first shuffle; 0 = all"},
    {"label_field", FL_CONF_STRING, DATA(dataset.label_field), "domain", 0, 0, NULL,
     "field of a record that split_strategy dirichlet and domain go by"},
    {"client_field", FL_CONF_STRING, DATA(dataset.client_field), "client", 0, 0, NULL,
     "field that names a record's client, for split_strategy natural"},
    {"template", FL_CONF_STRING, DATA(template), "alpaca", 0, 0, NULL,
     "text around what is said: alpaca, vicuna, another name of docs/templates.md, chat (the model's "
     "own), custom (the keys chat_...)"},
    {"seq_length", FL_CONF_INT, DATA(seq_length), "512", 1, 1048576, NULL,
     "tokens of an example at the most; longer ones lose their end"},
};
static const fl_conf_row lora_rows[] = {
    {"use_peft", FL_CONF_BOOL, LORA(use_peft), "true", 0, 0, NULL,
     "train a LoRA adapter; the only kind of training there is"},
    {"peft_lora_r", FL_CONF_INT, LORA(peft_lora_r), "8", 1, 4096, NULL, "LoRA rank r"},
    {"peft_lora_alpha", FL_CONF_INT, LORA(peft_lora_alpha), "16", 1, 65536, NULL,
     "LoRA alpha; the update is scaled by alpha / r"},
    {"lora_dropout", FL_CONF_FLOAT, LORA(lora_dropout), "0.05", 0, 0.99, NULL,
     "dropout on the input of LoRA's A"},
    {"use_rslora", FL_CONF_BOOL, LORA(use_rslora), "false", 0, 0, NULL,
     "scale the update by alpha / sqrt(r) instead"},
    {"target_modules", FL_CONF_LIST, LORA(target_modules), "", 0, 0, NULL,
     "adapted linears: names such as q_proj, all-linear, or one regular expression for "
     "whole paths (model.layers.0.self_attn.q_proj); empty: PEFT's choice for the family, q_proj "
     "and v_proj (Phi-3: qkv_proj)"},
    {"rank_pattern", FL_CONF_LIST, LORA(rank_pattern), "", 0, 0, NULL,
     "modules with a rank of their own, EXPRESSION=RANK as in PEFT, the first that matches the end "
     "of model.layers.0.self_attn.q_proj counts: q_proj=4"},
    {"alpha_pattern", FL_CONF_LIST, LORA(alpha_pattern), "", 0, 0, NULL,
     "modules with an alpha of their own, EXPRESSION=ALPHA likewise"},
};
static const fl_conf_row backend_rows[] = {
    {"backend", FL_CONF_WORD, RUN(backend), "auto", 0, 0, "auto|cpu|cuda|cuda_emu",
     "where the mathematics runs; auto takes the best one present; cuda_emu is cuda's source run by "
     "the host, for tests"},
    {"compute_dtype", FL_CONF_WORD, RUN(compute_dtype), "auto", 0, 0, "auto|float32|bfloat16",
     "what matrix products multiply and activations are stored in; all else is float32; auto: "
     "bfloat16 on cuda, float32 elsewhere"},
    {"expand_base", FL_CONF_WORD, RUN(expand_base), "auto", 0, 0, "auto|yes|no",
     "whether a base that is not stored in bfloat16 (int8, NF4, float16, float32) is widened to it "
     "once, when it is read, instead of at every product; for a device that computes in bfloat16; "
     "auto: where all devices of the run have the memory; products see the same values"},
    {"device_sums", FL_CONF_WORD, RUN(device_sums), "auto", 0, 0, FL_DEVICE_SUMS_WORDS,
     "how updates of several devices are added: nccl, from device to device, or mpi, through the "
     "hosts; auto: nccl where every rank that trains has a device of its own; the numbers are the "
     "same"},
    {"gemm_plans", FL_CONF_STRING, RUN(gemm_plans), "", 0, 0, NULL,
     "file of algorithms for cuda's products that --tune has made on such a device; it changes the "
     "last bits; empty: the library's own choice"},
    {"threads", FL_CONF_INT, RUN(threads), "1", 1, 256, NULL,
     "threads of each rank; results do not depend on it"},
    {"clients_per_pass", FL_CONF_INT, RUN(clients_per_pass), "1", 1, 1024, NULL,
     "clients of a rank that train at once: their micro-batches go through the base as one batch, "
     "which takes memory for all of them and pays where one is too small to keep a device busy; "
     "results do not depend on it (cuda: but for the last bits, docs/gpu.md)"},
    {"memory_limit", FL_CONF_FLOAT, RUN(memory_limit), "0", 0, 1e9, NULL,
     "GB (1e9 bytes) that all ranks of a node may take together; 0: what the machine has left"},
    {"device_memory_limit", FL_CONF_FLOAT, RUN(device_memory_limit), "0", 0, 1e9, NULL,
     "GB that the ranks of one device may take of it together; 0: what it has free"},
};
static const fl_conf_row output_rows[] = {
    {"output_dir", FL_CONF_STRING, RUN(output_dir), "output", 0, 0, NULL,
     "folder of the run; starting again with the same folder continues it"},
};
static const fl_conf_row log_rows[] = {
    {"log_level", FL_CONF_WORD, RUN(log_level), "info", 0, 0, "error|warn|info|debug",
     "how much the terminal shows"},
};
static const fl_conf_row reference_rows[] = {
    {"log_with", FL_CONF_STRING, REF(ignored_text), "none", 0, 0, NULL, "ignored"},
    {"logging_steps", FL_CONF_INT, REF(ignored_number), "100", 0, 1e9, NULL, "ignored"},
    {"num_train_epochs", FL_CONF_INT, REF(ignored_number), "3", 0, 1e9, NULL, "ignored"},
    {"save_steps", FL_CONF_INT, REF(ignored_number), "1000", 0, 1e9, NULL, "ignored"},
    {"save_total_limit", FL_CONF_INT, REF(ignored_number), "10", 0, 1e9, NULL, "ignored"},
    {"trust_remote_code", FL_CONF_BOOL, REF(ignored_flag), "false", 0, 0, NULL, "ignored"},
    {"use_auth_token", FL_CONF_BOOL, REF(ignored_flag), "false", 0, 0, NULL, "ignored"},
    {"push_to_hub", FL_CONF_BOOL, REF(ignored_flag), "false", 0, 0, NULL, "ignored"},
    {"hub_model_id", FL_CONF_STRING, REF(ignored_text), "", 0, 0, NULL, "ignored"},
};
// clang-format on

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])
enum { NUM_GROUPS = 11 };

/* options = NULL: for texts only. */
static void join_groups(fl_conf_group groups[NUM_GROUPS], fl_options *options)
{
    fl_options *o = options;
    size_t fed_row_count;
    const fl_conf_row *fed_rows = fl_algorithm_rows(&fed_row_count);
    const fl_conf_group joined[NUM_GROUPS] = {
        {"model", "the frozen base", model_rows, COUNT(model_rows), o ? &o->data : NULL},
        {"data", "training records", data_rows, COUNT(data_rows), o ? &o->data : NULL},
        {"chat", "the conversation format of template = custom", fl_custom_rows,
         fl_custom_row_count, o ? &o->custom : NULL},
        {"lora", "the adapter", lora_rows, COUNT(lora_rows), o ? &o->lora : NULL},
        {"train", "local training", fl_train_rows, fl_train_row_count, o ? &o->train : NULL},
        {"fed", "the federation", fed_rows, fed_row_count, o ? &o->fed : NULL},
        {"eval", "held-out evaluation", fl_eval_rows, fl_eval_row_count, o ? &o->eval : NULL},
        {"backend", "where it runs", backend_rows, COUNT(backend_rows), o ? &o->run : NULL},
        {"output", "what it leaves", output_rows, COUNT(output_rows), o ? &o->run : NULL},
        {"log", "what it says", log_rows, COUNT(log_rows), o ? &o->run : NULL},
        {"reference", "accepted so that the reference's command lines carry over", reference_rows,
         COUNT(reference_rows), o ? &o->reference : NULL},
    };
    memcpy(groups, joined, sizeof joined);
}

static fl_status check(const fl_options *o)
{
    FL_CHECK(o->data.model_name_or_path[0], FL_ERR_USAGE, "model_name_or_path is not set");
    FL_CHECK(o->data.dataset_name[0], FL_ERR_USAGE, "dataset_name is not set");
    FL_TRY(fl_text_format_check(o->data.template, &o->custom));
    FL_CHECK(o->run.output_dir[0], FL_ERR_USAGE, "output_dir is empty");
    FL_CHECK(o->lora.use_peft, FL_ERR_UNSUPPORTED,
             "use_peft = false: training without an adapter is not supported");
    return fl_options_check_clients(o);
}

/* The default of sample_clients gives way to a smaller num_clients; a wish does not. */
fl_status fl_options_check_clients(const fl_options *o)
{
    FL_CHECK(o->fed.num_clients == 0 || o->fed.sample_clients <= o->fed.num_clients ||
                 !fl_conf_is_set(o->conf, "sample_clients"),
             FL_ERR_USAGE, "sample_clients = %lld is more than num_clients = %lld",
             (long long)o->fed.sample_clients, (long long)o->fed.num_clients);
    return FL_OK;
}

/* Keys whose default depends on the objective, as if they had been given. */
static fl_status choose_defaults(fl_options *o)
{
    static char *const minimum[] = {"--learning_rate_min", FL_DPO_LEARNING_RATE_MIN};
    if (strcmp(o->train.objective, "dpo") != 0 || fl_conf_is_set(o->conf, "learning_rate_min"))
        return FL_OK;
    FL_TRY(fl_conf_override(o->conf, 2, minimum));
    return fl_conf_finish(o->conf);
}

/* A learning rate below the default minimum stays constant, where the reference's would rise. */
static void settle(fl_options *o)
{
    fl_train_config *train = &o->train;
    o->data.dataset.dpo_compat = train->dpo_compat;
    if (!fl_fed_is_reference(&o->fed) && train->learning_rate < train->learning_rate_min)
        train->learning_rate_min = train->learning_rate;
}

/* The parser takes a C string: what stands behind a zero byte would silently not be read. */
static fl_status check_text(const char *path, const fl_buf *text)
{
    size_t length = strlen(fl_buf_text(text)), line = 1;
    for (size_t i = 0; i < length; i++)
        line += text->data[i] == '\n';
    FL_CHECK(length == text->length, FL_ERR_USAGE, "%s:%zu: zero byte in the text", path, line);
    return FL_OK;
}

static fl_status parse(fl_options *o, const char *path, const fl_buf *text, int argc,
                       char *const *argv)
{
    FL_TRY(check_text(path, text));
    FL_TRY(fl_conf_load(o->conf, path, fl_buf_text(text)));
    FL_TRY(fl_conf_override(o->conf, argc, argv));
    FL_TRY(fl_conf_finish(o->conf));
    FL_TRY(choose_defaults(o));
    FL_TRY(check(o));
    settle(o);
    return FL_OK;
}

fl_status fl_options_parse(fl_options *out, const char *path, const fl_buf *text, int argc,
                           char *const *argv)
{
    static fl_conf_group groups[NUM_GROUPS]; /* outlive the conf, once per process */
    *out = (fl_options){0};
    join_groups(groups, out);
    FL_TRY(fl_conf_create(&out->conf, groups, NUM_GROUPS));
    return parse(out, path, text, argc, argv);
}

void fl_options_fini(fl_options *options)
{
    fl_conf_destroy(options->conf);
    *options = (fl_options){0};
}

fl_status fl_options_help(fl_buf *out)
{
    fl_conf_group groups[NUM_GROUPS];
    join_groups(groups, NULL);
    return fl_conf_help(groups, NUM_GROUPS, out);
}

fl_status fl_options_markdown(fl_buf *out)
{
    fl_conf_group groups[NUM_GROUPS];
    join_groups(groups, NULL);
    return fl_conf_markdown(groups, NUM_GROUPS, out);
}
