/* Ids and decoded texts of small tokenizers of every kind, against Hugging Face's library
 * (make_tokenizer_golden.py). */
#include "golden.h"

// cmocka needs the four in front of it
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/json.h"
#include "data/tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

static json_t *golden_file;

static int set_up(void **state)
{
    (void)state;
    OK(fl_json_load_file(&golden_file, golden_path("tokenizers.json.gz")));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(golden_file);
    return 0;
}

/* A text is a string or a list of bytes. */
static void read_text(fl_buf *out, const json_t *value)
{
    fl_buf_clear(out);
    if (json_is_string(value)) OK(fl_buf_add_text(out, json_string_value(value)));
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char byte = (char)json_integer_value(json_array_get(value, i));
        OK(fl_buf_add(out, &byte, 1));
    }
}

static bool same_ids(const fl_tokens *tokens, const json_t *ids)
{
    bool same = tokens->count == json_array_size(ids);
    for (size_t i = 0; same && i < tokens->count; i++)
        same = tokens->ids[i] == json_integer_value(json_array_get(ids, i));
    return same;
}

static uint32_t crc_of(const fl_buf *text)
{
    return (uint32_t)crc32(0, (const unsigned char *)fl_buf_text(text), (unsigned)text->length);
}

/* Every call gives whole characters, and all together the text. */
static bool streams_as(const fl_tokenizer *tokenizer, const fl_tokens *tokens, const fl_buf *text)
{
    fl_decode_stream *stream;
    fl_buf all = {0};
    OK(fl_decode_stream_create(&stream, tokenizer, false));
    bool whole = true;
    for (size_t i = 0; i < tokens->count; i++) {
        const size_t before = all.length;
        OK(fl_decode_stream_add(stream, tokens->ids[i], &all));
        if (all.length > before) whole = whole && ((unsigned char)all.data[before] & 0xc0) != 0x80;
    }
    OK(fl_decode_stream_finish(stream, &all));
    const bool same =
        all.length == text->length && memcmp(fl_buf_text(&all), fl_buf_text(text), all.length) == 0;
    fl_decode_stream_destroy(stream);
    fl_buf_fini(&all);
    return whole && same;
}

/* Tokens cover the text from left to right. */
static bool covers(const fl_tokens *tokens, size_t length)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (tokens->begin[i] > tokens->end[i] || tokens->end[i] > (int64_t)length) return false;
    return true;
}

static void replay(const json_t *test, const json_t *texts)
{
    char *file = json_dumps(golden_get(test, "tokenizer"), JSON_COMPACT);
    const char *name = json_string_value(golden_get(test, "name"));
    const json_t *ids = golden_get(test, "ids"), *crc = golden_get(test, "crc");
    fl_tokenizer *tokenizer = NULL;
    OK(fl_tokenizer_open_memory(&tokenizer, file, strlen(file), name));
    fl_tokens tokens = {0};
    fl_buf text = {0}, decoded = {0};
    size_t faults = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        read_text(&text, json_array_get(texts, i));
        OK(fl_tokenizer_encode(tokenizer, fl_buf_text(&text), text.length, true, &tokens));
        fl_buf_clear(&decoded);
        OK(fl_tokenizer_decode(tokenizer, tokens.ids, tokens.count, false, &decoded));
        const bool right = same_ids(&tokens, json_array_get(ids, i));
        const bool back = crc_of(&decoded) == json_integer_value(json_array_get(crc, i));
        const bool streams = streams_as(tokenizer, &tokens, &decoded);
        if (right && back && streams && covers(&tokens, text.length)) continue;
        if (faults++ < 5)
            print_message("%s: text %zu \"%.60s\": ids %s, decoded %s, streamed %s\n", name, i,
                          fl_buf_text(&text), right ? "right" : "WRONG", back ? "right" : "WRONG",
                          streams ? "right" : "WRONG");
    }
    if (faults > 0) fail_msg("%s: %zu texts of %zu differ", name, faults, json_array_size(texts));
    fl_tokens_fini(&tokens);
    fl_buf_fini(&text);
    fl_buf_fini(&decoded);
    fl_tokenizer_close(tokenizer);
    free(file);
}

static void test_cases(void **state)
{
    (void)state;
    const json_t *cases = golden_get(golden_file, "cases"),
                 *texts = golden_get(golden_file, "texts");
    assert_true(json_array_size(texts) >= 2000);
    assert_true(json_array_size(cases) >= 10);
    for (size_t i = 0; i < json_array_size(cases); i++)
        replay(json_array_get(cases, i), texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
