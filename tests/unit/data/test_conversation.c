/* Conversation formats: what each must be, what the loss counts, what cannot be written. */
#include "data_test.h"

#include "data/conversation.h"
#include "data/span.h"

#define TURN(who, says)                                       \
    {                                                         \
        .role = who, .text = says, .length = sizeof(says) - 1 \
    }
#define TRAINED(says)                                   \
    {                                                   \
        FL_ROLE_ASSISTANT, true, says, sizeof(says) - 1 \
    }

static void every_format_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; fl_conversation_name(i); i++) {
        const char *name = fl_conversation_name(i);
        const fl_conversation *f = fl_conversation_find(name);
        assert_non_null(f);
        const char *texts[] = {f->before_system, f->after_system, f->user[0],   f->user[1],
                               f->answer[0],     f->answer[1],    f->answer[2], f->open};
        for (size_t k = 0; k < COUNT_OF(texts); k++)
            assert_non_null(texts[k]);
        if (strncmp(f->answer[0], f->open, strlen(f->open)) != 0)
            fail_msg("%s: an answer does not begin as an open one", name);
    }
    assert_ptr_equal(fl_conversation_find("vicuna"), fl_conversation_find("vicuna_v1.1"));
    assert_null(fl_conversation_find("Vicuna"));
    assert_null(fl_conversation_find(""));
}

/* The parts of the text that the spans hold, with '|' behind each. */
static void expect_counted(const char *name, const fl_turn *turns, size_t n, const char *expected)
{
    fl_span spans[8];
    fl_buf text = {0}, counted = {0};
    OK(fl_buf_add_text(&text, "in front"));
    OK(fl_conversation_render(&text, fl_conversation_find(name), turns, n, false, spans));
    for (size_t i = 0; i < n; i++) {
        assert_true(spans[i].begin <= spans[i].end && spans[i].end <= text.length);
        if (spans[i].begin == spans[i].end) continue;
        OK(fl_buf_add(&counted, text.data + spans[i].begin, spans[i].end - spans[i].begin));
        OK(fl_buf_add_text(&counted, "|"));
    }
    assert_string_equal(fl_buf_text(&counted), expected);
    fl_buf_fini(&text);
    fl_buf_fini(&counted);
}

static void answers_and_their_ends_count(void **state)
{
    (void)state;
    const fl_turn turns[] = {
        TURN(FL_ROLE_SYSTEM, "s"),
        TURN(FL_ROLE_USER, "u"),
        TRAINED("a"),
        TURN(FL_ROLE_USER, "v"),
        TURN(FL_ROLE_ASSISTANT, "b"),
        TURN(FL_ROLE_USER, "w"),
        TRAINED(""),
    };
    static const struct {
        const char *name, *counted;
    } cases[] = {
        {"vicuna", " a</s>| </s>|"},
        {"llama-2", " a </s>|  </s>|"},
        {"zephyr", "a</s>|</s>|"},
        {"chatglm", "a\n|\n|"},
        {"mpt-7b-chat", "a<|im_end|>|<|im_end|>|"},
        {"one_shot", " a\n### | \n### |"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_counted(cases[i].name, turns, COUNT_OF(turns), cases[i].counted);
    expect_counted("vicuna", turns + 1, 1, "");
}

static void impossible_turns_are_refused(void **state)
{
    (void)state;
    static const fl_turn system[] = {TURN(FL_ROLE_USER, "u"), TURN(FL_ROLE_SYSTEM, "s")};
    static const fl_turn tool[] = {TURN(FL_ROLE_USER, "u"), TURN(FL_ROLE_TOOL, "t")};
    static const fl_turn swapped[] = {TURN(FL_ROLE_ASSISTANT, "a"), TURN(FL_ROLE_USER, "u")};
    const fl_conversation *f = fl_conversation_find("vicuna");
    fl_conversation strict = *f;
    strict.in_turn = strict.no_system = true;
    fl_buf text = {0};
    FAILS(fl_conversation_render(&text, f, system, 2, false, NULL), FL_ERR_INPUT, "in front only");
    FAILS(fl_conversation_render(&text, f, tool, 2, false, NULL), FL_ERR_INPUT, "a tool's turn");
    OK(fl_conversation_render(&text, f, swapped, 2, true, NULL));
    FAILS(fl_conversation_render(&text, &strict, swapped, 2, true, NULL), FL_ERR_INPUT, "in turn");
    FAILS(fl_conversation_render(&text, &strict, swapped, 0, true, NULL), FL_ERR_INPUT, "in turn");
    FAILS(fl_conversation_render(&text, &strict, system + 1, 1, false, NULL), FL_ERR_INPUT,
          "no place for a system turn");
    static const fl_turn said[] = {TURN(FL_ROLE_USER, "<tool_response>x</tool_response>"),
                                   TURN(FL_ROLE_USER, "<tool_response>"), TURN(FL_ROLE_USER, "")};
    fl_conversation thinking = *f;
    thinking.thinks = true;
    FAILS(fl_conversation_render(&text, &thinking, said, 1, true, NULL), FL_ERR_INPUT,
          "a tool's turn");
    OK(fl_conversation_render(&text, &thinking, said + 1, 2, true, NULL));
    FAILS(fl_conversation_render(&text, fl_conversation_find("bard"), system, 1, false, NULL),
          FL_ERR_UNSUPPORTED, "web service");
    fl_buf_fini(&text);
}

/* Bytes that are no text, and zero bytes, go through. */
static void texts_are_bytes(void **state)
{
    (void)state;
    const fl_turn turn = {.role = FL_ROLE_USER, .text = "a\0\xff", .length = 3};
    fl_buf text = {0};
    OK(fl_conversation_render(&text, fl_conversation_find("raw"), &turn, 1, true, NULL));
    assert_int_equal(text.length, 3);
    assert_memory_equal(text.data, "a\0\xff", 3);
    fl_buf_fini(&text);
}

static void tokens_of_spans_keep_their_labels(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_tokens tokens = {0};
    /* <s>, "▁hello" [0, 5), eos [5, 9), "▁" [9, 10)?, ... */
    OK(fl_tokenizer_encode(tokenizer, "hello</s>hello", 14, true, &tokens));
    int32_t labels[16];
    assert_true(tokens.count <= COUNT_OF(labels));
    static const fl_span spans[] = {{0, 0}, {4, 6}, {6, 6}, {13, 14}};
    memcpy(labels, tokens.ids, tokens.count * sizeof *labels);
    fl_spans_mask(labels, -100, &tokens, tokens.count, spans, COUNT_OF(spans));
    for (size_t i = 0; i < tokens.count; i++) {
        bool counts = false;
        for (size_t k = 0; k < COUNT_OF(spans); k++)
            for (uint32_t byte = spans[k].begin; byte < spans[k].end; byte++)
                counts |= tokens.begin[i] <= byte && byte < tokens.end[i];
        assert_int_equal(labels[i], counts ? tokens.ids[i] : -100);
    }
    assert_int_equal(labels[0], -100); /* bos covers nothing */
    fl_tokens_fini(&tokens);
    fl_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_whole),
        cmocka_unit_test(answers_and_their_ends_count),
        cmocka_unit_test(impossible_turns_are_refused),
        cmocka_unit_test(texts_are_bytes),
        FOLDER_TEST(tokens_of_spans_keep_their_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
