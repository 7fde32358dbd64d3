/* Programs differ in their texts and their work; how they are asked for them does not. */
#include "app/program.h"

#include "fedllm_version.h"

#include <stdio.h>
#include <string.h>

/* Flags are taken out before the options are parsed, so they are no keys of any table. */
static bool take_flag(fl_command *c, const fl_flag *flags, size_t num_flags, const char *word)
{
    const fl_flag common[] = {{"--help", &c->help},
                              {"-h", &c->help},
                              {"--version", &c->version},
                              {"--check", &c->check},
                              {"--help-markdown", &c->markdown}};
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++)
        if (strcmp(word, common[i].word) == 0) return *common[i].value = true;
    for (size_t i = 0; i < num_flags; i++)
        if (strcmp(word, flags[i].word) == 0) return *flags[i].value = true;
    return false;
}

fl_command fl_command_parse(int argc, char **argv, int max_words, const fl_flag *flags,
                            size_t num_flags)
{
    FL_ASSERT(max_words <= FL_MAX_WORDS);
    fl_command c = {.argv = argv};
    for (int i = 1; i < argc; i++) {
        if (take_flag(&c, flags, num_flags, argv[i])) continue;
        if (c.argc == 0 && c.num_words < max_words && argv[i][0] != '-')
            c.words[c.num_words++] = argv[i];
        else
            argv[c.argc++] = argv[i];
    }
    return c;
}

fl_status fl_args_take(int *argc, char **argv, const char *word, const char **value)
{
    size_t length = strlen(word);
    int at = 0, taken = 1;
    *value = NULL;
    while (at < *argc &&
           (strncmp(argv[at], word, length) != 0 || (argv[at][length] && argv[at][length] != '=')))
        at++;
    if (at == *argc) return FL_OK;
    if (argv[at][length]) {
        *value = argv[at] + length + 1;
    } else {
        FL_CHECK(at + 1 < *argc, FL_ERR_USAGE, "command line: %s needs a value", word);
        *value = argv[at + 1];
        taken = 2;
    }
    *argc -= taken;
    memmove(argv + at, argv + at + taken, (size_t)(*argc - at) * sizeof *argv);
    return FL_OK;
}

static int print_text(const fl_program *program, fl_status (*make)(fl_buf *), const char *before)
{
    fl_buf text = {0};
    fl_status status = make ? make(&text) : FL_OK;
    if (status == FL_OK)
        printf("%s%s", before, fl_buf_text(&text));
    else
        fprintf(stderr, "%s: %s\n", program->name, fl_error_text());
    fl_buf_fini(&text);
    return fl_status_exit_code(status);
}

bool fl_program_answers(const fl_program *program, const fl_command *command, int min_words,
                        int *exit_code)
{
    *exit_code = 0;
    if (command->version) {
        printf("fedllm %s (commit %s)\n%s", FL_VERSION, FL_GIT_COMMIT, program->built_in);
        return true;
    }
    if (command->help || command->markdown) {
        *exit_code = command->help ? print_text(program, program->help, program->usage)
                                   : print_text(program, program->markdown, "");
        return true;
    }
    if (command->num_words >= min_words) return false;
    fputs(program->usage, stderr);
    *exit_code = fl_status_exit_code(FL_ERR_USAGE);
    return true;
}

/* Every line carries the name, so that it can be told in the output of a pipe. */
void fl_program_complain(const fl_program *program, const fl_conf *conf)
{
    const char *faults = conf ? fl_conf_errors(conf) : "";
    if (!faults[0]) fprintf(stderr, "%s: %s\n", program->name, fl_error_text());
    for (const char *at = faults; *at; at++) {
        if (at == faults || at[-1] == '\n') fprintf(stderr, "%s: ", program->name);
        fputc(*at, stderr);
    }
}

fl_log_level fl_log_level_of(const char *word)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    int level = FL_LOG_ERROR;
    while (level < FL_LOG_DEBUG && strcmp(word, words[level]) != 0)
        level++;
    return (fl_log_level)level;
}
