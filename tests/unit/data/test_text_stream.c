/* Text that is shown while it comes: nothing half, nothing taken back, no stop string. */
#include "data/text_stream.h"
#include "data_test.h"

#define BYTE(value) (TINY_BYTE + (value))

/* What was shown after each token, with '|' between, and the whole text after the end. */
static void expect_shown(fl_text_stream *s, const int32_t *ids, size_t count, const char *expected)
{
    fl_buf log = {0};
    size_t shown = 0;
    for (size_t i = 0; i < count && !s->is_stopped; i++) {
        OK(fl_text_stream_add(s, ids[i]));
        if (s->safe > shown) OK(fl_buf_add(&log, s->text.data + shown, s->safe - shown));
        OK(fl_buf_add_text(&log, "|"));
        shown = s->safe;
    }
    OK(fl_text_stream_finish(s));
    assert_int_equal(s->safe, s->text.length);
    if (s->safe > shown) OK(fl_buf_add(&log, s->text.data + shown, s->safe - shown));
    if (s->is_stopped) OK(fl_buf_add_text(&log, "."));
    assert_string_equal(fl_buf_text(&log), expected);
    fl_buf_fini(&log);
}
#define EXPECT_SHOWN(expected, ...)                  \
    expect_shown(&s, (const int32_t[]){__VA_ARGS__}, \
                 sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (expected))

static void start(fl_text_stream *s, const fl_tokenizer *tokenizer, bool drops_space)
{
    const int32_t prompt[] = {TINY_BOS, TINY_MARK_HELLO};
    OK(fl_text_stream_start(s, tokenizer, prompt, 2, drops_space));
}

static void words_keep_their_boundary(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_text_stream s = {0};
    start(&s, tokenizer, false);
    EXPECT_SHOWN(" hello| hello|lo|", TINY_MARK_HELLO, TINY_MARK_HELLO, TINY_LO);
    start(&s, tokenizer, true); /* only the very first space goes */
    EXPECT_SHOWN("hello| hello|", TINY_MARK_HELLO, TINY_MARK_HELLO);
    start(&s, tokenizer, true);
    EXPECT_SHOWN("lo| hello|", TINY_LO, TINY_MARK_HELLO);
    start(&s, tokenizer, true); /* special tokens give nothing */
    EXPECT_SHOWN("||h|", TINY_BOS, TINY_EOS, TINY_MARK_H);
    OK(fl_text_stream_start(&s, tokenizer, NULL, 0, false)); /* without context */
    EXPECT_SHOWN("hello| hello|", TINY_MARK_HELLO, TINY_MARK_HELLO);
    fl_text_stream_fini(&s);
    fl_tokenizer_close(tokenizer);
}

static void half_characters_wait(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_text_stream s = {0};
    start(&s, tokenizer, false);
    EXPECT_SHOWN("h||é|h|", TINY_H, BYTE(0xc3), BYTE(0xa9), TINY_H);
    start(&s, tokenizer, false);
    EXPECT_SHOWN("|||\xf0\x9f\x98\x80|", BYTE(0xf0), BYTE(0x9f), BYTE(0x98), BYTE(0x80));
    start(&s, tokenizer, false); /* never complete: shown as it is at the end */
    EXPECT_SHOWN("h||\xef\xbf\xbd", TINY_H, BYTE(0xc3));
    start(&s, tokenizer, false); /* the run turns bad after its first byte was shown */
    EXPECT_SHOWN("\n||\xef\xbf\xbdh|", BYTE('\n'), BYTE(0xc3), TINY_H);
    fl_text_stream_fini(&s);
    fl_tokenizer_close(tokenizer);
}

/* The text is that of all ids decoded at once, also in a long run of byte tokens. */
static void long_answers_are_exact(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_text_stream s = {0};
    enum { COUNT = 1200 };
    static int32_t ids[2 + COUNT];
    static const unsigned char euro[] = {0xe2, 0x82, 0xac};
    ids[0] = TINY_BOS;
    ids[1] = TINY_MARK_HELLO;
    for (int part = 0; part < 2; part++) {
        for (int i = 0; i < COUNT; i++)
            ids[2 + i] = part == 0 ? BYTE(euro[i % 3]) : i % 7 ? TINY_LO : TINY_MARK_HELLO;
        start(&s, tokenizer, false);
        for (int i = 0; i < COUNT; i++)
            OK(fl_text_stream_add(&s, ids[2 + i]));
        OK(fl_text_stream_finish(&s));
        fl_buf all = {0};
        OK(fl_tokenizer_decode(tokenizer, ids, 2 + COUNT, true, &all));
        assert_string_equal(fl_buf_text(&s.text), all.data + strlen("hello"));
        fl_buf_fini(&all);
    }
    /* a prompt that ends in many byte tokens */
    OK(fl_text_stream_start(&s, tokenizer,
                            (const int32_t[]){BYTE(0xe2), BYTE(0x82), BYTE(0xac), BYTE(0xe2),
                                              BYTE(0x82), BYTE(0xac), BYTE(0xe2), BYTE(0x82),
                                              BYTE(0xac), BYTE(0xe2), BYTE(0x82), BYTE(0xac)},
                            12, false));
    EXPECT_SHOWN("||\xe2\x82\xac|", BYTE(0xe2), BYTE(0x82), BYTE(0xac));
    fl_text_stream_fini(&s);
    fl_tokenizer_close(tokenizer);
}

static void stop_strings_are_not_shown(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    static const char *const stops[] = {"ello", "\n\n", "loh"};
    fl_text_stream s = {.stops = stops, .num_stops = 3};
    start(&s, tokenizer, false);
    EXPECT_SHOWN(" h|.", TINY_MARK_HELLO); /* inside one token */
    start(&s, tokenizer, false);
    EXPECT_SHOWN("h||||.", TINY_H, TINY_E, TINY_L, TINY_LO); /* in pieces: the beginning waits */
    start(&s, tokenizer, false);
    EXPECT_SHOWN("h||eh|", TINY_H, TINY_E, TINY_H); /* it was another word */
    start(&s, tokenizer, false);
    EXPECT_SHOWN("||\nh|", BYTE('\n'), TINY_MARK + TINY_SIZE, TINY_H);
    start(&s, tokenizer, false);
    EXPECT_SHOWN("||.", BYTE('\n'), BYTE('\n'));
    start(&s, tokenizer, false);
    EXPECT_SHOWN("|||.", TINY_L, TINY_O, TINY_H); /* "loh" of three tokens */
    start(&s, tokenizer, false);
    EXPECT_SHOWN("h||e", TINY_H, TINY_E); /* the end shows what waited */
    fl_text_stream_fini(&s);
    fl_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(words_keep_their_boundary),
        FOLDER_TEST(half_characters_wait),
        FOLDER_TEST(long_answers_are_exact),
        FOLDER_TEST(stop_strings_are_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
