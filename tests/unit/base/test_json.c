/* JSON: what is refused, where the error points, and the typed getters. */
#include "base/json.h"
#include "support.h"

#include <zlib.h>

static fl_status parse(json_t **out, const char *text)
{
    return fl_json_parse(out, text, strlen(text), "config.json", 1);
}

static void test_parse(void **state)
{
    (void)state;
    json_t *root;
    EXPECT_OK(parse(&root, " {\"a\": [1, 2.5, \"\\u00e9\", null, true]} \n"));
    assert_int_equal(json_array_size(json_object_get(root, "a")), 5);
    json_decref(root);
    EXPECT_OK(parse(&root, "\"text\""));
    assert_string_equal(json_string_value(root), "text");
    json_decref(root);
    EXPECT_OK(fl_json_parse(&root, "[1]garbage", 3, "x", 1)); /* length counts, not the zero */
    json_decref(root);
}

static void test_parse_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "config.json:1: invalid JSON: "},
        {"{", "config.json:1: "},
        {"{\n\"a\": 1,\n}", "config.json:3: "},
        {"{} {}", "config.json:1: "},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"[\"\\u0000\"]", "\\u0000"},
        {"{\"\\u0000\": 1}", "\\u0000"},
        {"[\"\\ud800\"]", "invalid Unicode"},
        {"[\"\xff\"]", "unable to decode byte"},
        {"[NaN]", "config.json:1: "},
        {"[1e999]", "overflow"},
        {"[123456789012345678901234567890]", "too big"},
        {"[01]", "config.json:1: "},
        {"['a']", "config.json:1: "},
    };
    json_t *root = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        EXPECT_FAIL(parse(&root, cases[i].text), FL_ERR_INPUT, cases[i].error);
    EXPECT_FAIL(fl_json_parse(&root, "[\"a\0b\"]", 7, "x", 1), FL_ERR_INPUT, "x:1: invalid JSON");
    EXPECT_FAIL(fl_json_parse(&root, "[1]\0", 4, "x", 1), FL_ERR_INPUT, "x:1: invalid JSON");
    EXPECT_FAIL(fl_json_parse(&root, "{\n", 2, "data.jsonl", 12), FL_ERR_INPUT, "data.jsonl:13: ");
    static char deep[100000]; /* must not overflow the stack */
    memset(deep, '[', sizeof deep);
    EXPECT_FAIL(fl_json_parse(&root, deep, sizeof deep, "x", 1), FL_ERR_INPUT, "depth");
    assert_null(root);
}

static void test_load_file(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "a.json");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"r\": 8\n,}", file);
    fclose(file);
    json_t *root = NULL;
    EXPECT_FAIL(fl_json_load_file(&root, path), FL_ERR_INPUT, "/a.json:2: invalid JSON");
    gzFile packed = gzopen(path, "wb");
    gzputs(packed, "{\"r\": 8}");
    assert_int_equal(gzclose(packed), Z_OK);
    EXPECT_OK(fl_json_load_file(&root, path));
    assert_int_equal(json_integer_value(json_object_get(root, "r")), 8);
    json_decref(root);
    root = NULL;
    EXPECT_FAIL(fl_json_load_file(&root, folder_file(folder, "none")), FL_ERR_IO, "none");
}

static const char members[] = "{\"s\": \"text\", \"i\": -3, \"f\": 0.5, \"b\": true, \"n\": null,"
                              " \"a\": [1], \"o\": {\"k\": 1}}";

static void test_getters(void **state)
{
    json_t *root = *state, *value;
    const char *text;
    int64_t integer;
    double number;
    bool flag;
    EXPECT_OK(fl_json_get_string(&text, root, "s", "p"));
    assert_string_equal(text, "text");
    EXPECT_OK(fl_json_get_int(&integer, root, "i", -3, -3, "p"));
    assert_int_equal(integer, -3);
    EXPECT_OK(fl_json_get_number(&number, root, "f", "p"));
    assert_true(number == 0.5);
    EXPECT_OK(fl_json_get_number(&number, root, "i", "p"));
    assert_true(number == -3);
    EXPECT_OK(fl_json_get_bool(&flag, root, "b", "p"));
    assert_true(flag);
    EXPECT_OK(fl_json_get_array(&value, root, "a", "p"));
    assert_int_equal(json_array_size(value), 1);
    EXPECT_OK(fl_json_get_object(&value, root, "o", "p"));
    assert_non_null(json_object_get(value, "k"));
}

static void test_getter_errors(void **state)
{
    json_t *root = *state, *value;
    const char *text;
    int64_t integer;
    double number;
    bool flag;
    EXPECT_FAIL(fl_json_get_string(&text, root, "none", "p"), FL_ERR_INPUT, "p: none is missing");
    EXPECT_FAIL(fl_json_get_string(&text, root, "i", "p"), FL_ERR_INPUT,
                "p: i must be a string, not an integer");
    EXPECT_FAIL(fl_json_get_int(&integer, root, "f", 0, 9, "p"), FL_ERR_INPUT,
                "p: f must be an integer, not a number with a fraction");
    EXPECT_FAIL(fl_json_get_int(&integer, root, "i", 1, 8, "p"), FL_ERR_INPUT,
                "p: i = -3 is outside [1, 8]");
    EXPECT_FAIL(fl_json_get_number(&number, root, "s", "p"), FL_ERR_INPUT,
                "a number, not a string");
    EXPECT_FAIL(fl_json_get_bool(&flag, root, "n", "p"), FL_ERR_INPUT, "true or false, not null");
    EXPECT_FAIL(fl_json_get_array(&value, root, "o", "p"), FL_ERR_INPUT, "an array, not an object");
    EXPECT_FAIL(fl_json_get_object(&value, root, "a", "p"), FL_ERR_INPUT,
                "an object, not an array");
    EXPECT_FAIL(fl_json_get_object(&value, root, "b", "p"), FL_ERR_INPUT, "not a bool");
    EXPECT_FAIL(fl_json_get_bool(&flag, json_object_get(root, "a"), "b", "p"), FL_ERR_INPUT,
                "p: expected an object with the key b");
    EXPECT_FAIL(fl_json_get_bool(&flag, NULL, "b", "p"), FL_ERR_INPUT, "expected an object");
}

static void test_fallbacks(void **state)
{
    json_t *root = *state, *value = root;
    const char *text;
    int64_t integer;
    double number;
    bool flag;
    static const char *const absent[] = {"none", "n"}; /* missing, or null */
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(fl_json_get_string_or(&text, root, absent[i], "else", "p"));
        assert_string_equal(text, "else");
        EXPECT_OK(fl_json_get_int_or(&integer, root, absent[i], 0, 1, 7, "p"));
        assert_int_equal(integer, 7);
        EXPECT_OK(fl_json_get_number_or(&number, root, absent[i], 1e-5, "p"));
        assert_true(number == 1e-5);
        EXPECT_OK(fl_json_get_bool_or(&flag, root, absent[i], true, "p"));
        assert_true(flag);
        value = root;
        EXPECT_OK(fl_json_get_array_or(&value, root, absent[i], "p"));
        assert_null(value);
        value = root;
        EXPECT_OK(fl_json_get_object_or(&value, root, absent[i], "p"));
        assert_null(value);
    }
    EXPECT_OK(fl_json_get_string_or(&text, root, "s", "else", "p"));
    assert_string_equal(text, "text");
    EXPECT_OK(fl_json_get_bool_or(&flag, root, "b", false, "p"));
    assert_true(flag);
    EXPECT_OK(fl_json_get_array_or(&value, root, "a", "p"));
    assert_non_null(value);
    EXPECT_FAIL(fl_json_get_string_or(&text, root, "i", "else", "p"), FL_ERR_INPUT, "a string");
    EXPECT_FAIL(fl_json_get_int_or(&integer, root, "i", 0, 9, 1, "p"), FL_ERR_INPUT, "outside");
    EXPECT_FAIL(fl_json_get_number_or(&number, root, "b", 1, "p"), FL_ERR_INPUT, "not a bool");
    EXPECT_FAIL(fl_json_get_bool_or(&flag, root, "i", true, "p"), FL_ERR_INPUT, "true or false");
    EXPECT_FAIL(fl_json_get_array_or(&value, root, "s", "p"), FL_ERR_INPUT, "an array");
    EXPECT_FAIL(fl_json_get_object_or(&value, root, "s", "p"), FL_ERR_INPUT, "an object");
    EXPECT_FAIL(fl_json_get_bool_or(&flag, NULL, "b", true, "p"), FL_ERR_INPUT, "an object");
}

static int parse_members(void **state)
{
    json_t *root;
    EXPECT_OK(parse(&root, members));
    *state = root;
    return 0;
}

static int release_members(void **state)
{
    json_decref(*state);
    return 0;
}

#define MEMBER_TEST(name) cmocka_unit_test_setup_teardown(name, parse_members, release_members)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_errors),
        cmocka_unit_test_setup_teardown(test_load_file, make_folder, remove_folder),
        MEMBER_TEST(test_getters),
        MEMBER_TEST(test_getter_errors),
        MEMBER_TEST(test_fallbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
