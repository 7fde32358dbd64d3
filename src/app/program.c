#include "app/program.h"

#include "app/run.h"
#include "base/log.h"
#include "fed/agree.h"
#include "fedllm_version.h"

#include <stdio.h>
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
    "  --check            check config, data and model, print the plan, stop\n"
    "  --fresh            start over: remove the run that output_dir holds\n"
    "\n"
    "The same command started again continues where the run was, whatever stopped it.\n"
    "Exit codes: 0 done, 1 the run failed, 2 bad usage, config or input.\n";

typedef struct flags {
    bool help, markdown, version, check, fresh;
    const char *config;
    int argc; /* what is left for the config */
    char **argv;
} flags;

static bool take_flag(flags *f, const char *word)
{
    const struct {
        const char *word;
        bool *flag;
    } rows[] = {{"--help", &f->help},   {"-h", &f->help},       {"--version", &f->version},
                {"--check", &f->check}, {"--fresh", &f->fresh}, {"--help-markdown", &f->markdown}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(word, rows[i].word) == 0) return *rows[i].flag = true;
    return false;
}

/* Moves what is not a flag to the front of argv. */
static flags parse_flags(int argc, char **argv)
{
    flags f = {.argv = argv};
    for (int i = 1; i < argc; i++) {
        if (take_flag(&f, argv[i])) continue;
        if (!f.config && f.argc == 0 && argv[i][0] != '-')
            f.config = argv[i];
        else
            argv[f.argc++] = argv[i];
    }
    return f;
}

static int print_text(fl_status (*make)(fl_buf *), const char *before)
{
    fl_buf text = {0};
    fl_status status = make(&text);
    if (status == FL_OK)
        printf("%s%s", before, fl_buf_text(&text));
    else
        fprintf(stderr, "fedllm_mpi: %s\n", fl_error_text());
    fl_buf_fini(&text);
    return fl_status_exit_code(status);
}

static int print_version(void)
{
    printf("fedllm %s (commit %s)\nbackends: cpu\ntransports: mpi, self\n", FL_VERSION,
           FL_GIT_COMMIT);
    return 0;
}

static fl_log_level level_of(const char *word)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    int level = FL_LOG_ERROR;
    while (level < FL_LOG_DEBUG && strcmp(word, words[level]) != 0)
        level++;
    return (fl_log_level)level;
}

/* Collective: files of the run, the rounds, the report. */
static fl_status train(fl_run *run, bool fresh)
{
    bool root = fl_transport_rank(run->transport) == 0;
    FL_TRY(fl_agree(run->transport, root ? fl_run_files_open(run, fresh) : FL_OK));
    FL_TRY(fl_run_describe(run));
    FL_TRY(fl_run_rounds(run));
    if (!root) return FL_OK;
    if (run->start_round == run->options.fed.num_rounds)
        FL_INFO("%s is finished: all %lld rounds are done", run->options.run.output_dir,
                (long long)run->start_round);
    return fl_report(run);
}

static fl_status run_all(fl_run *run, const flags *f)
{
    int rank = fl_transport_rank(run->transport);
    FL_TRY(fl_options_load(&run->options, run->transport, f->config, f->argc, f->argv));
    fl_log_init(rank, level_of(run->options.run.log_level));
    FL_TRY(fl_run_open(run));
    if (!f->check) return train(run, f->fresh);
    FL_TRY(fl_run_describe(run));
    FL_INFO("everything is in order; nothing was trained (--check)");
    return FL_OK;
}

/* Rank 0 speaks for all: fl_agree gave every rank the same status and text.  Faults of the config
 * are told all at once. */
static void print_error(const fl_run *run, int rank)
{
    if (rank != 0) return;
    const char *lines = run->options.conf ? fl_conf_errors(run->options.conf) : "";
    if (!lines[0]) lines = fl_error_text();
    while (lines[0]) {
        int length = (int)strcspn(lines, "\n");
        fl_log(FL_LOG_ERROR, "%.*s", length, lines);
        lines += length + (lines[length] == '\n');
    }
}

static int run_program(fl_transport *transport, const flags *f)
{
    static fl_run run;
    int rank = fl_transport_rank(transport);
    run.transport = transport;
    fl_log_init(rank, FL_LOG_INFO);
    fl_status status = run_all(&run, f);
    if (status != FL_OK) print_error(&run, rank);
    if (status == FL_ERR_COMM) fl_transport_abort(transport, fl_status_exit_code(status));
    fl_run_close(&run);
    fl_log_close();
    return fl_status_exit_code(status);
}

int fl_program_train(int argc, char **argv)
{
    flags f = parse_flags(argc, argv);
    if (f.version) return print_version();
    if (f.help) return print_text(fl_options_help, usage);
    if (f.markdown) return print_text(fl_options_markdown, "");
    if (!f.config) {
        fputs(usage, stderr);
        return fl_status_exit_code(FL_ERR_USAGE);
    }
    fl_transport *transport;
    fl_status status = fl_transport_open(&transport, "mpi");
    if (status != FL_OK) {
        fprintf(stderr, "fedllm_mpi: %s\n", fl_error_text());
        return fl_status_exit_code(status);
    }
    int exit_code = run_program(transport, &f);
    fl_transport_close(transport);
    return exit_code;
}
