/* Flags and options in, answers out; what an answer is stands in session*.c. */
#include "app/generate_program.h"

#include "app/program.h"
#include "app/session.h"

#include <string.h>

static const char usage[] =
    "usage: fedllm_generate MODEL [--adapter DIR] [--prompt TEXT | --file FILE | --chat]\n"
    "                       [--key value ...]\n"
    "\n"
    "Answers prompts with a language model, with or without a LoRA adapter.  Without --prompt,\n"
    "--file and --chat the prompts are the lines of standard input.\n"
    "\n"
    "  fedllm_generate MODEL --adapter output/sft/adapter --prompt \"Name three colours.\"\n"
    "  fedllm_generate MODEL --adapter output/sft/adapter --chat --temperature 0.7\n"
    "\n"
    "  --help             this text and all keys\n"
    "  --version          version and what it was built with\n"
    "  --check            open everything, print the memory it takes, stop\n"
    "  --stop TEXT        end an answer where this text would come (\\n = line break); may be\n"
    "                     given several times\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 bad usage or input.\n";

static const fl_program program = {.name = "fedllm_generate",
                                   .usage = usage,
                                   .built_in = "backends: cpu\n",
                                   .help = fl_generate_options_help};

/* The prompts are read first: a wrong file should not wait for a large model. */
static fl_status answer_prompts(fl_session *session, const fl_command *command,
                                const fl_generate_options *options)
{
    fl_prompts prompts;
    fl_status status = fl_prompts_read(&prompts, options);
    if (status == FL_OK) status = fl_session_open(session, options, command->words[0]);
    if (status == FL_OK) status = fl_session_answer_all(session, &prompts);
    fl_prompts_fini(&prompts);
    return status;
}

/* A chat needs no prompts, and a check must not wait for those of standard input. */
static fl_status run(fl_session *session, const fl_command *command, fl_generate_options *options)
{
    FL_TRY(fl_generate_options_load(options, command->argc, command->argv));
    if (!command->check && !options->chat) return answer_prompts(session, command, options);
    FL_TRY(fl_session_open(session, options, command->words[0]));
    if (!command->check) return fl_session_chat(session);
    FL_TRY(
        fl_session_describe(session, options->chat ? 1 : options->batch_size, session->max_length));
    FL_INFO("everything is in order; nothing was generated (--check)");
    return FL_OK;
}

int fl_program_generate(int argc, char **argv)
{
    fl_command command = fl_command_parse(argc, argv, 1, NULL, 0);
    int exit_code;
    if (fl_program_answers(&program, &command, 1, &exit_code)) return exit_code;
    fl_generate_options options = {0};
    fl_session session = {0};
    fl_status status = run(&session, &command, &options);
    if (status != FL_OK) fl_program_complain(&program, options.conf);
    fl_session_close(&session);
    fl_generate_options_fini(&options);
    return fl_status_exit_code(status);
}
