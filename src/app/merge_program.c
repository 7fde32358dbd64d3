/* Words and options in, one line about the new folder out; the work is that of model/merge.h. */
#include "app/merge_program.h"

#include "app/program.h"
#include "model/merge.h"

#include <stddef.h>
#include <string.h>

static const char usage[] =
    "usage: fedllm_merge MODEL ADAPTER OUT [--dtype keep|float32|float16|bfloat16]\n"
    "\n"
    "Writes the model folder OUT: the base MODEL with the LoRA adapter ADAPTER added to its\n"
    "weights, in the same shards, with the other files of MODEL beside them.  OUT must not be\n"
    "there, or be empty.  With the word none for ADAPTER only the element type changes (a folder\n"
    "of that name is ./none).\n"
    "\n"
    "  fedllm_merge models/llama output/sft/adapter models/llama-sft\n"
    "  fedllm_merge models/llama none models/llama-bf16 --dtype bfloat16\n"
    "\n"
    "  --help             this text and all keys\n"
    "  --version          version and what it was built with\n"
    "  --check            see whether model and adapter fit together, write nothing\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 bad usage or input.\n";

typedef struct options {
    const char *dtype;
    fl_conf *conf;
} options;

// clang-format off
static const fl_conf_row rows[] = {
    {"dtype", FL_CONF_WORD, offsetof(options, dtype), "keep", 0, 0, "keep|float32|float16|bfloat16",
     "element type of the weights in OUT; keep = each as it is"},
};
// clang-format on

static fl_status help(fl_buf *out)
{
    const fl_conf_group group = {"merge", "what is written", rows, 1, NULL};
    return fl_conf_help(&group, 1, out);
}

static const fl_program program = {
    .name = "fedllm_merge", .usage = usage, .built_in = "", .help = help};

static fl_status load_options(options *o, const fl_command *command)
{
    static fl_conf_group group; /* outlives the conf, once per process */
    group = (fl_conf_group){"merge", "what is written", rows, 1, o};
    FL_TRY(fl_conf_create(&o->conf, &group, 1));
    FL_TRY(fl_conf_override(o->conf, command->argc, command->argv));
    return fl_conf_finish(o->conf);
}

/* "keep" leaves job.dtype at its zero, F32, which is then not looked at. */
static fl_status run(options *o, const fl_command *command)
{
    FL_TRY(load_options(o, command));
    const char *adapter = command->words[1];
    fl_merge_job job = {.model = command->words[0],
                        .adapter = strcmp(adapter, "none") == 0 ? NULL : adapter,
                        .out = command->words[2],
                        .changes_dtype = strcmp(o->dtype, "keep") != 0,
                        .check_only = command->check};
    if (strcmp(o->dtype, "float16") == 0) job.dtype = FL_F16;
    if (strcmp(o->dtype, "bfloat16") == 0) job.dtype = FL_BF16;
    fl_merge_result result;
    FL_TRY(fl_merge(&job, &result));
    FL_INFO("%s: %zu of %zu tensors %smerged, %.1f MB in %zu files", job.out, result.num_merged,
            result.num_tensors, job.check_only ? "to be " : "", (double)result.weight_bytes / 1e6,
            result.num_files);
    if (result.num_left_out)
        FL_WARN("%zu entries of %s are folders or weights in other files and were left out",
                result.num_left_out, job.model);
    return FL_OK;
}

int fl_program_merge(int argc, char **argv)
{
    fl_command command = fl_command_parse(argc, argv, 3, NULL, 0);
    int exit_code;
    if (fl_program_answers(&program, &command, 3, &exit_code)) return exit_code;
    options o = {0};
    fl_status status = run(&o, &command);
    if (status != FL_OK) fl_program_complain(&program, o.conf);
    fl_conf_destroy(o.conf);
    return fl_status_exit_code(status);
}
