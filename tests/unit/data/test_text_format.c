/* What `template` means: names, custom formats, a model's own template, what ends an answer. */
#include "data_test.h"

#include "data/chat_template.h"
#include "data/jinja_form.h"
#include "data/text_format.h"

static const fl_custom_format custom = {
    .start = "",
    .system = "S {}\n",
    .system_text = "",
    .user = "U {}\n",
    .assistant = "A {} end \n",
};

static void expect_prompt(const fl_text_format *format, const char *expected)
{
    fl_buf text = {0};
    OK(fl_text_format_prompt(format, &text, "hi", 2));
    assert_string_equal(fl_buf_text(&text), expected);
    fl_buf_fini(&text);
}

static void names_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {"alpaca", "vicuna", "vicuna_v1.1", "chat", "custom", "raw"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        OK(fl_text_format_check(good[i], &custom));
    FAILS(fl_text_format_check("zephir", &custom), FL_ERR_USAGE, "did you mean zephyr?");
    FAILS(fl_text_format_check("none of them", &custom), FL_ERR_USAGE, "docs/templates.md");
    FAILS(fl_text_format_check("chatgpt", &custom), FL_ERR_USAGE, "web service");
    FAILS(fl_text_format_check("", &custom), FL_ERR_USAGE, "unknown template");
    fl_custom_format wrong = custom;
    wrong.user = "no place";
    FAILS(fl_text_format_check("custom", &wrong), FL_ERR_USAGE, "chat_user = \"no place\"");
    wrong.user = "{} and {}";
    FAILS(fl_text_format_check("custom", &wrong), FL_ERR_USAGE, "once");
    wrong = custom;
    wrong.system = "";
    OK(fl_text_format_check("custom", &wrong));
    wrong.system_text = "s";
    FAILS(fl_text_format_check("custom", &wrong), FL_ERR_USAGE, "chat_system_text");
}

static void custom_formats(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    const fl_turn turns[] = {{FL_ROLE_USER, false, "u", 1}, {FL_ROLE_ASSISTANT, true, "a", 1}};
    fl_text_format format;
    fl_span spans[2];
    fl_buf text = {0};
    OK(fl_text_format_open(&format, "custom", &custom, tokenizer, NULL));
    assert_null(format.template);
    OK(fl_conversation_render(&text, &format.conversation, turns, 2, false, spans));
    assert_string_equal(fl_buf_text(&text), "U u\nA a end \n");
    assert_int_equal(spans[1].begin, 5); /* behind "A" */
    assert_int_equal(spans[1].end, 11);  /* and with "end" */
    assert_true(fl_text_format_drops_space(&format) && fl_text_format_adds_special(&format));
    assert_int_equal(format.num_stops, 1);
    assert_string_equal(format.stops[0], "end");
    expect_prompt(&format, "U hi\nA");
    fl_text_format_fini(&format);

    fl_custom_format other = custom;
    other.start = "<s>";
    other.system_text = "s";
    other.assistant = "A\n{}</s>\n";
    OK(fl_text_format_open(&format, "custom", &other, tokenizer, NULL));
    expect_prompt(&format, "<s>S s\nU hi\nA\n");
    assert_false(fl_text_format_drops_space(&format) || fl_text_format_adds_special(&format));
    assert_int_equal(format.num_stops, 0); /* </s> is a token */
    const int32_t ids[] = {TINY_H, TINY_EOS, TINY_H};
    assert_int_equal(fl_text_format_end(&format, ids, 3), 1);
    assert_int_equal(fl_text_format_end(&format, ids, 1), 1);
    fl_text_format_fini(&format);
    fl_buf_fini(&text);
    fl_tokenizer_close(tokenizer);
}

static void built_in_formats(void **state)
{
    fl_tokenizer *tokenizer = open_tiny(*state, NULL);
    fl_text_format format;
    OK(fl_text_format_open(&format, "alpaca", NULL, tokenizer, NULL));
    assert_ptr_equal(format.template, fl_template_find("alpaca"));
    assert_string_equal(format.conversation.answer[1], "</s>");
    fl_text_format_fini(&format);
    OK(fl_text_format_open(&format, "one_shot", NULL, tokenizer, NULL));
    assert_null(format.template);
    assert_int_equal(fl_text_format_cut(&format, "yes\n### Human", 13), 4);
    assert_int_equal(fl_text_format_cut(&format, "yes", 3), 3);
    fl_text_format_fini(&format);
    fl_tokenizer_close(tokenizer);
}

/* Where </s> is no token, the eos token ends the answers of the built-in formats. */
static void eos_of_another_name(void **state)
{
    const tiny parts = {.added = "[{\"id\": 0, \"content\": \"<unk>\", \"special\": true},"
                                 "{\"id\": 1, \"content\": \"<s>\", \"special\": true}]",
                        .config = "{\"bos_token\": \"<s>\", \"eos_token\": \"<unk>\"}"};
    fl_tokenizer *tokenizer = open_tiny(*state, &parts);
    fl_text_format format;
    OK(fl_text_format_open(&format, "vicuna", NULL, tokenizer, NULL));
    assert_string_equal(format.conversation.answer[1], "<unk>");
    fl_text_format_fini(&format);
    OK(fl_text_format_open(&format, "llama2-chinese", NULL, tokenizer, NULL));
    assert_string_equal(format.conversation.after_system, "<unk>\n");
    assert_string_equal(format.conversation.answer[1], "\n<unk>");
    assert_string_equal(format.conversation.answer[2], "<s>");
    assert_string_equal(format.conversation.stops[0], "<unk>");
    fl_text_format_fini(&format);
    fl_tokenizer_close(tokenizer);
}

#define CHATML                                                                              \
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "            \
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}" \
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"

static fl_status open_own(const char *folder, const fl_tokenizer *tokenizer)
{
    fl_text_format format;
    const fl_status status = fl_text_format_open(&format, "chat", NULL, tokenizer, folder);
    if (status == FL_OK) {
        assert_true(fl_chat_template_exists(folder));
        expect_prompt(&format, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    }
    fl_text_format_fini(&format);
    return status;
}

static void files_of_chat_templates(void **state)
{
    const char *folder = *state;
    fl_tokenizer *tokenizer = open_tiny(folder, NULL);
    static const struct {
        const char *config, *fault;
        fl_status status;
    } cases[] = {
        {"{}", "tokenizer_config.json: the model has no chat_template", FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": null}", "no chat_template", FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": 7}", "chat_template must be a text or a list", FL_ERR_INPUT},
        {"[1]", "must hold an object", FL_ERR_INPUT},
        {"{\"chat_template\": [{\"name\": \"default\"}]}", "template is missing", FL_ERR_INPUT},
        {"{\"chat_template\": [7]}", "tokenizer_config.json", FL_ERR_INPUT},
        {"{\"chat_template\": [{\"name\": \"rag\", \"template\": \"x\"}]}", "no chat_template",
         FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": \"\"}", "no known form", FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": \"{{ message }}\"}", "no known form (", FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": \"{{ message\"}", "a tag does not end", FL_ERR_INPUT},
        {"{\"chat_template\": \"{{ 'a\"}", "a string does not end", FL_ERR_INPUT},
        {"{\"chat_template\": \"{{ 'a\\\\\"}", "unusual escape", FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": \"{# a\"}", "a comment does not end", FL_ERR_INPUT},
        {"{\"chat_template\": \"{% raw %}\"}", "a raw block", FL_ERR_UNSUPPORTED},
        {"{\"chat_template\": \"\xff\"}", "tokenizer_config.json", FL_ERR_INPUT},
    };
    assert_int_equal(unlink(path_in(folder, "tokenizer_config.json")), 0);
    assert_false(fl_chat_template_exists(folder));
    FAILS(open_own(folder, tokenizer), FL_ERR_UNSUPPORTED, "no chat_template");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_text(folder, "tokenizer_config.json", cases[i].config);
        FAILS(open_own(folder, tokenizer), cases[i].status, cases[i].fault);
    }
    write_text(folder, "chat_template.jinja", CHATML "\n"); /* wins over the other file */
    OK(open_own(folder, tokenizer));
    write_text(folder, "chat_template.jinja", "\xff");
    FAILS(open_own(folder, tokenizer), FL_ERR_INPUT,
          "chat_template.jinja: a chat template is not UTF-8");
    write_file(folder, "chat_template.jinja", "a\0b", 3);
    FAILS(open_own(folder, tokenizer), FL_ERR_UNSUPPORTED, "zero bytes");
    static char large[10000000];
    memset(large, '{', sizeof large);
    write_file(folder, "chat_template.jinja", large, sizeof large);
    FAILS(open_own(folder, tokenizer), FL_ERR_INPUT, "chat_template.jinja");
    fl_tokenizer_close(tokenizer);
}

static uint64_t form_of(const char *source)
{
    fl_arena *arena;
    fl_jinja_form form;
    OK(fl_arena_create(&arena));
    OK(fl_jinja_form_read(&form, arena, source, strlen(source), "x"));
    const uint64_t hash = fl_jinja_form_hash(&form, NULL);
    fl_jinja_form_fini(&form);
    fl_arena_destroy(arena);
    return hash;
}

static void forms(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"{{ a['role'] }}", "{{-  a.role-}}\n", true},
        {"{{ a['other'] }}", "{{ a.other }}", false},
        {"{{ 'x\\n' }}", "{{ \"x\n\" }}", true},
        {"{{ 'x' }}", "x", true},
        {"x\n", "x", true}, /* Jinja drops the last line end */
        {"x\n\n", "x", false},
        {"{% if a %}\nx{% endif %}", "{% if a %}x{% endif %}", true}, /* trim_blocks */
        {"{{ a }}\nx", "{{ a }}x", false},
        {"{{ a -}}\n  x", "{{ a }}x", true},
        {"x\n  {% if a %}", "x\n{% if a %}", true}, /* lstrip_blocks */
        {"x  {% if a %}", "x{% if a %}", false},
        {"x  {%- if a %}", "x{% if a %}", true},
        {"x\n  {%+ if a %}", "x\n{% if a %}", false},
        {"x\n  {{ a }}", "x\n{{ a }}", false},
        {"{# c #}\nx", "x", true},
        {"{#} c #}\nx", "x", true},
        {"{#- c +#}\nx", "\nx", true},
        {"{#+ c -#}\n x", "x", true},
        {"{% if a %}\n  {% if b %}", "{%if a%}{%if b%}", true},
        {"{{ a b }}", "{{ ab }}", false},
        {"{{ 'a' 'b' }}", "{{ 'ab' }}", false},
        {"{{ a }}{{ b }}", "{{ a b }}", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if ((form_of(cases[i].a) == form_of(cases[i].b)) != cases[i].same)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),  FOLDER_TEST(custom_formats),
        FOLDER_TEST(built_in_formats),        FOLDER_TEST(eos_of_another_name),
        FOLDER_TEST(files_of_chat_templates), cmocka_unit_test(forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
