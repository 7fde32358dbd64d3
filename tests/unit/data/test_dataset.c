/* Reading of data sets: the forms of a file, the alpaca rule, broken files.
 */
#include "data_test.h"

#include <zlib.h>

static const fl_dataset_options by_domain = {.label_field = "domain"};

static fl_dataset *load(const char *folder, const char *text)
{
    fl_dataset *dataset = NULL;
    write_text(folder, "set", text);
    OK(fl_dataset_load(&dataset, path_in(folder, "set"), &by_domain));
    return dataset;
}

static void expect_record(const fl_dataset *dataset, size_t i, const char *instruction,
                          const char *response, const char *label)
{
    const fl_record *record = &dataset->records[i];
    assert_string_equal(record->instruction, instruction);
    assert_int_equal(record->instruction_length, strlen(instruction));
    assert_string_equal(record->response, response);
    assert_int_equal(record->response_length, strlen(response));
    assert_int_equal(record->label_length, label ? strlen(label) : 0);
    if (label)
        assert_string_equal(record->label, label);
    else
        assert_null(record->label);
}

/* The same two records in every form that a file may have. */
static void test_forms(void **state)
{
    static const char *const forms[] = {
        "[{\"instruction\": \"a\", \"output\": \"b\"}, {\"output\": \"\", \"instruction\": \"c\"}]",
        "\xef\xbb\xbf [\n{\"instruction\": \"a\", \"output\": \"b\"},\r\n"
        "{\"output\": \"\", \"instruction\": \"c\"}]\n",
        "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \"c\", \"output\": \"\"}",
        "\xef\xbb\xbf{\"instruction\": \"a\", \"output\": \"b\"}\r\n\r\n  \n"
        "{\"instruction\": \"c\", \"output\": \"\"}\r\n",
        "\n\n{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \"c\", \"output\": "
        "\"\"}\n",
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        fl_dataset *dataset = load(*state, forms[i]);
        assert_int_equal(dataset->count, 2);
        assert_string_equal(dataset->kind, "alpaca");
        expect_record(dataset, 0, "a", "b", NULL);
        expect_record(dataset, 1, "c", "", NULL);
        fl_dataset_destroy(dataset);
    }
}

/* Fields that the caller names, as text. */
static void test_named_fields(void **state)
{
    const fl_dataset_options fields = {.label_field = "topic", .client_field = "site"};
    fl_dataset *dataset;
    write_text(*state, "set",
               "{\"instruction\": \"a\", \"output\": \"b\", \"topic\": \"t\", \"site\": -12}\n"
               "{\"instruction\": \"a\", \"output\": \"b\", \"topic\": null, \"site\": \"\"}\n");
    OK(fl_dataset_load(&dataset, path_in(*state, "set"), &fields));
    const fl_record *records = dataset->records;
    assert_string_equal(records[0].label, "t");
    assert_int_equal(records[0].label_length, 1);
    assert_string_equal(records[0].client, "-12");
    assert_int_equal(records[0].client_length, 3);
    assert_null(records[1].label);
    assert_string_equal(records[1].client, "");
    fl_dataset_destroy(dataset);

    OK(fl_dataset_load(&dataset, path_in(*state, "set"), NULL));
    assert_null(dataset->records[0].label);
    assert_null(dataset->records[0].client);
    fl_dataset_destroy(dataset);

    write_text(*state, "set", "{\"instruction\": \"a\", \"output\": \"b\", \"topic\": 1.5}\n");
    FAILS(fl_dataset_load(&dataset, path_in(*state, "set"), &fields), FL_ERR_INPUT, "topic");
}

static void test_gzip(void **state)
{
    gzFile file = gzopen(path_in(*state, "set.gz"), "wb");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        assert_true(gzputs(file, "{\"instruction\": \"a\", \"response\": \"b\"}\n") > 0);
    assert_int_equal(gzclose(file), Z_OK);
    fl_dataset *dataset;
    OK(fl_dataset_load(&dataset, path_in(*state, "set.gz"), NULL));
    assert_int_equal(dataset->count, 1000);
    assert_string_equal(dataset->kind, "instruction_response");
    expect_record(dataset, 999, "a", "b", NULL);
    fl_dataset_destroy(dataset);
}

static void test_alpaca_rule(void **state)
{
    fl_dataset *dataset =
        load(*state,
             "[{\"instruction\": \"a\", \"input\": \"\", \"output\": \"r\"},"
             "{\"instruction\": \"a\", \"input\": \"b\\nc\", \"output\": \"r\"},"
             "{\"instruction\": \"a\", \"input\": \"<noinput>\", \"output\": \"r\"},"
             "{\"instruction\": \"\", \"input\": \" \", \"output\": \"r\", \"text\": 7},"
             "{\"instruction\": \"\\u00e9\\ud83d\\ude00\", \"output\": \"r\", \"domain\": \"x\"},"
             "{\"instruction\": \"a\", \"output\": \"r\", \"domain\": null}]");
    assert_int_equal(dataset->count, 6);
    expect_record(dataset, 0, "a", "r", NULL);
    expect_record(dataset, 1, "a b\nc", "r", NULL);
    expect_record(dataset, 2, "a <noinput>", "r", NULL);
    expect_record(dataset, 3, "  ", "r", NULL);
    expect_record(dataset, 4, "\xc3\xa9\xf0\x9f\x98\x80", "r", "x");
    expect_record(dataset, 5, "a", "r", NULL);
    fl_dataset_destroy(dataset);
}

/* instruction_response does not know `input`; with both answers in a record alpaca wins. */
static void test_overlapping_kinds(void **state)
{
    fl_dataset *dataset =
        load(*state, "{\"instruction\": \"a\", \"input\": \"b\", \"response\": \"r\"}");
    assert_string_equal(dataset->kind, "instruction_response");
    expect_record(dataset, 0, "a", "r", NULL);
    fl_dataset_destroy(dataset);
    dataset = load(*state, "{\"instruction\": \"a\", \"input\": \"b\", \"response\": \"r\", "
                           "\"output\": \"o\"}");
    assert_string_equal(dataset->kind, "alpaca");
    expect_record(dataset, 0, "a b", "o", NULL);
    fl_dataset_destroy(dataset);
}

#define RECORD "{\"instruction\": \"a\", \"output\": \"b\"}"
static const struct {
    const char *text;
    fl_status status;
    const char *error;
} broken[] = {
    {"", FL_ERR_INPUT, "set: holds no records"},
    {"\xef\xbb\xbf \r\n\n", FL_ERR_INPUT, "set: holds no records"},
    {"[]", FL_ERR_INPUT, "set: holds no records"},
    {RECORD "\n\n{\"instruction\": \"a\", \"outp\n" RECORD, FL_ERR_INPUT, "set:3: invalid JSON: "},
    {RECORD "\n" RECORD " " RECORD "\n", FL_ERR_INPUT, "set:2: invalid JSON: "},
    {"[" RECORD ",\n" RECORD "\n", FL_ERR_INPUT, "set:3: invalid JSON: "},
    {"[" RECORD "]]", FL_ERR_INPUT, "set:1: invalid JSON: "},
    {RECORD "\n{\"instruction\": \"a\"}", FL_ERR_INPUT, "set:2: output is missing"},
    {"[" RECORD ", {\"output\": \"a\"}]", FL_ERR_INPUT, "set: record 2: instruction is missing"},
    {RECORD "\n{\"instruction\": \"a\", \"output\": 3}", FL_ERR_INPUT,
     "set:2: output must be a string, not an integer"},
    {"[" RECORD ", {\"instruction\": null, \"output\": \"a\"}]", FL_ERR_INPUT,
     "set: record 2: instruction must be a string, not null"},
    {"{\"instruction\": \"a\", \"output\": \"b\", \"input\": []}", FL_ERR_INPUT,
     "set:1: input must be a string, not an array"},
    {"{\"instruction\": \"a\", \"output\": \"b\", \"domain\": 1.5}", FL_ERR_INPUT,
     "set:1: domain must be a string, not a number with a fraction"},
    {RECORD "\n[]", FL_ERR_INPUT, "set:2: a record must be an object"},
    {"[" RECORD ", 4]", FL_ERR_INPUT, "set: record 2: a record must be an object"},
    {"{\"instruction\": \"\xff\", \"output\": \"b\"}", FL_ERR_INPUT, "set:1: invalid JSON: "},
    {"{\"frage\": \"a\", \"answer\": \"b\"}", FL_ERR_UNSUPPORTED,
     "set:1: no kind of data set has the fields frage, answer; set dataset_kind (auto|fields|"},
    {"[{}]", FL_ERR_UNSUPPORTED, "set: record 1: no kind of data set"},
};

static void test_broken(void **state)
{
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        fl_dataset *dataset = NULL;
        write_text(*state, "set", broken[i].text);
        FAILS(fl_dataset_load(&dataset, path_in(*state, "set"), &by_domain), broken[i].status,
              broken[i].error);
        assert_null(dataset);
        assert_null(strchr(fl_error_text(), '\n'));
    }
    fl_dataset *dataset;
    FAILS(fl_dataset_load(&dataset, path_in(*state, "none"), NULL), FL_ERR_IO, "none");
    fl_dataset_destroy(NULL);
}

/* Every way to cut a file short is an error or a shorter data set, never a crash. */
static void test_cut(void **state)
{
    static const char text[] = "[" RECORD ", {\"instruction\": \"\\u00e9\", \"input\": \"\\\\\", "
                               "\"output\": \"\"}]\n";
    for (size_t length = 0; length < sizeof text - 2; length++) {
        fl_dataset *dataset;
        write_file(*state, "set", text, length);
        assert_int_equal(fl_dataset_load(&dataset, path_in(*state, "set"), NULL), FL_ERR_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_forms),
        FOLDER_TEST(test_named_fields),
        FOLDER_TEST(test_gzip),
        FOLDER_TEST(test_alpaca_rule),
        FOLDER_TEST(test_overlapping_kinds),
        FOLDER_TEST(test_broken),
        FOLDER_TEST(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
