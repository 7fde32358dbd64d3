/* Words and options in, text out; the work is done by the commands. */
#include "data_tools/data_program.h"

#include "app/program.h"
#include "base/file.h"
#include "data_tools/data_tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: fedllm_data inspect CONFIG [--picture FILE.svg] [--key value ...]\n"
    "       fedllm_data render CONFIG [--record N] [--client K] [--key value ...]\n"
    "       fedllm_data split CONFIG --out DIR [--key value ...]\n"
    "       fedllm_data convert IN OUT.jsonl [--key value ...]\n"
    "\n"
    "Looks at the data of a run, or writes it.  CONFIG and the keys are those of fedllm_mpi.\n"
    "\n"
    "  inspect   records, token lengths, sizes of the clients, their labels; also as a picture\n"
    "  render    one record as the model sees it, with what the loss counts between marks\n"
    "  split     the records of client K as DIR/client_K.jsonl; split_strategy natural reads them\n"
    "  convert   a data set of any kind as JSON Lines\n"
    "\n"
    "  --picture FILE.svg clients and token lengths as bars\n"
    "  --record N         the N-th record of the data, or with --client K of client K (from 0)\n"
    "  --out DIR          folder that is not there, or empty\n"
    "  --help             this text and all keys\n"
    "  --version          version and what it was built with\n"
    "  --check            read everything, see that it is in order, write nothing\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 bad usage, config or input.\n";

static const fl_program program = {
    .name = "fedllm_data", .usage = usage, .built_in = "", .help = fl_options_help};

typedef struct tool_command {
    const char *name;
    int num_words;                  /* with its own name */
    bool pictures, chooses, writes; /* takes --picture; --record and --client; --out */
    fl_status (*run)(data_tool *tool, fl_buf *out);
} tool_command;

static const tool_command commands[] = {
    {.name = "inspect", .num_words = 2, .pictures = true, .run = data_inspect},
    {.name = "render", .num_words = 2, .chooses = true, .run = data_render},
    {.name = "split", .num_words = 2, .writes = true, .run = data_split},
    {.name = "convert", .num_words = 3, .run = data_convert},
};

static fl_status find_command(const tool_command **out, const fl_command *command)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, command->words[0]) == 0) *out = &commands[i];
    FL_CHECK(*out, FL_ERR_USAGE,
             "there is no command %s; commands are inspect, render, split, convert",
             command->words[0]);
    FL_CHECK(command->num_words == (*out)->num_words, FL_ERR_USAGE,
             "%s takes %d arguments in front of the options, not %d", (*out)->name,
             (*out)->num_words - 1, command->num_words - 1);
    return FL_OK;
}

/* *out stays as it is when the option is not given. */
static fl_status take_number(fl_command *command, const char *word, int64_t minimum, int64_t *out)
{
    const char *text;
    char *end;
    FL_TRY(fl_args_take(&command->argc, command->argv, word, &text));
    if (!text) return FL_OK;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    FL_CHECK(text[0] && !*end && errno == 0 && value >= minimum, FL_ERR_USAGE,
             "command line: %s = %s is not a whole number from %lld", word, text,
             (long long)minimum);
    *out = value;
    return FL_OK;
}

static fl_status take_options(data_tool *tool, const tool_command *kind, fl_command *command)
{
    tool->record = 1;
    tool->client = -1;
    tool->check_only = command->check;
    if (kind->pictures)
        FL_TRY(fl_args_take(&command->argc, command->argv, "--picture", &tool->picture));
    if (kind->chooses) {
        FL_TRY(take_number(command, "--record", 1, &tool->record));
        FL_TRY(take_number(command, "--client", 0, &tool->client));
    }
    if (!kind->writes) return FL_OK;
    FL_TRY(fl_args_take(&command->argc, command->argv, "--out", &tool->out));
    FL_CHECK((tool->out && tool->out[0]) || command->check, FL_ERR_USAGE,
             "%s needs --out DIR, the folder to write to", kind->name);
    return FL_OK;
}

static fl_status load_config(data_tool *tool, const char *path, const fl_command *command)
{
    fl_buf text = {0};
    fl_status status = fl_file_read(&text, path, FL_MAX_CONFIG);
    if (status == FL_OK)
        status = fl_options_parse(&tool->options, path, &text, command->argc, command->argv);
    fl_buf_fini(&text);
    return status;
}

/* There is no config file: IN is the data, and no model is looked at. */
static fl_status load_words(data_tool *tool, const fl_command *command)
{
    const int own = 4;
    char **args;
    fl_buf none = {0};
    FL_TRY(fl_alloc(&args, (size_t)(command->argc + own), sizeof *args));
    memcpy(args, command->argv, (size_t)command->argc * sizeof *args);
    char **last = args + command->argc;
    last[0] = "--dataset_name";
    last[1] = (char *)command->words[1];
    last[2] = "--model_name_or_path";
    last[3] = "none";
    fl_status status =
        fl_options_parse(&tool->options, "command line", &none, command->argc + own, args);
    fl_free(args);
    tool->out = command->words[2];
    return status;
}

static fl_status run(data_tool *tool, fl_command *command, fl_buf *out)
{
    const tool_command *kind = NULL;
    FL_TRY(find_command(&kind, command));
    FL_TRY(take_options(tool, kind, command));
    FL_TRY(kind->num_words == 2 ? load_config(tool, command->words[1], command)
                                : load_words(tool, command));
    FL_TRY(kind->run(tool, out));
    if (!command->check) return FL_OK;
    fl_buf_clear(out);
    return fl_buf_add_text(out, "everything is in order; nothing was written (--check)\n");
}

static fl_status print(const fl_buf *out)
{
    size_t written = fwrite(fl_buf_text(out), 1, out->length, stdout);
    FL_CHECK(fflush(stdout) == 0 && written == out->length, FL_ERR_IO,
             "cannot write to the terminal: %s", strerror(errno));
    return FL_OK;
}

int fl_program_data(int argc, char **argv)
{
    fl_command command = fl_command_parse(argc, argv, 3, NULL, 0);
    int exit_code;
    if (fl_program_answers(&program, &command, 1, &exit_code)) return exit_code;
    data_tool tool = {0};
    fl_buf out = {0};
    fl_status status = run(&tool, &command, &out);
    if (status == FL_OK) status = print(&out);
    if (status != FL_OK) fl_program_complain(&program, tool.options.conf);
    fl_buf_fini(&out);
    fl_run_data_close(&tool.data);
    fl_options_fini(&tool.options);
    return fl_status_exit_code(status);
}

fl_status data_add_visible(fl_buf *out, const char *text, size_t length, bool lines)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n' && !lines)
            FL_TRY(fl_buf_add_text(out, "\\n"));
        else if (c == '\t')
            FL_TRY(fl_buf_add_text(out, lines ? "    " : "\\t"));
        else if ((c < ' ' && c != '\n') || c == 0x7f)
            FL_TRY(fl_buf_addf(out, "\\x%02x", c));
        else
            FL_TRY(fl_buf_add(out, text + i, 1));
    }
    return FL_OK;
}
