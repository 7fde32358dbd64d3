/* Every conversation format against FastChat's text (conversations.json.gz), byte for byte. */
#include "golden/golden.h"

#include "base/json.h"
#include "data/conversation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TURNS = 8 };

static fl_turn turn_of(fl_role role, const json_t *text)
{
    return (fl_turn){
        .role = role, .text = json_string_value(text), .length = json_string_length(text)};
}

static size_t read_turns(fl_turn turns[MAX_TURNS], const json_t *conversation)
{
    size_t count = 0, i;
    const json_t *system = golden_get(conversation, "system");
    json_t *entry;
    if (json_is_string(system)) turns[count++] = turn_of(FL_ROLE_SYSTEM, system);
    json_array_foreach(golden_get(conversation, "turns"), i, entry)
    {
        const char *role = json_string_value(json_array_get(entry, 0));
        assert_true(count < MAX_TURNS);
        turns[count++] = turn_of(strcmp(role, "user") == 0 ? FL_ROLE_USER : FL_ROLE_ASSISTANT,
                                 json_array_get(entry, 1));
    }
    return count;
}

static void check_text(const fl_conversation *format, const json_t *conversation,
                       const json_t *expected)
{
    fl_turn turns[MAX_TURNS];
    const size_t n = read_turns(turns, conversation);
    const bool is_open = json_is_true(json_object_get(conversation, "open"));
    fl_buf text = {0};
    OK(fl_conversation_render(&text, format, turns, n, is_open, NULL));
    if (strcmp(fl_buf_text(&text), json_string_value(expected)) != 0)
        fail_msg("%s:\n%s\nexpected:\n%s", format->name, fl_buf_text(&text),
                 json_string_value(expected));
    fl_buf_fini(&text);
}

static void check_stops(const fl_conversation *format, const json_t *entry)
{
    const json_t *stops = golden_get(entry, "stops"), *ids = golden_get(entry, "stop_ids");
    const size_t num_stops = json_array_size(stops);
    assert_true(num_stops <= FL_CONVERSATION_MAX_STOPS);
    for (size_t i = 0; i < num_stops; i++)
        assert_string_equal(format->stops[i], json_string_value(json_array_get(stops, i)));
    if (num_stops < FL_CONVERSATION_MAX_STOPS) assert_null(format->stops[num_stops]);
    assert_int_equal(format->num_stop_ids, json_array_size(ids));
    for (size_t i = 0; i < format->num_stop_ids; i++)
        assert_int_equal(format->stop_ids[i], json_integer_value(json_array_get(ids, i)));
}

static void texts_are_fastchats(void **state)
{
    (void)state;
    json_t *file, *entry;
    size_t i;
    OK(fl_json_load_file(&file, golden_path("conversations.json.gz")));
    const json_t *conversations = golden_get(file, "conversations");
    assert_int_equal(json_array_size(golden_get(file, "templates")), 62);
    json_array_foreach(golden_get(file, "templates"), i, entry)
    {
        const char *name = json_string_value(golden_get(entry, "name"));
        const fl_conversation *format = fl_conversation_find(name);
        if (!format) fail_msg("no conversation format %s", name);
        const json_t *texts = json_object_get(entry, "texts");
        assert_int_equal(format->is_api_only, texts == NULL);
        check_stops(format, entry);
        for (size_t k = 0; k < json_array_size(texts); k++)
            if (json_is_string(json_array_get(texts, k)))
                check_text(format, json_array_get(conversations, k), json_array_get(texts, k));
    }
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_are_fastchats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
