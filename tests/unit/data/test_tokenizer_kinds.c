/* Files other than tokenizer.json, patterns, and decoding token by token. */
#include "data_test.h"

#include "base/file.h"
#include "data/charsmap.h"
#include "data/regex.h"

static const char *seed_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/tests/fuzz/seeds/%s", FL_TEST_SOURCE_DIR, name);
    return path;
}

/* All matches as "begin-end begin-end". */
static void expect_matches(const char *pattern, const char *text, const char *wanted)
{
    fl_regex *regex = NULL;
    fl_regex_work *work = NULL;
    fl_buf got = {0};
    OK(fl_regex_compile(&regex, pattern, strlen(pattern), "test"));
    OK(fl_regex_work_create(&work));
    for (fl_regex_match match = {0};;) {
        OK(fl_regex_next(regex, work, text, strlen(text), &match));
        if (!match.found) break;
        OK(fl_buf_addf(&got, "%s%zu-%zu", got.length ? " " : "", match.begin, match.end));
    }
    if (strcmp(fl_buf_text(&got), wanted) != 0)
        fail_msg("\"%s\" in \"%s\": %s", pattern, text, fl_buf_text(&got));
    fl_buf_fini(&got);
    fl_regex_work_destroy(work);
    fl_regex_destroy(regex);
}

static void test_patterns(void **state)
{
    (void)state;
    expect_matches("b*", "abba", "0-0 1-3 4-4"); // none directly behind another
    expect_matches("x?", "日a", "0-0 3-3 4-4");
    expect_matches("\\s+", "a \t\n\xc2\xa0\xe1\xa0\x8e", "1-6"); // U+180E is none
    expect_matches("[^\\S\\n]", " \n\t", "0-1 2-3");
    expect_matches("\\w+", "a\xc2\xb2_1-\xe2\x91\xa0", "0-5");
    expect_matches("\\h\\v", "f\x0bg\x0b", "0-2"); // a hex digit, a vertical tab
    expect_matches("^.$", "a\nb\r", "0-1");
    expect_matches("(?m:a.b)", "a\nb", "0-3"); // Ruby's m: the dot matches a newline
    expect_matches("(?i)É", "é\xc3\x89", "0-2 2-4");
    expect_matches("[\\w-x]", "-xé", "0-1 1-2 2-4");
    expect_matches("[\\p{Han}\\p{Greek}]+|\\p{^L}|\\P{Letter}", "日αa!", "0-5 6-7");
    expect_matches("\\bfoo\\b", "foo foot foo", "0-3 9-12");
    expect_matches("\\u0041\\x42\\x{e9}", "ABé", "0-4");
    expect_matches("[\\[\\]\\-]", "[-]", "0-1 1-2 2-3");
}

static void test_bad_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        fl_status status;
        const char *error;
    } cases[] = {
        {"(a)\\1", FL_ERR_UNSUPPORTED, "test: a back reference in the pattern \"(a)\\1\""},
        {"(?R)", FL_ERR_UNSUPPORTED, "such a group"},
        {"(?<n>a)", FL_ERR_UNSUPPORTED, "such a group"},
        {"(*UTF)", FL_ERR_UNSUPPORTED, "(*"},
        {"[a[b]]", FL_ERR_UNSUPPORTED, "a class within a class"},
        {"[a&&b]", FL_ERR_UNSUPPORTED, "&& within a class"},
        {"[a", FL_ERR_UNSUPPORTED, "a class without end"},
        {"[]a]", FL_ERR_UNSUPPORTED, "an empty class"},
        {"\\p{L", FL_ERR_UNSUPPORTED, "such a name"},
        {"\\p{Klingon}", FL_ERR_INPUT, "bad pattern"},
        {"\\G", FL_ERR_UNSUPPORTED, "\\G"},
        {"a\\", FL_ERR_UNSUPPORTED, "a backslash at the end"},
        {"(a", FL_ERR_INPUT, "bad pattern"},
        {"*", FL_ERR_INPUT, "bad pattern"},
        {"a{,3}", FL_ERR_UNSUPPORTED, "{,"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fl_regex *regex = NULL;
        FAILS(fl_regex_compile(&regex, cases[i].pattern, strlen(cases[i].pattern), "test"),
              cases[i].status, cases[i].error);
        assert_null(regex);
    }
}

/* A pattern that backtracks without end is an error, not a program that hangs. */
static void test_endless_pattern(void **state)
{
    const tiny parts = {.pre_tokenizer =
                            "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?:h|e|hh|he)+$\"},"
                            "\"behavior\": \"Isolated\"}",
                        .normalizer = "null"};
    static const char text[] =
        "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh!";
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    fl_tokens tokens = {0};
    FAILS(fl_tokenizer_encode(tokenizer, text, strlen(text), true, &tokens), FL_ERR_INPUT,
          "a pattern takes too many steps");
    EXPECT_IDS(tokenizer, "hello", TINY_BOS, TINY_H, TINY_EL, TINY_LO); // and goes on
    fl_tokens_fini(&tokens);
    fl_tokenizer_close(tokenizer);
}

static void expect_tokens(const fl_tokenizer *tokenizer, const char *text, const char *wanted)
{
    fl_tokens tokens = {0};
    fl_buf got = {0};
    OK(fl_tokenizer_encode(tokenizer, text, strlen(text), true, &tokens));
    for (size_t i = 0; i < tokens.count; i++)
        OK(fl_buf_addf(&got, "%s%s", i ? " " : "", fl_tokenizer_token(tokenizer, tokens.ids[i])));
    assert_string_equal(fl_buf_text(&got), wanted);
    fl_buf_fini(&got);
    fl_tokens_fini(&tokens);
}

static void test_sentencepiece(void **state)
{
    fl_tokenizer *tokenizer = NULL;
    fl_buf data = {0};
    OK(fl_tokenizer_open(&tokenizer, seed_path("sentencepiece/bpe.model")));
    expect_tokens(tokenizer, "hello world</s>", "<s> ▁hello ▁ w o r l d </s>");
    expect_tokens(tokenizer, "  é<user>a", "<s> ▁▁ ▁ <0xC3> <0xA9> <user> a");
    fl_tokenizer_close(tokenizer);
    OK(fl_tokenizer_open(&tokenizer, seed_path("sentencepiece/unigram.model")));
    expect_tokens(tokenizer, "  hello   aaaaa zz ", "<s> ▁hello ▁ a aaaa ▁ <unk>");
    fl_tokenizer_close(tokenizer);
    OK(fl_tokenizer_open(&tokenizer, seed_path("sentencepiece/charsmap.model")));
    expect_tokens(tokenizer, "\tHello! \tWo!", "<s> ▁hello ▁ w o");
    fl_tokenizer_close(tokenizer);

    // Cut short anywhere: either an error or, at the end of a piece, a model with fewer of them.
    OK(fl_file_read(&data, seed_path("sentencepiece/unigram.model"), 0));
    for (size_t length = 0; length < data.length; length++) {
        write_file(*state, "tokenizer.model", data.data, length);
        const fl_status status = fl_tokenizer_open(&tokenizer, *state);
        if (status != FL_OK) assert_non_null(strstr(fl_error_text(), "tokenizer.model: "));
        if (status == FL_OK) fl_tokenizer_close(tokenizer);
    }
    fl_buf_fini(&data);
}

static void test_bad_sentencepiece(void **state)
{
#define UNK "\x0a\x09\x0a\x05<unk>\x18\x02"
#define PIECE          \
    "\x0a\x0a\x0a\x01" \
    "a\x15\xcd\xcc\xcc\xbd\x18\x01"
#define BPE "\x12\x02\x18\x02"
    static const struct {
        const char *data;
        size_t length;
        fl_status status;
        const char *error;
    } cases[] = {
#define DATA(text) text, sizeof(text) - 1
        {DATA(""), FL_ERR_INPUT, "has no pieces"},
        {DATA("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), FL_ERR_INPUT, "damaged, at byte 0"},
        {DATA("\x0b"), FL_ERR_INPUT, "damaged, at byte 0 of a message of 1"},
        {DATA("\x0a\x02\x0a\x05"), FL_ERR_INPUT, "damaged, at byte 0 of a message of 2"},
        {DATA("\x0a\x00"), FL_ERR_INPUT, "piece 0 is empty"},
        {DATA("\x0a\x03\x0a\x01\xff"), FL_ERR_INPUT, "piece 0 is empty, no UTF-8"},
        {DATA(PIECE BPE), FL_ERR_INPUT, "unk_id = 0 is no unknown piece"},
        {DATA(UNK PIECE PIECE BPE), FL_ERR_INPUT, "piece 2 \"a\" is listed twice"},
        {DATA(UNK PIECE "\x12\x02\x18\x03"), FL_ERR_UNSUPPORTED, "model type 3"},
        {DATA(UNK PIECE BPE "\x12\x03\xc0\x01\x01"), FL_ERR_UNSUPPORTED, "whitespace_as_suffix"},
        {DATA(UNK PIECE BPE "\x1a\x04\x12\x02zz"), FL_ERR_INPUT, "character map"},
        {DATA(UNK "\x0a\x05\x0a\x01"
                  "b\x18\x05" BPE),
         FL_ERR_UNSUPPORTED, "piece 1 of type 5"},
        {DATA(UNK "\x0a\x08\x0a\x01"
                  "b\x15\x00\x00\xc0\x7f" BPE),
         FL_ERR_INPUT, "is not a number"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fl_tokenizer *tokenizer = NULL;
        write_file(*state, "tokenizer.model", cases[i].data, cases[i].length);
        FAILS(fl_tokenizer_open(&tokenizer, *state), cases[i].status, cases[i].error);
    }
}

static void test_ranks(void **state)
{
    fl_tokenizer *tokenizer = NULL;
    fl_buf data = {0};
    OK(fl_tokenizer_open(&tokenizer, seed_path("tiktoken/small.model")));
    assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 264 + 256);
    expect_tokens(tokenizer, "hello hello<|eot_id|>日é",
                  "<|begin_of_text|> hello Ġ hello <|eot_id|> æ Ĺ ¥ Ã ©");
    fl_tokenizer_close(tokenizer);

    OK(fl_file_read(&data, seed_path("tiktoken/small.model"), 0));
    static const struct {
        const char *name, *more;
        fl_status status;
        const char *error;
    } cases[] = {
        {"tokenizer.model", "aGU= 999\n", FL_ERR_INPUT, "the token of rank 999 is listed twice"},
        {"tokenizer.model", "eHg= 3\n", FL_ERR_INPUT, "both have the id 3"},
        {"tokenizer.model", "eHg= -3\n", FL_ERR_INPUT, "tokenizer.model:265: not a token"},
        {"tokenizer.model", "eHg= 99999999\n", FL_ERR_INPUT, ":265: rank 99999999 is too large"},
        {"tokenizer.model", "!\n", FL_ERR_INPUT, ":265: not a token"},
        {"x.tiktoken", "", FL_ERR_UNSUPPORTED, "with 264 ranks this is none of the known"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fl_buf text = {0};
        OK(fl_buf_add(&text, data.data, data.length));
        OK(fl_buf_add_text(&text, cases[i].more));
        unlink(path_in(*state, "tokenizer.model"));
        write_file(*state, cases[i].name, text.data, text.length);
        FAILS(fl_tokenizer_open(&tokenizer, *state), cases[i].status, cases[i].error);
        fl_buf_fini(&text);
    }
    write_text(*state, "y.tiktoken", "eHg= 3\n");
    FAILS(fl_tokenizer_open(&tokenizer, *state), FL_ERR_INPUT, "more than one *.tiktoken");
    write_text(*state, "tokenizer.model", "AA== 0\n");
    FAILS(fl_tokenizer_open(&tokenizer, *state), FL_ERR_INPUT, "the byte 0x01 has no token");
    fl_buf_fini(&data);
}

/* Characters come when they are complete, and broken ones as in fl_tokenizer_decode. */
static void test_stream(void **state)
{
#define BYTE(c) (TINY_BYTE + (unsigned char)(c))
#define FFFD    "\xef\xbf\xbd"
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_decode_stream *stream = NULL;
    fl_buf out = {0};
    static const struct {
        int32_t id;
        const char *so_far;
    } steps[] = {
        {TINY_BOS, ""},
        {TINY_MARK_HELLO, "hello"},
        {-1, "hello"},
        {BYTE(0xf0), "hello"},
        {BYTE(0x9f), "hello"},
        {BYTE(0x98), "hello"},
        {BYTE(0x80), "hello😀"},
        {BYTE(0xc3), "hello😀"},
        {TINY_MARK, "hello😀" FFFD " "},
        {BYTE(0xff), "hello😀" FFFD " " FFFD},
        {BYTE(0xe6), "hello😀" FFFD " " FFFD},
    };
    OK(fl_decode_stream_create(&stream, tokenizer, true));
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        OK(fl_decode_stream_add(stream, steps[i].id, &out));
        assert_string_equal(fl_buf_text(&out), steps[i].so_far);
    }
    OK(fl_decode_stream_finish(stream, &out));
    assert_string_equal(fl_buf_text(&out), "hello😀" FFFD " " FFFD FFFD);
    fl_buf_clear(&out); // and from the start
    OK(fl_decode_stream_add(stream, TINY_MARK_H, &out));
    assert_string_equal(fl_buf_text(&out), "h");
    fl_decode_stream_destroy(stream);
    fl_decode_stream_destroy(NULL);
    fl_buf_fini(&out);
    fl_tokenizer_close(tokenizer);

    tokenizer =
        open_tiny(*state, &(tiny){.decoder = "{\"type\": \"Sequence\", \"decoders\": ["
                                             "{\"type\": \"Fuse\"}, {\"type\": \"Strip\","
                                             "\"content\": \"a\", \"start\": 0, \"stop\": 1}]}"});
    FAILS(fl_decode_stream_create(&stream, tokenizer, true), FL_ERR_UNSUPPORTED, "the whole text");
    fl_tokenizer_close(tokenizer);
}

/* One fl_tokens with two tokenizers: words that one remembers are not the other's. */
static void test_two_tokenizers(void **state)
{
    fl_tokenizer *bpe = open_tiny(*state, NULL), *ranks = NULL;
    OK(fl_tokenizer_open(&ranks, seed_path("tiktoken/small.model")));
    fl_tokens tokens = {0};
    for (int i = 0; i < 3; i++) {
        OK(fl_tokenizer_encode(bpe, "hello", 5, false, &tokens));
        assert_int_equal(tokens.count, 1);
        assert_int_equal(tokens.ids[0], TINY_MARK_HELLO);
        OK(fl_tokenizer_encode(ranks, "hello", 5, false, &tokens));
        assert_int_equal(tokens.ids[0], 259);
    }
    fl_tokens_fini(&tokens);
    fl_tokenizer_close(bpe);
    fl_tokenizer_close(ranks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_patterns),
        FOLDER_TEST(test_bad_patterns),
        FOLDER_TEST(test_endless_pattern),
        FOLDER_TEST(test_sentencepiece),
        FOLDER_TEST(test_bad_sentencepiece),
        FOLDER_TEST(test_ranks),
        FOLDER_TEST(test_stream),
        FOLDER_TEST(test_two_tokenizers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
