/* Configuration: every fault a file or a command line can have, and what comes out without one. */
#include "base/conf.h"
#include "base/file.h"
#include "support.h"

#include <math.h>

typedef struct fed_conf {
    const char *fed_alg;
    int64_t num_rounds, num_clients, bytes;
    double prox_mu, tau;
} fed_conf;

typedef struct train_conf {
    bool use_peft, gradient_checkpointing, load_in_8bit;
    const char *template, *output_dir;
    double learning_rate;
    fl_conf_list target_modules;
    int64_t seed;
} train_conf;

#define FED(member)   offsetof(fed_conf, member)
#define TRAIN(member) offsetof(train_conf, member)

// clang-format off
static const fl_conf_row fed_rows[] = {
    {"fed_alg", FL_CONF_WORD, FED(fed_alg), "fedavg", .words = "fedavg|scaffold|local#", .help = "algorithm"},
    {"num_rounds", FL_CONF_INT, FED(num_rounds), "500", 1, 1000000, .help = "communication rounds"},
    {"num_clients", FL_CONF_INT, FED(num_clients), "2", 1, 100000, .help = "clients in all"},
    {"bytes", FL_CONF_INT, FED(bytes), "0", 0, INFINITY, .help = "budget | in bytes"},
    {"prox_mu", FL_CONF_FLOAT, FED(prox_mu), "0.01", 0, 100, .help = "weight of FedProx's proximal term"},
    {"fedopt_tau", FL_CONF_FLOAT, FED(tau), "1e-3", -INFINITY, INFINITY, .help = "degree of adaptivity"},
};
static const fl_conf_row train_rows[] = {
    {"use_peft", FL_CONF_BOOL, TRAIN(use_peft), "false", .help = "train LoRA adapters"},
    {"gradient_checkpointing", FL_CONF_BOOL, TRAIN(gradient_checkpointing), "true", .help = "recompute activations in the backward pass instead of keeping them, which costs a third more time and saves most of the memory"},
    {"load_in_8bit", FL_CONF_BOOL, TRAIN(load_in_8bit), "false", .help = "int8 base weights"},
    {"template", FL_CONF_STRING, TRAIN(template), "alpaca", .help = "prompt template"},
    {"output_dir", FL_CONF_STRING, TRAIN(output_dir), "", .help = "folder of the run"},
    {"learning_rate", FL_CONF_FLOAT, TRAIN(learning_rate), "2e-5", 0, 1, .help = "first learning rate"},
    {"peft_target_modules", FL_CONF_LIST, TRAIN(target_modules), "q_proj,v_proj", .help = "adapted layers"},
    {"seed", FL_CONF_INT, TRAIN(seed), "2023", -INFINITY, INFINITY, .help = "seed"},
};
// clang-format on

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef struct fixture {
    fed_conf fed;
    train_conf train;
    fl_conf_group groups[2];
    fl_conf *conf;
} fixture;

static void open_conf(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->groups[0] = (fl_conf_group){"fed", "federated learning", fed_rows, COUNT(fed_rows), &f->fed};
    f->groups[1] =
        (fl_conf_group){"train", "local training", train_rows, COUNT(train_rows), &f->train};
    EXPECT_OK(fl_conf_create(&f->conf, f->groups, 2));
}

static void close_conf(fixture *f)
{
    fl_conf_destroy(f->conf);
}

/* Up to 16 arguments, closed by NULL. */
static void override(fixture *f, const char *const *arguments)
{
    char *argv[16];
    int argc = 0;
    for (; arguments[argc]; argc++)
        argv[argc] = (char *)arguments[argc];
    EXPECT_OK(fl_conf_override(f->conf, argc, argv));
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_defaults(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_string_equal(f.fed.fed_alg, "fedavg");
    assert_int_equal(f.fed.num_rounds, 500);
    assert_true(f.fed.prox_mu == 0.01);
    assert_true(f.train.gradient_checkpointing && !f.train.use_peft);
    assert_string_equal(f.train.output_dir, "");
    assert_int_equal(f.train.target_modules.count, 2);
    assert_string_equal(f.train.target_modules.items[1], "v_proj");
    assert_string_equal(fl_conf_errors(f.conf), "");
    assert_false(fl_conf_is_set(f.conf, "num_rounds"));
    assert_false(fl_conf_is_set(f.conf, "none"));
    close_conf(&f);
    fl_conf_destroy(NULL);
}

static void test_file_values(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    EXPECT_OK(fl_conf_load(f.conf, "configs/sft.cfg",
                           "# comment 3000000000 \"\\x00\"\n"
                           "fed: { fed_alg = \"local12\"; num_rounds = 100, bytes = 5000000000L;\n"
                           "  prox_mu = 1e-5; fedopt_tau = -3 }\n"
                           "train = {\n"
                           "  use_peft = True; template = \"caf\xc3\xa9 \\\"a\\\\b\\\" 5e\";\n"
                           "  peft_target_modules = [\"k_proj\", \"o_proj\", \"up\"];\n"
                           "} // 99999999999\n"
                           "/* 3000000000 */ seed = -7 /* top level, by its name */\n"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_string_equal(f.fed.fed_alg, "local12");
    assert_int_equal(f.fed.num_rounds, 100);
    assert_true(f.fed.bytes == 5000000000);
    assert_true(f.fed.prox_mu == 1e-5);
    assert_true(f.fed.tau == -3);
    assert_true(f.train.use_peft);
    assert_string_equal(f.train.template, "caf\xc3\xa9 \"a\\b\" 5e");
    assert_int_equal(f.train.target_modules.count, 3);
    assert_string_equal(f.train.target_modules.items[2], "up");
    assert_int_equal(f.train.seed, -7);
    assert_true(fl_conf_is_set(f.conf, "seed"));
    assert_false(fl_conf_is_set(f.conf, "num_clients"));
    close_conf(&f);
}

static void test_list_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
    } cases[] = {{"[\"a\", \"b\"]", 2},
                 {"(\"a\", \"b\")", 2},
                 {"\"a, b\"", 2},
                 {"\"a\"", 1},
                 {"\"\"", 0},
                 {"[]", 0},
                 {"()", 0},
                 {"[\"a,b\"]", 1}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f;
        open_conf(&f);
        char text[100];
        snprintf(text, sizeof text, "peft_target_modules = %s", cases[i].text);
        EXPECT_OK(fl_conf_load(f.conf, "a.cfg", text));
        EXPECT_OK(fl_conf_finish(f.conf));
        assert_int_equal(f.train.target_modules.count, cases[i].count);
        if (cases[i].count == 2) {
            assert_string_equal(f.train.target_modules.items[0], "a");
            assert_string_equal(f.train.target_modules.items[1], "b");
        }
        close_conf(&f);
    }
}

/* A file text and the one line that it must give. */
static const struct {
    const char *text, *error;
} file_faults[] = {
    {"fed: {\n num_rounds = 0 }", "a/b.cfg:2: num_rounds = 0 is outside [1, 1000000]"},
    {"num_rounds = 1000001", "a/b.cfg:1: num_rounds = 1000001 is outside [1, 1000000]"},
    {"bytes = -1", "a/b.cfg:1: bytes = -1 is not >= 0"},
    {"prox_mu = -1e-3", "a/b.cfg:1: prox_mu = -0.001 is outside [0, 100]"},
    {"prox_mu = 101", "a/b.cfg:1: prox_mu = 101 is outside [0, 100]"},
    {"prox_mu = 1e999", "a/b.cfg:1: prox_mu is not a finite number"},
    {"fed_alg = \"fedavgg\"",
     "a/b.cfg:1: fed_alg = \"fedavgg\" is not one of fedavg, scaffold, localN"},
    {"fed_alg = \"local\"",
     "a/b.cfg:1: fed_alg = \"local\" is not one of fedavg, scaffold, localN"},
    {"fed_alg = \"local1x\"",
     "a/b.cfg:1: fed_alg = \"local1x\" is not one of fedavg, scaffold, localN"},
    {"fed_alg = \"\"", "a/b.cfg:1: fed_alg = \"\" is not one of fedavg, scaffold, localN"},
    {"\n\nfed: { num_round = 5 }", "a/b.cfg:3: unknown key num_round; did you mean num_rounds?"},
    {"tmeplate = \"x\"", "a/b.cfg:1: unknown key tmeplate; did you mean template?"},
    {"sed = 5", "a/b.cfg:1: unknown key sed; did you mean seed?"},
    {"target_modules = \"x\"",
     "a/b.cfg:1: unknown key target_modules; did you mean peft_target_modules?"},
    {"xyz = 1", "a/b.cfg:1: unknown key xyz; --help lists them"},
    {"an_extremely_long_name_that_has_more_letters_than_any_key_in_the_tables = 1",
     "a/b.cfg:1: unknown key an_extremely_long_name_that_has_more_letters_than_any_key_in_the_"
     "tables; --help lists them"},
    {"trian: { seed = 1 }", "a/b.cfg:1: unknown group trian; did you mean train?"},
    {"zebra: { seed = 1 }", "a/b.cfg:1: unknown group zebra; --help lists them"},
    {"fed = 5", "a/b.cfg:1: fed must be a group: fed: { key = value; }"},
    {"fed: {\nseed = 1 }", "a/b.cfg:2: seed belongs to the group train, not fed"},
    {"fed: { num_rounds = 5 }\nnum_rounds = 6",
     "a/b.cfg:2: num_rounds is set twice, also at a/b.cfg:1"},
    {"num_rounds = \"5\"", "a/b.cfg:1: num_rounds must be an integer, not a string"},
    {"num_rounds = 5.0", "a/b.cfg:1: num_rounds must be an integer, not a number with a fraction"},
    {"num_rounds = { a = 1; }", "a/b.cfg:1: num_rounds must be an integer, not a group"},
    {"num_rounds = [1]", "a/b.cfg:1: num_rounds must be an integer, not a list"},
    {"prox_mu = true", "a/b.cfg:1: prox_mu must be a number, not a bool"},
    {"use_peft = 1", "a/b.cfg:1: use_peft must be true or false, not an integer"},
    {"template = 5L", "a/b.cfg:1: template must be a string in quotes, not an integer"},
    {"fed_alg = [\"a\"]", "a/b.cfg:1: fed_alg must be a string in quotes, not a list"},
    {"peft_target_modules = 5",
     "a/b.cfg:1: peft_target_modules must be a list of strings, not an integer"},
    {"peft_target_modules = [1, 2]",
     "a/b.cfg:1: peft_target_modules must be a list of strings: [\"a\", \"b\"]"},
    {"peft_target_modules = \"a,,b\"", "a/b.cfg:1: peft_target_modules has an empty item"},
    {"peft_target_modules = [\"a\", \" \"]", "a/b.cfg:1: peft_target_modules has an empty item"},
    {"peft_target_modules = [\"a\\n\"]",
     "a/b.cfg:1: peft_target_modules contains a control character"},
    {"template = \"a\\nb\"", "a/b.cfg:1: template contains a control character"},
    {"template = \"a\x7f\"", "a/b.cfg:1: template contains a control character"},
};

static void test_file_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(file_faults); i++) {
        fixture f;
        open_conf(&f);
        EXPECT_OK(fl_conf_load(f.conf, "a/b.cfg", file_faults[i].text));
        assert_int_equal(fl_conf_finish(f.conf), FL_ERR_USAGE);
        assert_string_equal(fl_error_text(), file_faults[i].error);
        assert_null(f.fed.fed_alg); /* the targets were left alone */
        close_conf(&f);
    }
}

/* Text that is refused as a whole. */
static void test_syntax_faults(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"num_rounds = 5\n\nseed = ;", "a/b.cfg:3: syntax error"},
        {"seed = 1\nseed = 2", "a/b.cfg:2: duplicate setting name"},
        {"fed: {}\nfed: {}", "a/b.cfg:2: duplicate setting name"},
        {"seed = 1\n@include \"none.cfg\"\n", "a/b.cfg:2: cannot open include file"},
        {"seed =\n 3000000000", "a/b.cfg:2: 3000000000 needs an L behind it: 3000000000L"},
        {"seed = -2147483649", "a/b.cfg:1: -2147483649 needs an L behind it"},
        {"seed = 0xFFFFFFFF", "a/b.cfg:1: 0xFFFFFFFF needs an L behind it: 0xFFFFFFFFL"},
        {"seed = 9223372036854775808L", "a/b.cfg:1: 9223372036854775808L does not fit in 64 bits"},
        {"template = \"\n\\x00\"", "a/b.cfg:1: a string contains a zero byte"},
        {"seed = 5\n/* seed = 6\n", "a/b.cfg:2: the comment has no end"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f;
        open_conf(&f);
        EXPECT_FAIL(fl_conf_load(f.conf, "a/b.cfg", cases[i].text), FL_ERR_USAGE, cases[i].error);
        assert_non_null(strstr(fl_conf_errors(f.conf), cases[i].error));
        assert_int_equal(fl_conf_finish(f.conf), FL_ERR_USAGE);
        close_conf(&f);
    }
}

static void test_numbers_at_the_edge(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    EXPECT_OK(fl_conf_load(f.conf, "a.cfg",
                           "seed = -2147483648 bytes=2147483647 fedopt_tau=0x7fffffffffffffffL\n"
                           "num_rounds = 1000000 learning_rate = +1.e-0 prox_mu=3E1"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_int_equal(f.train.seed, INT32_MIN);
    assert_int_equal(f.fed.bytes, INT32_MAX);
    assert_true(f.fed.tau == 0x1p63);
    assert_true(f.train.learning_rate == 1 && f.fed.prox_mu == 30);
    override(&f, ARGUMENTS("--seed", "-9223372036854775808", "--bytes=9223372036854775807"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_true(f.train.seed == INT64_MIN && f.fed.bytes == INT64_MAX);
    close_conf(&f);
}

static void test_all_faults_together(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    EXPECT_OK(fl_conf_load(f.conf, "x.cfg", "num_round = 5\nseed = \"a\"\n"));
    override(&f, ARGUMENTS("--prox_mu", "-1", "--use_peft", "maybe"));
    EXPECT_FAIL(fl_conf_finish(f.conf), FL_ERR_USAGE,
                "x.cfg:1: unknown key num_round; did you mean num_rounds? (and 3 more)");
    assert_string_equal(fl_conf_errors(f.conf),
                        "x.cfg:1: unknown key num_round; did you mean num_rounds?\n"
                        "x.cfg:2: seed must be an integer, not a string\n"
                        "command line: --prox_mu = -1 is outside [0, 100]\n"
                        "command line: --use_peft = \"maybe\" is not true or false\n");
    close_conf(&f);
}

static void write_text(const char *path, const char *text)
{
    EXPECT_OK(fl_file_write_atomic(path, text, strlen(text)));
}

static void test_include(void **state)
{
    test_folder *folder = *state;
    char path[128], inner[128], expected[512];
    snprintf(path, sizeof path, "%s/main.cfg", folder->path);
    snprintf(inner, sizeof inner, "%s/inner.cfg", folder->path);
    fixture f;
    open_conf(&f);
    write_text(inner, "\nnum_rounds = 7;\n");
    EXPECT_OK(fl_conf_load(f.conf, path, "fed: {\n@include \"inner.cfg\"\n num_clients = 3; }"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_int_equal(f.fed.num_rounds, 7);
    assert_int_equal(f.fed.num_clients, 3);

    write_text(inner, "\nnum_rounds = 0;\n"); /* a fault is reported where it stands */
    EXPECT_OK(fl_conf_load(f.conf, path, "fed: {\n@include \"inner.cfg\"\n num_clients = 0; }"));
    snprintf(expected, sizeof expected,
             "%s:2: num_rounds = 0 is outside [1, 1000000]\n%s:3: ", inner, path);
    assert_memory_equal(fl_conf_errors(f.conf), expected, strlen(expected));
    close_conf(&f);

    open_conf(&f);
    write_text(inner, "\nseed = 3000000000;\n");
    snprintf(expected, sizeof expected, "%s:2: 3000000000 needs an L", inner);
    EXPECT_FAIL(fl_conf_load(f.conf, path, "@include \"inner.cfg\"\n"), FL_ERR_USAGE, expected);
    write_text(inner, "\nseed = ;\n");
    snprintf(expected, sizeof expected, "%s:2: syntax error", inner);
    EXPECT_FAIL(fl_conf_load(f.conf, path, "@include \"inner.cfg\"\n"), FL_ERR_USAGE, expected);
    write_text(inner, "@include \"inner.cfg\"\n");
    EXPECT_FAIL(fl_conf_load(f.conf, path, "@include \"inner.cfg\"\n"), FL_ERR_USAGE, "too deep");
    close_conf(&f);
}

static void test_reference_command_line(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    EXPECT_OK(fl_conf_load(f.conf, "a.cfg", "num_rounds = 5; num_clients = 9"));
    override(&f, ARGUMENTS("--fed_alg", "scaffold", "--num_rounds", "100", "--use_peft",
                           "--no_gradient_checkpointing", "--load_in_8bit", "True",
                           "--learning-rate", "1e-5"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_string_equal(f.fed.fed_alg, "scaffold");
    assert_int_equal(f.fed.num_rounds, 100);
    assert_int_equal(f.fed.num_clients, 9);
    assert_true(f.train.use_peft && !f.train.gradient_checkpointing && f.train.load_in_8bit);
    assert_true(f.train.learning_rate == 1e-5);
    assert_true(fl_conf_is_set(f.conf, "gradient_checkpointing"));
    close_conf(&f);
}

static void test_command_line_forms(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    override(&f, ARGUMENTS("fed.num_rounds=3", "--num_rounds=4", "--fed.num_clients", "5",
                           "train.template=a=b", "--output_dir=--odd", "--use_peft",
                           "fed.prox_mu=.5", "--fedopt_tau", "-2", "num_rounds=6"));
    /* the command line wins over a file that comes later, too */
    EXPECT_OK(fl_conf_load(f.conf, "a.cfg", "num_rounds = 100; seed = 1"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_int_equal(f.fed.num_rounds, 6);
    assert_int_equal(f.fed.num_clients, 5);
    assert_string_equal(f.train.template, "a=b");
    assert_string_equal(f.train.output_dir, "--odd");
    assert_true(f.train.use_peft);
    assert_true(f.fed.prox_mu == 0.5 && f.fed.tau == -2);
    assert_int_equal(f.train.seed, 1);
    override(&f, ARGUMENTS("--output_dir", "", "--peft_target_modules", "a, b,c"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_string_equal(f.train.output_dir, "");
    assert_int_equal(f.train.target_modules.count, 3);
    assert_string_equal(f.train.target_modules.items[1], "b");
    close_conf(&f);
}

static void test_bool_words(void **state)
{
    (void)state;
    static const char *const words[] = {"True",  "true", "t",     "yes", "Y", "1",
                                        "False", "f",    "false", "no",  "n", "0"};
    for (size_t i = 0; i < COUNT(words); i++) {
        fixture f;
        open_conf(&f);
        override(&f, ARGUMENTS("--use_peft", words[i], "--gradient_checkpointing", words[i]));
        EXPECT_OK(fl_conf_finish(f.conf));
        assert_int_equal(f.train.use_peft, i < 6);
        assert_int_equal(f.train.gradient_checkpointing, i < 6);
        close_conf(&f);
    }
}

static void test_command_line_faults(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[4], *error;
    } cases[] = {
        {{"--num_rounds"}, "command line: --num_rounds needs a value"},
        {{"--num_rounds", "--use_peft"}, "command line: --num_rounds needs a value"},
        {{"--num_rounds="}, "command line: --num_rounds = \"\" is not an integer"},
        {{"--num_rounds", "5x"}, "command line: --num_rounds = \"5x\" is not an integer"},
        {{"--num_rounds", " 5"}, "command line: --num_rounds = \" 5\" is not an integer"},
        {{"--num_rounds", "1e3"}, "command line: --num_rounds = \"1e3\" is not an integer"},
        {{"--num_rounds", "99999999999999999999"},
         "command line: --num_rounds = 99999999999999999999 does not fit in 64 bits"},
        {{"--num_rounds", "0"}, "command line: --num_rounds = 0 is outside [1, 1000000]"},
        {{"fed.num_rounds=0"}, "command line: fed.num_rounds = 0 is outside [1, 1000000]"},
        {{"train.num_rounds=1"},
         "command line: train.num_rounds: num_rounds belongs to the group fed"},
        {{"--none.num_rounds=1"},
         "command line: --none.num_rounds: num_rounds belongs to the group fed"},
        {{"--prox_mu", "nan"}, "command line: --prox_mu is not a finite number"},
        {{"--prox_mu", "-inf"}, "command line: --prox_mu is not a finite number"},
        {{"--prox_mu", "1e999"}, "command line: --prox_mu is not a finite number"},
        {{"--prox_mu", "0x1p3"}, "command line: --prox_mu = \"0x1p3\" is not a number"},
        {{"--prox_mu", "1,5"}, "command line: --prox_mu = \"1,5\" is not a number"},
        {{"--prox_mu", "."}, "command line: --prox_mu = \".\" is not a number"},
        {{"--fed_alg", "FedAvg"},
         "command line: --fed_alg = \"FedAvg\" is not one of fedavg, scaffold, localN"},
        {{"--num_round", "5"}, "command line: unknown key num_round; did you mean num_rounds?"},
        {{"--no_use_pef"}, "command line: unknown key no_use_pef; did you mean use_peft?"},
        {{"--no_template"}, "command line: unknown key no_template; did you mean template?"},
        {{"--no_use_peft=1"}, "command line: unknown key no_use_peft; did you mean use_peft?"},
        {{"--no_use_peft", "True"}, "command line: unexpected \"True\"; options are --key value"},
        {{"foo"}, "command line: unexpected \"foo\"; options are --key value"},
        {{"-num_rounds"}, "command line: unexpected \"-num_rounds\"; options are --key value"},
        {{"--"}, "command line: unknown key ; --help lists them"},
        {{"--="}, "command line: unknown key ; --help lists them"},
        {{"--template", "a\nb"}, "command line: --template contains a control character"},
        {{"--peft_target_modules", "a,"}, "command line: --peft_target_modules has an empty item"},
        {{"--a\033[2J", "x"}, "command line: unknown key a?[2J; --help lists them"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f;
        open_conf(&f);
        override(&f, cases[i].arguments);
        assert_int_equal(fl_conf_finish(f.conf), FL_ERR_USAGE);
        assert_string_equal(fl_error_text(), cases[i].error);
        close_conf(&f);
    }
}

static void test_two_files(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    EXPECT_OK(fl_conf_load(f.conf, "a.cfg", "num_rounds = 5; seed = 1"));
    EXPECT_OK(fl_conf_load(f.conf, "b.cfg", "num_rounds = 6"));
    EXPECT_OK(fl_conf_finish(f.conf));
    assert_int_equal(f.fed.num_rounds, 6);
    assert_int_equal(f.train.seed, 1);
    close_conf(&f);
}

/* `backend: { backend = "cpu"; }` and `backend = "cpu";` mean the same. */
static void test_group_named_like_a_key(void **state)
{
    (void)state;
    const char *backend = NULL;
    const fl_conf_row row = {"backend", FL_CONF_WORD, 0, "auto", 0, 0, "auto|cpu", "where"};
    const fl_conf_group group = {"backend", "where it runs", &row, 1, &backend};
    static const char *const texts[] = {"backend: { backend = \"cpu\"; };", "backend = \"cpu\";"};
    for (size_t i = 0; i < 2; i++) {
        fl_conf *conf;
        EXPECT_OK(fl_conf_create(&conf, &group, 1));
        EXPECT_OK(fl_conf_load(conf, "a.cfg", texts[i]));
        EXPECT_OK(fl_conf_finish(conf));
        assert_string_equal(backend, "cpu");
        fl_conf_destroy(conf);
    }
}

static void test_dump(void **state)
{
    (void)state;
    fixture f, again;
    open_conf(&f);
    override(&f, ARGUMENTS("--bytes", "5000000000", "--prox_mu", "0.1", "--fedopt_tau",
                           "-1.2345678901234567e-300", "--learning_rate", "1", "--template",
                           "q\"uote \\ back # @include", "--output_dir=/tmp/caf\xc3\xa9"));
    fl_buf first = {0}, second = {0};
    EXPECT_OK(fl_conf_dump(f.conf, &first));
    assert_int_equal(first.data[0], '#');
    assert_non_null(strstr(first.data, "\nfed:\n{\n    fed_alg = \"fedavg\";\n"));
    assert_non_null(strstr(first.data, " bytes = 5000000000L;\n"));
    assert_non_null(strstr(first.data, " prox_mu = 0.1;\n"));
    assert_non_null(strstr(first.data, " learning_rate = 1.0;\n"));
    assert_non_null(strstr(first.data, " peft_target_modules = [\"q_proj\", \"v_proj\"];\n"));
    EXPECT_OK(fl_conf_finish(f.conf));

    open_conf(&again);
    EXPECT_OK(fl_conf_load(again.conf, "config.cfg", first.data));
    EXPECT_OK(fl_conf_finish(again.conf));
    EXPECT_OK(fl_conf_dump(again.conf, &second));
    assert_string_equal(first.data, second.data);
    assert_true(again.fed.tau == f.fed.tau);
    assert_true(again.fed.bytes == 5000000000);
    assert_string_equal(again.train.template, "q\"uote \\ back # @include");
    assert_string_equal(again.train.output_dir, "/tmp/caf\xc3\xa9");
    fl_buf_fini(&first);
    fl_buf_fini(&second);
    close_conf(&f);
    close_conf(&again);
}

/* Doubles of all sizes come back exactly. */
static void test_dump_doubles(void **state)
{
    (void)state;
    static const double cases[] = {
        1.0 / 3, 1e22, 1e23,      0x1p-1074, 0x1.fffffffffffffp1023, 2e-5, 1e5, 1234567,
        100,     -0.5, 0.1 + 0.2, 1e15,      123456789012345680.0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture f, again;
        open_conf(&f);
        char text[40];
        snprintf(text, sizeof text, "%.17g", cases[i]);
        override(&f, ARGUMENTS("--fedopt_tau", text));
        fl_buf dump = {0};
        EXPECT_OK(fl_conf_dump(f.conf, &dump));
        open_conf(&again);
        EXPECT_OK(fl_conf_load(again.conf, "config.cfg", dump.data));
        EXPECT_OK(fl_conf_finish(again.conf));
        assert_true(again.fed.tau == cases[i]);
        fl_buf_fini(&dump);
        close_conf(&f);
        close_conf(&again);
    }
}

static void test_help(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    fl_buf help = {0};
    EXPECT_OK(fl_conf_help(f.groups, 2, &help));
    assert_non_null(strstr(help.data, "fed: federated learning\n"));
    assert_non_null(strstr(help.data, "  --num_rounds N             communication rounds "
                                      "(default 500; [1, 1000000])\n"));
    assert_non_null(strstr(help.data, "(default fedavg; one of fedavg, scaffold, localN)\n"));
    assert_non_null(strstr(help.data, "(default 0; >= 0)\n"));
    assert_non_null(strstr(help.data, "(default 2023)\n"));
    assert_non_null(strstr(help.data, "folder of the run (default \"\")\n"));
    size_t longest = 0;
    for (const char *line = help.data; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > longest) longest = strcspn(line, "\n");
    assert_in_range(longest, 60, 100);
    fl_buf_fini(&help);
    close_conf(&f);
}

static void test_markdown(void **state)
{
    (void)state;
    fixture f;
    open_conf(&f);
    fl_buf page = {0};
    EXPECT_OK(fl_conf_markdown(f.groups, 2, &page));
    assert_non_null(strstr(page.data, "\n## fed\n\nfederated learning\n\n| key | type |"));
    assert_non_null(strstr(page.data, "| `num_rounds` | integer | `500` | [1, 1000000] | "
                                      "communication rounds |\n"));
    assert_non_null(strstr(page.data,
                           "| `fed_alg` | word | `fedavg` | `fedavg` `scaffold` `localN` "
                           "| algorithm |\n"));
    assert_non_null(strstr(page.data, "budget \\| in bytes"));
    fl_buf_fini(&page);
    close_conf(&f);
}

static void test_faults_of_tables(void **state)
{
    (void)state;
    static const fl_conf_row twice[] = {{"a", FL_CONF_BOOL, 0, "false", .help = ""},
                                        {"a", FL_CONF_BOOL, 0, "false", .help = ""}};
    static const fl_conf_row outside[] = {{"a", FL_CONF_INT, 0, "5", 6, 7, .help = ""}};
    static const fl_conf_row wordless[] = {{"a", FL_CONF_WORD, 0, "x", .help = ""}};
    static const struct {
        fl_conf_group group;
        const char *error;
    } cases[] = {
        {{"g", "", twice, 2, NULL}, "config table: a is there twice"},
        {{"g", "", outside, 1, NULL}, "config table, default value: a = 5 is outside [6, 7]"},
        {{"g", "", wordless, 1, NULL}, "config table: a has no words"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fl_conf *conf = NULL;
        EXPECT_FAIL(fl_conf_create(&conf, &cases[i].group, 1), FL_ERR_INTERNAL, cases[i].error);
        assert_null(conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_file_values),
        cmocka_unit_test(test_list_forms),
        cmocka_unit_test(test_file_faults),
        cmocka_unit_test(test_syntax_faults),
        cmocka_unit_test(test_numbers_at_the_edge),
        cmocka_unit_test(test_all_faults_together),
        cmocka_unit_test_setup_teardown(test_include, make_folder, remove_folder),
        cmocka_unit_test(test_reference_command_line),
        cmocka_unit_test(test_command_line_forms),
        cmocka_unit_test(test_bool_words),
        cmocka_unit_test(test_command_line_faults),
        cmocka_unit_test(test_two_files),
        cmocka_unit_test(test_dump), cmocka_unit_test(test_group_named_like_a_key),
        cmocka_unit_test(test_dump_doubles),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_markdown),
        cmocka_unit_test(test_faults_of_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
