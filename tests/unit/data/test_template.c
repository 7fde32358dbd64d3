/* The two templates, byte for byte as the reference system writes them. */
#include "data_test.h"

static const struct {
    const char *name, *text, *prompt;
} cases[] = {
    {"alpaca",
     "Below is an instruction that describes a task. Write a response that appropriately "
     "completes the request.\n\n### Instruction:\nAdd {} to 2. \n\n### Response: {0} is 3.</s>",
     "Below is an instruction that describes a task. Write a response that appropriately "
     "completes the request.\n\n### Instruction:\nAdd {} to 2. \n\n### Response:"},
    {"vicuna",
     "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
     "helpful, detailed, and polite answers to the user's questions. USER: Add {} to 2. "
     "ASSISTANT: {0} is 3.</s>",
     "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
     "helpful, detailed, and polite answers to the user's questions. USER: Add {} to 2. "
     "ASSISTANT:"},
};

static void test_render(void **state)
{
    (void)state;
    fl_buf text = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const fl_template *template = fl_template_find(cases[i].name);
        assert_non_null(template);
        fl_buf_clear(&text);
        OK(fl_template_render(&text, template, "Add {} to 2.", 12, "{0} is 3.", 9, "</s>"));
        assert_string_equal(fl_buf_text(&text), cases[i].text);
        assert_non_null(strstr(cases[i].text, template->response_key));
        fl_buf_clear(&text);
        OK(fl_template_render_prompt(&text, template, "Add {} to 2.", 12));
        assert_string_equal(fl_buf_text(&text), cases[i].prompt);
    }
    fl_buf_fini(&text);
}

/* Texts are bytes with a length: a zero byte is not the end, and nothing is cut off. */
static void test_bytes(void **state)
{
    (void)state;
    const fl_template *template = fl_template_find("vicuna");
    fl_buf text = {0};
    OK(fl_buf_add_text(&text, "kept|"));
    OK(fl_template_render(&text, template, "a\0b", 3, "", 0, ""));
    const size_t fixed = strlen(template->before) + strlen(template->between);
    assert_int_equal(text.length, 5 + fixed + 3);
    assert_memory_equal(text.data, "kept|A chat", 11);
    assert_memory_equal(text.data + 5 + strlen(template->before), "a\0b ASSISTANT: ", 15);
    fl_buf_fini(&text);
}

static void test_names(void **state)
{
    (void)state;
    char names[] = FL_TEMPLATE_NAMES;
    assert_string_equal(fl_template_names(), names);
    size_t count = 0;
    for (char *name = strtok(names, "|"); name; name = strtok(NULL, "|"), count++) {
        assert_non_null(fl_template_find(name));
        assert_string_equal(fl_template_find(name)->name, name);
    }
    assert_int_equal(count, COUNT_OF(cases));
    assert_null(fl_template_find("Alpaca"));
    assert_null(fl_template_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
