/* Encoding and decoding with a small tokenizer of Llama's form. */
#include "data_test.h"

#define BYTE(c) (TINY_BYTE + (unsigned char)(c))

static void test_ids(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    EXPECT_IDS(tokenizer, "", TINY_BOS);
    EXPECT_IDS(tokenizer, "hello", TINY_BOS, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, "hello hello", TINY_BOS, TINY_MARK_HELLO, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, "helo", TINY_BOS, TINY_MARK_HEL, TINY_O);
    EXPECT_IDS(tokenizer, " ", TINY_BOS, TINY_MARK, TINY_MARK);
    EXPECT_IDS(tokenizer, " hello ", TINY_BOS, TINY_MARK, TINY_MARK_HELLO, TINY_MARK);
    EXPECT_IDS(tokenizer, "\xc3\xa9", TINY_BOS, TINY_MARK, BYTE(0xc3), BYTE(0xa9));
    EXPECT_IDS(tokenizer, "x\n\0", TINY_BOS, TINY_MARK, BYTE('x'), BYTE('\n'), BYTE(0));
    expect_ids(tokenizer, "hello", 5, false, (const int32_t[]){TINY_MARK_HELLO, -1});
    expect_ids(tokenizer, "", 0, false, (const int32_t[]){-1});
    fl_tokenizer_close(tokenizer);
    fl_tokenizer_close(NULL);
}

/* Special tokens in the text, and the pieces between them, each normalised on its own. */
static void test_specials_in_text(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    EXPECT_IDS(tokenizer, "hello</s>", TINY_BOS, TINY_MARK_HELLO, TINY_EOS);
    EXPECT_IDS(tokenizer, "</s><s>hello", TINY_BOS, TINY_EOS, TINY_BOS, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, "<unk> hello", TINY_BOS, TINY_UNK, TINY_MARK, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, "</s", TINY_BOS, TINY_MARK, BYTE('<'), BYTE('/'), BYTE('s'));
    fl_tokenizer_close(tokenizer);
    // Special tokens are found also where the file marks them as normalised, or only the config
    // knows them.
    static const char *const lists[] = {
        "[{\"id\": 2, \"content\": \"</s>\", \"special\": true, \"normalized\": true}]", "[]"};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        tokenizer = open_tiny(*state, &(tiny){.added = lists[i]});
        EXPECT_IDS(tokenizer, "hello</s>", TINY_BOS, TINY_MARK_HELLO, TINY_EOS);
        fl_tokenizer_close(tokenizer);
    }
}

static void test_covered_bytes(void **state)
{
    static const char text[] = "hello \xc3\xa9</s>lo";
    static const struct {
        int32_t id;
        int64_t begin, end;
    } wanted[] = {{TINY_BOS, 0, 0},    {TINY_MARK_HELLO, 0, 5}, {TINY_MARK, 5, 6},
                  {BYTE(0xc3), 6, 8},  {BYTE(0xa9), 6, 8},      {TINY_EOS, 8, 12},
                  {TINY_MARK, 12, 13}, {TINY_LO, 12, 14}};
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_tokens tokens = {0};
    OK(fl_tokenizer_encode(tokenizer, text, strlen(text), true, &tokens));
    assert_int_equal(tokens.count, COUNT_OF(wanted));
    for (size_t i = 0; i < tokens.count; i++) {
        assert_int_equal(tokens.ids[i], wanted[i].id);
        assert_int_equal(tokens.begin[i], wanted[i].begin);
        assert_int_equal(tokens.end[i], wanted[i].end);
    }
    fl_tokens_fini(&tokens);
    fl_tokenizer_close(tokenizer);
}

/* Bytes that are no UTF-8 read as U+FFFD: the right column is Python's replacement. */
static void test_invalid_utf8(void **state)
{
#define FFFD "\xef\xbf\xbd"
    static const char *const cases[][2] = {
        {"\xff", FFFD},
        {"\xe6\x97", FFFD},
        {"\xe6\x97h", FFFD "h"},
        {"\xe6\x97\xe6\x97\xa5", FFFD "\xe6\x97\xa5"},
        {"\xc0\xaf", FFFD FFFD},
        {"\xed\xa0\x80", FFFD FFFD FFFD},
        {"\xf0\x9f\x98</s>", FFFD "</s>"},
        {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xf0\x80\x80", FFFD FFFD FFFD},
        {"h\x80\x80", "h" FFFD FFFD},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_tokens broken = {0}, clean = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OK(fl_tokenizer_encode(tokenizer, cases[i][0], strlen(cases[i][0]), true, &broken));
        OK(fl_tokenizer_encode(tokenizer, cases[i][1], strlen(cases[i][1]), true, &clean));
        assert_int_equal(broken.count, clean.count);
        assert_memory_equal(broken.ids, clean.ids, clean.count * sizeof *clean.ids);
        assert_int_equal(broken.end[broken.count - 1], strlen(cases[i][0]));
    }
    fl_tokens_fini(&broken);
    fl_tokens_fini(&clean);
    fl_tokenizer_close(tokenizer);
}

static void test_metaspace(void **state)
{
#define METASPACE(rest) "{\"type\": \"Metaspace\", \"replacement\": \"▁\", " rest "}"
    tiny parts = {.normalizer = "null",
                  .pre_tokenizer = METASPACE("\"prepend_scheme\": \"first\", \"split\": false")};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello hello", TINY_BOS, TINY_MARK_HELLO, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, " hello", TINY_BOS, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, "hello</s>hello", TINY_BOS, TINY_MARK_HELLO, TINY_EOS, TINY_H, TINY_EL,
               TINY_LO);
    fl_tokenizer_close(tokenizer);

    parts.pre_tokenizer = METASPACE("\"prepend_scheme\": \"always\", \"split\": false");
    tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "</s>hello", TINY_BOS, TINY_EOS, TINY_MARK_HELLO);
    fl_tokenizer_close(tokenizer);

    parts.pre_tokenizer = METASPACE("\"prepend_scheme\": \"never\"");
    tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello hello", TINY_BOS, TINY_H, TINY_EL, TINY_LO, TINY_MARK_HELLO);
    fl_tokenizer_close(tokenizer);
}

/* A merge over a word boundary: taken in a text that is one piece, not in one that is split. */
static void test_merge_over_boundary(void **state)
{
    const int32_t over = TINY_SIZE;
    tiny parts = {.vocab = ", \"o▁\": 269",
                  .merges = "[\"o ▁\", \"▁ h\", \"e l\", \"▁h el\", \"l o\", \"▁hel lo\"]"};
    assert_int_equal(over, 269);
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello hello", TINY_BOS, TINY_MARK_HEL, TINY_L, over, TINY_H, TINY_EL,
               TINY_LO);
    fl_tokenizer_close(tokenizer);
    parts.normalizer = "null";
    parts.pre_tokenizer = METASPACE("\"prepend_scheme\": \"first\", \"split\": true");
    tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello  hello", TINY_BOS, TINY_MARK_HELLO, TINY_MARK, TINY_MARK_HELLO);
    fl_tokenizer_close(tokenizer);
}

static void test_added_tokens(void **state)
{
    const int32_t zz = TINY_SIZE, m = TINY_SIZE + 1, mx = TINY_SIZE + 2;
    const tiny parts = {
        .added = "[{\"id\": 269, \"content\": \"zz\", \"normalized\": true},"
                 "{\"id\": 270, \"content\": \"<m>\", \"lstrip\": true, \"rstrip\": true},"
                 "{\"id\": 271, \"content\": \"<m>x\"}, {\"id\": 7, \"content\": \"\"}]"};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 272);
    // The normalised form of zz is "▁zz", so it is found at the start of words only.
    EXPECT_IDS(tokenizer, "zz zz", TINY_BOS, zz, zz);
    EXPECT_IDS(tokenizer, "hzz", TINY_BOS, TINY_MARK_H, BYTE('z'), BYTE('z'));
    EXPECT_IDS(tokenizer, "hello<m>xhello", TINY_BOS, TINY_MARK_HELLO, mx, TINY_MARK_HELLO);
    fl_tokens tokens = {0};
    OK(fl_tokenizer_encode(tokenizer, "hello <m> \xe3\x80\x80hello", 18, false, &tokens));
    assert_int_equal(tokens.count, 3);
    assert_int_equal(tokens.ids[1], m);
    assert_int_equal(tokens.begin[1], 5);
    assert_int_equal(tokens.end[1], 13);
    fl_tokens_fini(&tokens);
    fl_tokenizer_close(tokenizer);
}

static void test_unknown(void **state)
{
    tiny parts = {.options = "\"unk_token\": \"<unk>\", \"fuse_unk\": true"};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "xyhellox", TINY_BOS, TINY_MARK, TINY_UNK, TINY_H, TINY_EL, TINY_LO,
               TINY_UNK);
    fl_tokenizer_close(tokenizer);
    parts.options = "\"unk_token\": \"<unk>\", \"fuse_unk\": false";
    tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "xy", TINY_BOS, TINY_MARK, TINY_UNK, TINY_UNK);
    fl_tokenizer_close(tokenizer);
    parts.options = "\"unk_token\": null"; // such characters vanish
    tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hxexllo", TINY_BOS, TINY_MARK_HELLO);
    fl_tokenizer_close(tokenizer);
}

static void test_ignore_merges(void **state)
{
    const tiny parts = {.options = "\"byte_fallback\": true, \"ignore_merges\": true",
                        .merges = "[]"};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello", TINY_BOS, TINY_MARK_HELLO);
    EXPECT_IDS(tokenizer, "helo", TINY_BOS, TINY_MARK, TINY_H, TINY_E, TINY_L, TINY_O);
    fl_tokenizer_close(tokenizer);
}

static void test_around(void **state)
{
    tiny parts = {.config = "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\","
                            "\"add_bos_token\": false, \"add_eos_token\": true}"};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello", TINY_MARK_HELLO, TINY_EOS);
    fl_tokenizer_close(tokenizer);
    parts.config = "{}";
    parts.post_processor = "null";
    tokenizer = open_tiny(*state, &parts);
    EXPECT_IDS(tokenizer, "hello", TINY_MARK_HELLO);
    fl_tokenizer_close(tokenizer);
}

static void test_special_tokens(void **state)
{
    static const struct {
        const char *config;
        int32_t bos, eos, unk, pad;
    } cases[] = {
        {NULL, 1, 2, 0, 0},
        {"", -1, -1, 0, 0},
        {"{\"bos_token\": null, \"eos_token\": \"</s>\", \"pad_token\": \"</s>\"}", -1, 2, 0, 2},
        {"{\"unk_token\": {\"content\": \"<s>\"}}", -1, -1, 1, 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fl_tokenizer *tokenizer = open_tiny(*state, &(tiny){.config = cases[i].config});
        assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_BOS), cases[i].bos);
        assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_EOS), cases[i].eos);
        assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_UNK), cases[i].unk);
        assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_PAD), cases[i].pad);
        const char *eos = fl_tokenizer_special_text(tokenizer, FL_SPECIAL_EOS);
        if (cases[i].eos < 0)
            assert_null(eos);
        else
            assert_string_equal(eos, "</s>");
        assert_int_equal(fl_tokenizer_vocab_size(tokenizer), TINY_SIZE);
        assert_string_equal(fl_tokenizer_token(tokenizer, BYTE('\n')), "<0x0A>");
        assert_null(fl_tokenizer_token(tokenizer, TINY_SIZE));
        assert_null(fl_tokenizer_token(tokenizer, -1));
        fl_tokenizer_close(tokenizer);
    }
}

static void expect_text(const fl_tokenizer *tokenizer, const int32_t *ids, size_t count,
                        bool skip_special, const char *text)
{
    fl_buf out = {0};
    OK(fl_tokenizer_decode(tokenizer, ids, count, skip_special, &out));
    assert_string_equal(fl_buf_text(&out), text);
    fl_buf_fini(&out);
}
#define EXPECT_TEXT(tokenizer, skip_special, text, ...)      \
    expect_text((tokenizer), (const int32_t[]){__VA_ARGS__}, \
                sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (skip_special), (text))

static void test_decode(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    EXPECT_TEXT(tokenizer, true, "hello hello", TINY_BOS, TINY_MARK_HELLO, TINY_MARK_HELLO,
                TINY_EOS);
    EXPECT_TEXT(tokenizer, false, "<s> hello</s>", TINY_BOS, TINY_MARK_HELLO, TINY_EOS);
    EXPECT_TEXT(tokenizer, true, " h", TINY_MARK, TINY_MARK_H);
    EXPECT_TEXT(tokenizer, true, "\xc3\xa9h", BYTE(0xc3), BYTE(0xa9), TINY_H);
    EXPECT_TEXT(tokenizer, true, FFFD "h" FFFD, BYTE(0xc3), TINY_H, BYTE(0xa9));
    // One bad byte spoils its whole run, as in Hugging Face's ByteFallback.
    EXPECT_TEXT(tokenizer, true, FFFD FFFD FFFD, BYTE(0xc3), BYTE(0xa9), BYTE(0xff));
    EXPECT_TEXT(tokenizer, true, "h", -1, TINY_H, TINY_SIZE, INT32_MAX, INT32_MIN);
    expect_text(tokenizer, NULL, 0, true, "");
    fl_tokenizer_close(tokenizer);

    tokenizer = open_tiny(*state, &(tiny){.decoder = "null"});
    EXPECT_TEXT(tokenizer, true, "h ▁hello el", TINY_H, TINY_MARK_HELLO, TINY_BOS, TINY_EL);
    fl_tokenizer_close(tokenizer);

    const tiny strip = {.decoder = "{\"type\": \"Strip\", \"content\": \"l\", \"start\": 1,"
                                   "\"stop\": 3}"};
    tokenizer = open_tiny(*state, &strip);
    EXPECT_TEXT(tokenizer, true, "eo", TINY_L, TINY_EL, TINY_LO, TINY_L);
    fl_tokenizer_close(tokenizer);
}

/* A word of a megabyte takes no second, and the second text of that size takes no memory. */
static void test_long_word(void **state)
{
    enum { LENGTH = 1000000 };
    const tiny parts = {.vocab = ", \"ll\": 269, \"llll\": 270, \"llllllll\": 271",
                        .merges = "[\"l l\", \"ll ll\", \"llll llll\"]"};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    char *text = malloc(LENGTH);
    assert_non_null(text);
    memset(text, 'l', LENGTH);
    fl_tokens tokens = {0};
    OK(fl_tokenizer_encode(tokenizer, text, LENGTH, true, &tokens));
    const uint64_t before = fl_alloc_count();
    OK(fl_tokenizer_encode(tokenizer, text, LENGTH, true, &tokens));
    assert_true(fl_alloc_count() == before);
    assert_int_equal(tokens.count, 2 + LENGTH / 8);
    for (size_t i = 2; i < tokens.count; i++)
        assert_true(tokens.ids[i] == 271 && tokens.end[i] == (int64_t)(i - 1) * 8);
    fl_tokens_fini(&tokens);
    free(text);
    fl_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_ids),
        FOLDER_TEST(test_specials_in_text),
        FOLDER_TEST(test_covered_bytes),
        FOLDER_TEST(test_invalid_utf8),
        FOLDER_TEST(test_metaspace),
        FOLDER_TEST(test_merge_over_boundary),
        FOLDER_TEST(test_added_tokens),
        FOLDER_TEST(test_unknown),
        FOLDER_TEST(test_ignore_merges),
        FOLDER_TEST(test_around),
        FOLDER_TEST(test_special_tokens),
        FOLDER_TEST(test_decode),
        FOLDER_TEST(test_long_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
