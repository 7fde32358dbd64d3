/* From records to ids and labels: truncation, the response key, the pad rule. */
#include "data_test.h"

static fl_dataset *make_dataset(const char *folder, const char *lines)
{
    fl_dataset *dataset = NULL;
    write_text(folder, "set.jsonl", lines);
    OK(fl_dataset_load(&dataset, path_in(folder, "set.jsonl"), NULL));
    return dataset;
}

typedef struct made {
    fl_tokenizer *tokenizer;
    fl_dataset *dataset;
    fl_examples *examples;
    fl_text_format format;
} made;

static made make(const char *folder, const tiny *parts, const char *lines, const char *template,
                 int64_t seq_length)
{
    made m = {.tokenizer = open_tiny(folder, parts), .dataset = make_dataset(folder, lines)};
    OK(fl_text_format_open(&m.format, template, NULL, m.tokenizer, NULL));
    OK(fl_examples_build(&m.examples, m.dataset, m.tokenizer, &m.format, seq_length));
    return m;
}

static void unmake(made *m)
{
    fl_examples_destroy(m->examples);
    fl_dataset_destroy(m->dataset);
    fl_text_format_fini(&m->format);
    fl_tokenizer_close(m->tokenizer);
}

/* The labels from the first one that counts on must be these ids, all before them ignored. */
static void expect_labels(const fl_examples *examples, size_t i, const int32_t *wanted,
                          size_t count)
{
    const size_t end = examples->offset[i + 1], first = end - count;
    assert_true(examples->offset[i] + count <= end);
    for (size_t k = examples->offset[i]; k < end; k++) {
        const int32_t label = k < first ? FL_LABEL_IGNORE : wanted[k - first];
        if (examples->labels[k] != label)
            fail_msg("example %zu: label %zu is %d, not %d", i, k - examples->offset[i],
                     examples->labels[k], label);
        if (label != FL_LABEL_IGNORE) assert_int_equal(examples->ids[k], label);
    }
}
#define EXPECT_LABELS(examples, i, ...)                            \
    expect_labels((examples), (i), (const int32_t[]){__VA_ARGS__}, \
                  sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void test_labels(void **state)
{
    static const char lines[] =
        "{\"instruction\": \"hello\", \"output\": \"hello\"}\n"
        "{\"instruction\": \"\", \"output\": \"\"}\n"
        "{\"instruction\": \"hello\", \"input\": \"lo\", \"output\": \"<unk> h\"}\n";
    static const char *const templates[] = {"alpaca", "vicuna"};
    for (size_t i = 0; i < COUNT_OF(templates); i++) {
        made m = make(*state, NULL, lines, templates[i], 2048);
        assert_int_equal(m.examples->count, 3);
        assert_int_equal(m.examples->num_unmarked, 0);
        EXPECT_LABELS(m.examples, 0, TINY_MARK_HELLO, TINY_EOS);
        EXPECT_LABELS(m.examples, 1, TINY_MARK, TINY_EOS);
        // The unk token is the pad token here: it is ignored, the eos token is not.
        EXPECT_LABELS(m.examples, 2, TINY_MARK, FL_LABEL_IGNORE, TINY_MARK, TINY_MARK_H, TINY_EOS);
        assert_int_equal(m.examples->num_targets, 2 + 2 + 4);
        assert_int_equal(m.examples->num_tokens, m.examples->offset[3]);
        assert_int_equal(m.examples->max_length, fl_example_length(m.examples, 2));
        assert_int_equal(m.examples->ids[0], TINY_BOS);
        unmake(&m);
    }
}

static void test_eos_as_pad(void **state)
{
    const tiny parts = {.config = "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\","
                                  "\"pad_token\": \"</s>\"}"};
    made m = make(*state, &parts, "{\"instruction\": \"h\", \"output\": \"hello<unk>\"}", "alpaca",
                  2048);
    EXPECT_LABELS(m.examples, 0, TINY_MARK_HELLO, TINY_UNK, TINY_EOS);
    unmake(&m);
}

/* The last key counts, also when it stands in the response. */
static void test_last_key(void **state)
{
    made m = make(*state, NULL,
                  "{\"instruction\": \"h\\n### Response:\", \"output\": \"hello\"}\n"
                  "{\"instruction\": \"h\", \"output\": \"a\\n### Response: hello\"}\n",
                  "alpaca", 2048);
    EXPECT_LABELS(m.examples, 0, TINY_MARK_HELLO, TINY_EOS);
    EXPECT_LABELS(m.examples, 1, TINY_MARK_HELLO, TINY_EOS);
    unmake(&m);
}

/* Cut at every length: ids are a prefix; below the key nothing counts and the row is reported. */
static void test_truncation(void **state)
{
    static const char line[] = "{\"instruction\": \"hello\", \"output\": \"hello hello\"}";
    made whole = make(*state, NULL, line, "vicuna", 2048);
    const int64_t length = whole.examples->max_length;
    for (int64_t cut = 1; cut <= length + 1; cut++) {
        made m = make(*state, NULL, line, "vicuna", cut);
        const int64_t kept = cut < length ? cut : length;
        assert_int_equal(m.examples->max_length, kept);
        assert_memory_equal(m.examples->ids, whole.examples->ids, (size_t)kept * sizeof(int32_t));
        // Three tokens follow the key.
        const bool marked = kept >= length - 3;
        assert_int_equal(m.examples->num_unmarked, !marked);
        assert_int_equal(m.examples->num_targets, marked ? kept - (length - 3) : 0);
        unmake(&m);
    }
    unmake(&whole);
}

/* A tokenizer without a piece in front of the text: the key is looked for in the text, and a token
 * that straddles its end belongs to the response. */
static void test_without_boundary_piece(void **state)
{
    tiny plain = {.normalizer = "null",
                  .vocab = ", \":\": 269, \" \": 270, \": \": 271",
                  .merges = "[\"l o\"]"};
    static const char line[] = "{\"instruction\": \"h\", \"output\": \"lo\"}";
    made m = make(*state, &plain, line, "alpaca", 2048);
    EXPECT_LABELS(m.examples, 0, 270, TINY_LO, TINY_EOS);
    unmake(&m);
    plain.merges = "[\"l o\", [\":\", \" \"]]"; // ": " is one token now
    m = make(*state, &plain, line, "alpaca", 2048);
    EXPECT_LABELS(m.examples, 0, 271, TINY_LO, TINY_EOS);
    unmake(&m);
}

static void test_errors(void **state)
{
    made m = make(*state, NULL, "{\"instruction\": \"a\", \"output\": \"b\"}", "alpaca", 16);
    fl_examples *examples = NULL;
    FAILS(fl_examples_build(&examples, m.dataset, m.tokenizer, &m.format, 0), FL_ERR_USAGE,
          "seq_length = 0");
    fl_tokenizer_close(m.tokenizer);
    m.tokenizer = open_tiny(*state, &(tiny){.config = ""});
    fl_text_format_fini(&m.format);
    OK(fl_text_format_open(&m.format, "alpaca", NULL, m.tokenizer, NULL));
    FAILS(fl_examples_build(&examples, m.dataset, m.tokenizer, &m.format, 16), FL_ERR_UNSUPPORTED,
          "no eos token");
    assert_null(examples);
    unmake(&m);
}

/* A record in a conversation format is one turn of it: the answer counts, and what ends it. */
static void test_conversation(void **state)
{
    static const char lines[] = "{\"instruction\": \"hello\", \"output\": \"lo\"}\n"
                                "{\"instruction\": \"hello hello hello\", \"output\": \"lo\"}\n";
    made m = make(*state, NULL, lines, "h2ogpt", 2048);
    EXPECT_LABELS(m.examples, 0, TINY_LO, TINY_EOS);
    EXPECT_LABELS(m.examples, 1, TINY_LO, TINY_EOS);
    assert_int_equal(m.examples->num_unmarked, 0);
    const int64_t length = fl_example_length(m.examples, 0);
    unmake(&m);
    m = make(*state, NULL, lines, "h2ogpt", length);
    assert_int_equal(m.examples->num_unmarked, 1); /* the second one has lost its answer */
    EXPECT_LABELS(m.examples, 0, TINY_LO, TINY_EOS);
    unmake(&m);
}

/* Real records: every response ends in the eos token, as the reference's labels do. */
static void test_published(void **state)
{
    (void)state;
    const char *records = shared_file("train/alpaca/alpaca_5000.json");
    const char *dir = shared_file("tokenizers/llama2");
    if (!records || !dir) skip();
    made m;
    OK(fl_tokenizer_open(&m.tokenizer, dir));
    OK(fl_dataset_load(&m.dataset, records, NULL));
    OK(fl_text_format_open(&m.format, "alpaca", NULL, m.tokenizer, NULL));
    OK(fl_examples_build(&m.examples, m.dataset, m.tokenizer, &m.format, 512));
    // Counts of the reference's procedure on the same files.
    assert_int_equal(m.examples->num_tokens, 610557);
    assert_int_equal(m.examples->num_targets, 332495);
    assert_int_equal(m.examples->num_unmarked, 0);
    for (size_t i = 0; i < m.examples->count; i++)
        if (fl_example_length(m.examples, i) < 512)
            assert_int_equal(m.examples->labels[m.examples->offset[i + 1] - 1], 2);
    unmake(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_labels),     FOLDER_TEST(test_eos_as_pad),
        FOLDER_TEST(test_last_key),   FOLDER_TEST(test_conversation),
        FOLDER_TEST(test_truncation), FOLDER_TEST(test_without_boundary_piece),
        FOLDER_TEST(test_errors),     cmocka_unit_test(test_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
