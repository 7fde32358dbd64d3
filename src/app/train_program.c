#include "app/train_program.h"

#include "app/options_load.h"
#include "app/program.h"
#include "app/run.h"
#include "fed/agree.h"

#include <string.h>

static const char usage[] =
    "usage: fedllm_mpi CONFIG [--key value ...]\n"
    "\n"
    "Federated fine-tuning of a language model with LoRA: rank 0 aggregates, the other ranks "
    "train\n"
    "clients.  Start it with mpirun or srun; one rank does everything itself.\n"
    "\n"
    "  mpirun -np 4 fedllm_mpi configs/sft.cfg --output_dir runs/first\n"
    "\n"
    "  --help             this text and all keys\n"
    "  --help-markdown    the keys as the page docs/config.md\n"
    "  --version          version and what it was built with\n"
    "  --tune FILE        time the algorithms of cuda's products, write the file for gemm_plans, "
    "stop\n"
    "  --check            check config, data and model, print the plan, stop\n"
    "  --fresh            start over: remove the run that output_dir holds\n"
    "\n"
    "The same command started again continues where the run was, whatever stopped it.\n"
    "Exit codes: 0 done, 1 the run failed, 2 bad usage, config or input,\n"
    "3 stopped by a declared limit.\n";

static const fl_program program = {.name = "fedllm_mpi",
                                   .usage = usage,
                                   .built_in = "backends: cpu\ntransports: mpi, self\n",
                                   .help = fl_options_help,
                                   .markdown = fl_options_markdown};

/* The command line, once per process. */
typedef struct invocation {
    fl_command command;
    bool fresh;
    const char *tune; /* file; NULL: train */
} invocation;

/* Collective: files of the run, the rounds, the report. */
static fl_status train(fl_run *run, bool fresh)
{
    bool root = fl_transport_rank(run->transport) == 0;
    FL_TRY(fl_agree(run->transport, root ? fl_run_files_open(run, fresh) : FL_OK));
    fl_run_describe(run, false);
    FL_TRY(fl_run_rounds(run));
    if (!root) return FL_OK;
    if (run->start_round == run->options.fed.num_rounds)
        FL_INFO("%s is finished: all %lld rounds are done", run->options.run.output_dir,
                (long long)run->start_round);
    return fl_report(run);
}

static fl_status run_all(fl_run *run, const invocation *in)
{
    int rank = fl_transport_rank(run->transport);
    FL_TRY(fl_options_load(&run->options, run->transport, in->command.words[0], in->command.argc,
                           in->command.argv));
    fl_log_init(rank, fl_log_level_of(run->options.run.log_level));
    if (in->tune) run->options.run.gemm_plans = ""; /* it is about to be written */
    FL_TRY(fl_run_open(run));
    if (in->tune) return fl_run_tune(run, in->tune);
    if (!in->command.check) return train(run, in->fresh);
    fl_run_describe(run, true);
    FL_INFO("everything is in order; nothing was trained (--check)");
    return FL_OK;
}

/* Rank 0 speaks for all: fl_agree gave every rank the same status and text.  Faults of the config
 * are told all at once. */
static void print_error(const fl_run *run, int rank)
{
    const char *lines = run->options.conf ? fl_conf_errors(run->options.conf) : "";
    if (rank != 0) return;
    if (!lines[0]) lines = fl_error_text();
    while (lines[0]) {
        int length = (int)strcspn(lines, "\n");
        fl_log(FL_LOG_ERROR, "%.*s", length, lines);
        lines += length + (lines[length] == '\n');
    }
}

static int run_program(fl_transport *transport, const invocation *in)
{
    static fl_run run;
    int rank = fl_transport_rank(transport);
    run.transport = transport;
    fl_log_init(rank, FL_LOG_INFO);
    fl_status status = run_all(&run, in);
    if (status != FL_OK) print_error(&run, rank);
    if (status == FL_ERR_COMM) fl_transport_abort(transport, fl_status_exit_code(status));
    fl_run_close(&run);
    fl_log_close();
    return fl_status_exit_code(status);
}

int fl_program_train(int argc, char **argv)
{
    invocation in = {0};
    int exit_code;
    in.command = fl_command_parse(argc, argv, 1, &(fl_flag){"--fresh", &in.fresh}, 1);
    if (fl_program_answers(&program, &in.command, 1, &exit_code)) return exit_code;
    fl_transport *transport;
    fl_status status = fl_args_take(&in.command.argc, in.command.argv, "--tune", &in.tune);
    if (status == FL_OK) status = fl_transport_open(&transport, "mpi");
    if (status != FL_OK) {
        fl_program_complain(&program, NULL);
        return fl_status_exit_code(status);
    }
    exit_code = run_program(transport, &in);
    fl_transport_close(transport);
    return exit_code;
}
