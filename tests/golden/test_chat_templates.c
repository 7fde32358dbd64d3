/* Models' own chat templates: every one is known, and writes what Transformers writes
 * (chat_templates.json.gz), byte for byte. */
#include "golden/golden.h"

#include "base/json.h"
#include "data/chat_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

enum { MAX_TURNS = 8 };

static size_t num_changes, num_accepted;

static fl_role role_of(const json_t *entry)
{
    const char *name = json_string_value(json_array_get(entry, 0));
    return strcmp(name, "system") == 0 ? FL_ROLE_SYSTEM
           : strcmp(name, "user") == 0 ? FL_ROLE_USER
                                       : FL_ROLE_ASSISTANT;
}

static size_t read_turns(fl_turn turns[MAX_TURNS], const json_t *conversation)
{
    size_t n = 0, i;
    json_t *entry;
    json_array_foreach(golden_get(conversation, "turns"), i, entry)
    {
        const json_t *text = json_array_get(entry, 1);
        assert_true(n < MAX_TURNS);
        turns[n++] = (fl_turn){.role = role_of(entry),
                               .text = json_string_value(text),
                               .length = json_string_length(text)};
    }
    return n;
}

/* expected: a text; null where the template refuses the turns; false where it says nothing. */
static void check_text(const fl_conversation *format, const json_t *conversation,
                       const json_t *expected)
{
    fl_turn turns[MAX_TURNS];
    const size_t n = read_turns(turns, conversation);
    fl_buf text = {0};
    const bool is_open = json_is_true(golden_get(conversation, "open"));
    const fl_status status = fl_conversation_render(&text, format, turns, n, is_open, NULL);
    if (json_is_null(expected)) {
        assert_int_equal(status, FL_ERR_INPUT);
    } else if (json_is_string(expected)) {
        golden_ok(status, format->name);
        if (strcmp(fl_buf_text(&text), json_string_value(expected)) != 0)
            fail_msg("%s:\n%s\nexpected:\n%s", format->name, fl_buf_text(&text),
                     json_string_value(expected));
    }
    fl_buf_fini(&text);
}

static void texts_are_transformers(void **state)
{
    (void)state;
    json_t *file, *entry;
    size_t i;
    OK(fl_json_load_file(&file, golden_path("chat_templates.json.gz")));
    const json_t *conversations = golden_get(file, "conversations");
    json_array_foreach(golden_get(file, "templates"), i, entry)
    {
        const char *name = json_string_value(golden_get(entry, "name"));
        const json_t *source = golden_get(entry, "source"), *texts = golden_get(entry, "texts");
        fl_arena *arena;
        fl_conversation format;
        OK(fl_arena_create(&arena));
        golden_ok(fl_chat_template_read(&format, arena, json_string_value(source),
                                        json_string_length(source), "<s>", "</s>", name),
                  name);
        for (size_t k = 0; k < json_array_size(texts); k++)
            check_text(&format, json_array_get(conversations, k), json_array_get(texts, k));
        fl_arena_destroy(arena);
    }
    assert_true(i >= 25);
    json_decref(file);
}

/* Adds what the format makes of a conversation, in the form of the script's checksum. */
static void add_rendered(fl_buf *all, const fl_conversation *format, const json_t *conversation)
{
    fl_turn turns[MAX_TURNS];
    const size_t n = read_turns(turns, conversation);
    const bool is_open = json_is_true(golden_get(conversation, "open"));
    const size_t begin = all->length;
    if (fl_conversation_render(all, format, turns, n, is_open, NULL) == FL_OK) return;
    all->length = begin;
    OK(fl_buf_add(all, "\1", 1));
}

/* A template without one of its characters is unknown, or writes what Transformers makes of it. */
static void check_change(const json_t *template, const json_t *conversations, const json_t *change)
{
    const json_t *source = golden_get(template, "source"), *texts = golden_get(template, "texts");
    const size_t at = (size_t)json_integer_value(json_array_get(change, 0));
    fl_buf less = {0}, all = {0};
    fl_arena *arena;
    fl_conversation format;
    OK(fl_arena_create(&arena));
    OK(fl_buf_add(&less, json_string_value(source), at));
    OK(fl_buf_add_text(&less, json_string_value(source) + at + 1));
    if (fl_chat_template_read(&format, arena, less.data, less.length, "<s>", "</s>", "x") ==
        FL_OK) {
        for (size_t k = 0; k < json_array_size(texts); k++)
            if (!json_is_false(json_array_get(texts, k)))
                add_rendered(&all, &format, json_array_get(conversations, k));
        const uLong sum = crc32(0, (const Bytef *)all.data, (uInt)all.length);
        if (sum != (uLong)json_integer_value(json_array_get(change, 1)))
            fail_msg("%s without its byte %zu is taken for something else", format.name, at);
        num_accepted++;
    }
    num_changes++;
    fl_buf_fini(&less);
    fl_buf_fini(&all);
    fl_arena_destroy(arena);
}

static void changes_are_noticed(void **state)
{
    (void)state;
    json_t *file, *entry, *change;
    size_t i, k;
    OK(fl_json_load_file(&file, golden_path("chat_templates.json.gz")));
    json_array_foreach(golden_get(file, "templates"), i, entry)
        json_array_foreach(golden_get(entry, "changed"), k, change)
            check_change(entry, golden_get(file, "conversations"), change);
    assert_true(num_changes > 2000);
    assert_true(num_accepted > 100 && num_accepted < num_changes / 2);
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_transformers),
        cmocka_unit_test(changes_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
