/* The kinds of data sets, each as its publishers write it. */
#include "data_test.h"

static const fl_dataset_options by_client = {.client_field = "client"};

static fl_dataset *load_as(const char *folder, const char *name, const char *text,
                           const fl_dataset_options *options)
{
    fl_dataset *dataset = NULL;
    write_text(folder, name, text);
    OK(fl_dataset_load(&dataset, path_in(folder, name), options));
    return dataset;
}

static fl_dataset *load(const char *folder, const char *text)
{
    const fl_dataset_options by_domain = {.label_field = "domain"};
    return load_as(folder, "set", text, &by_domain);
}

/* A text of the data set and its length; expected NULL: there is none. */
static void expect_text(const char *text, size_t length, const char *expected)
{
    if (!expected) {
        assert_null(text);
        assert_int_equal(length, 0);
        return;
    }
    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
}

static const struct {
    const char *kind, *text, *instruction, *response, *label;
} instructions[] = {
    {"dolly", "{'instruction': 'a', 'context': 'c', 'response': 'r', 'category': 'qa'}", "a c", "r",
     NULL},
    {"dolly", "{'instruction': 'a', 'context': '', 'response': 'r'}", "a", "r", NULL},
    {"prompt_completion", "{'prompt': 'a', 'completion': 'r', 'domain': 7}", "a", "r", "7"},
    {"prompt_response", "{'prompt': 'a', 'response': 'r'}", "a", "r", NULL},
    {"question_answer", "{'question': 'a', 'answer': 'r'}", "a", "r", NULL},
    {"problem_solution", "{'problem': 'a', 'level': 'x', 'type': 'y', 'solution': 'r'}", "a", "r",
     NULL},
    {"seed_tasks",
     "{'id': 's', 'instruction': 'a', 'instances': [{'input': 'i', 'output': 'r'}, "
     "{'input': '', 'output': 't'}]}",
     "a i", "r", NULL},
};

/* Records are written with ' for ". */
static char *quoted(const char *text)
{
    static char result[4096];
    snprintf(result, sizeof result, "%s", text);
    for (char *c = result; *c; c++)
        if (*c == '\'') *c = '"';
    return result;
}

static void test_instructions(void **state)
{
    for (size_t i = 0; i < COUNT_OF(instructions); i++) {
        fl_dataset *dataset = load(*state, quoted(instructions[i].text));
        assert_string_equal(dataset->kind, instructions[i].kind);
        assert_int_equal(dataset->form, FL_FORM_INSTRUCTION);
        const fl_record *r = &dataset->records[0];
        expect_text(r->instruction, r->instruction_length, instructions[i].instruction);
        expect_text(r->response, r->response_length, instructions[i].response);
        expect_text(r->label, r->label_length, instructions[i].label);
        expect_text(r->client, r->client_length, NULL);
        if (strcmp(dataset->kind, "seed_tasks") == 0) {
            assert_int_equal(dataset->count, 2);
            assert_string_equal(dataset->records[1].instruction, "a");
            assert_string_equal(dataset->records[1].response, "t");
        }
        fl_dataset_destroy(dataset);
    }
}

/* The words of the configuration row are the kinds of the table. */
static void test_names(void **state)
{
    char words[] = FL_DATASET_KINDS;
    size_t count = 0;
    write_text(*state, "set", "[]");
    for (char *word = strtok(words, "|"); word; word = strtok(NULL, "|"), count++) {
        const bool mapped = strcmp(word, "fields") == 0;
        const fl_dataset_options options = {.kind = word,
                                            .instruction_field = mapped ? "q" : NULL,
                                            .response_field = mapped ? "a" : ""};
        fl_dataset *dataset;
        FAILS(fl_dataset_load(&dataset, path_in(*state, "set"), &options), FL_ERR_INPUT,
              "holds no records");
    }
    assert_int_equal(count, 19);
    fl_dataset *dataset;
    const fl_dataset_options wrong[] = {
        {.kind = "none"},
        {.kind = "fields"},
        {.instruction_field = "q"},
        {.kind = "alpaca", .instruction_field = "q", .response_field = "a"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(fl_dataset_load(&dataset, path_in(*state, "set"), &wrong[i]),
                         FL_ERR_USAGE);
}

static void test_fields(void **state)
{
    const char *text = quoted("[{'q': 'a', 'more': 'b', 'a': 'r', 'topic': 'x', 'who': 12},"
                              "{'q': 'c', 'a': 's', 'who': null}]");
    const fl_dataset_options options = {.instruction_field = "q",
                                        .input_field = "more",
                                        .response_field = "a",
                                        .label_field = "topic",
                                        .client_field = "who"};
    fl_dataset *dataset = load_as(*state, "set", text, &options);
    assert_string_equal(dataset->kind, "fields");
    assert_int_equal(dataset->count, 2);
    const fl_record *r = dataset->records;
    expect_text(r[0].instruction, r[0].instruction_length, "a b");
    expect_text(r[0].response, r[0].response_length, "r");
    expect_text(r[0].label, r[0].label_length, "x");
    expect_text(r[0].client, r[0].client_length, "12");
    expect_text(r[1].instruction, r[1].instruction_length, "c");
    expect_text(r[1].client, r[1].client_length, NULL);
    fl_dataset_destroy(dataset);

    const fl_dataset_options cards = {.kind = "flashcards"};
    dataset = load_as(*state, "set", quoted("{'instruction': 'same', 'input': 'q', 'output': 'a'}"),
                      &cards);
    expect_text(dataset->records[0].instruction, dataset->records[0].instruction_length, "q");
    expect_text(dataset->records[0].response, dataset->records[0].response_length, "a");
    fl_dataset_destroy(dataset);
}

/* "u" user, "a" assistant, "A" assistant that trains, "s" system, "t" tool: the roles of a record's
 * turns, and their texts with "|" between. */
static void expect_turns(const fl_record *record, const char *roles, const char *texts)
{
    assert_int_equal(record->num_turns, strlen(roles));
    char joined[1024] = "";
    for (size_t i = 0; i < record->num_turns; i++) {
        const fl_turn *turn = &record->turns[i];
        const char letter = "suat"[turn->role];
        assert_int_equal(turn->trains ? letter - 'a' + 'A' : letter, roles[i]);
        assert_int_equal(turn->length, strlen(turn->text));
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? "|" : "",
                 turn->text);
    }
    assert_string_equal(joined, texts);
}

static const struct {
    const char *kind, *text, *roles, *texts;
} chats[] = {
    {"sharegpt",
     "{'conversations': [{'from': 'system', 'value': 'S'}, {'from': 'human', 'value': 'q'},"
     "{'from': 'gpt', 'value': ''}, {'from': 'human', 'value': 'p'}]}",
     "suAu", "S|q||p"},
    {"sharegpt",
     "{'conversations': [{'from': 'human', 'value': 'q'}, {'from': 'function_call', 'value': "
     "'f()'},"
     "{'from': 'observation', 'value': '3'}, {'from': 'gpt', 'value': 'a'}], 'tools': '[]', "
     "'system': 'S'}",
     "suAtA", "S|q|f()|3|a"},
    {"messages",
     "{'messages': [{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}]}",
     "uA", "q|a"},
    {"messages",
     "{'messages': [{'role': 'user', 'content': [{'type': 'text', 'value': 'q'}, {'type': 'text', "
     "'text': 'r'}], 'loss_weight': 0.0}, {'role': 'assistant', 'content': [{'type': 'text', "
     "'value': 'a'}], 'loss_weight': 0}, {'role': 'user', 'content': []}, {'role': 'assistant', "
     "'content': 'b', 'loss_weight': 1.0}, {'role': 'assistant', 'content': 'c', 'weight': 0}]}",
     "uauAa", "qr|a||b|c"},
    {"messages", "{'messages': []}", "", ""},
};

static void test_chats(void **state)
{
    for (size_t i = 0; i < COUNT_OF(chats); i++) {
        fl_dataset *dataset = load(*state, quoted(chats[i].text));
        assert_string_equal(dataset->kind, chats[i].kind);
        assert_int_equal(dataset->form, FL_FORM_CHAT);
        assert_int_equal(dataset->count, 1);
        expect_turns(dataset->records, chats[i].roles, chats[i].texts);
        fl_dataset_destroy(dataset);
    }
}

#define TURN(from, value) "{'from': '" from "', 'value': '" value "'}"
#define TEXT(role, value) "{'role': '" role "', 'content': '" value "'}"
/* Each in our form and in the reference's. */
static const struct {
    const char *kind, *text;
    struct {
        const char *roles, *texts, *chosen, *rejected;
    } forms[2];
} preferences[] = {
    {"preference",
     "{'prompt': 'q', 'chosen': 'c', 'rejected': 'r'}",
     {{"u", "q", "c", "r"}, {"u", "q", " c", " r"}}},
    {"preference",
     "{'prompt': 'q', 'prompt_id': 'x', 'chosen': [" TEXT("user", "q") "," TEXT(
         "assistant", "c") "], 'rejected': [" TEXT("user", "q") "," TEXT("assistant", "r") "]}",
     {{"u", "q", "c", "r"}, {"u", "q", " c", " r"}}},
    {"preference",
     "{'prompt': 'q', 'chosen': [" TEXT("system", "S") "," TEXT("user", "q") "," TEXT(
         "assistant", "c") "], 'rejected': [" TEXT("system",
                                                   "S") "," TEXT("user", "q") "," TEXT("assistant",
                                                                                       "r") "]}",
     {{"su", "S|q", "c", "r"}, {NULL, NULL, NULL, NULL}}},
    {"preference",
     "{'prompt': [" TEXT("user", "q") "], 'chosen': [" TEXT(
         "assistant", "c") "], 'rejected': [" TEXT("assistant", "r") "]}",
     {{"u", "q", "c", "r"}, {"u", "q", " c", " r"}}},
    {"preference_sharegpt",
     "{'conversations': [" TURN("human", "q") "," TURN("gpt", "a") "," TURN(
         "human", "p") "], 'chosen': " TURN("gpt", "c") ", 'rejected': " TURN("gpt", "r") "}",
     {{"uau", "q|a|p", "c", "r"}, {"uau", "q|a|p", " c", " r"}}},
    {"preference_messages",
     "{'chosen_messages': [" TEXT("user", "q") "," TEXT(
         "assistant", "c") "], 'rejected_messages': [" TEXT("user", "q") "," TEXT("assistant",
                                                                                  "r") "]}",
     {{"u", "q", "c", "r"}, {"u", "q", " c", " r"}}},
    {"preference_lists",
     "{'chosen': [" TEXT("user", "q") "," TEXT("assistant", "c") "], 'rejected': [" TEXT(
         "user", "q") "," TEXT("assistant", "r") "]}",
     {{"u", "q", "c", "r"}, {"u", "q", " c", " r"}}},
    {"hh_rlhf",
     "{'chosen': '\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: p\\n\\nAssistant: Yes.', "
     "'rejected': '\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: p\\n\\nAssistant: No.'}",
     {{"uau", "q|a|p", "Yes.", "No."}, {"uau", "q|a|p", " Yes.", " No."}}},
    /* the answers begin alike: the reference loses the beginning */
    {"hh_rlhf",
     "{'chosen': '\\n\\nHuman: q\\n\\nAssistant: I do', "
     "'rejected': '\\n\\nHuman: q\\n\\nAssistant: I am'}",
     {{"u", "q", "I do", "I am"}, {"u", "q", " do", " am"}}},
    /* characters, not bytes: e acute and e grave share their first byte */
    {"hh_rlhf",
     "{'chosen': '\\n\\nHuman: q\\n\\nAssistant: \xc3\xbc\xc3\xa9', "
     "'rejected': '\\n\\nHuman: q\\n\\nAssistant: \xc3\xbc\xc3\xa8'}",
     {{"u", "q", "\xc3\xbc\xc3\xa9", "\xc3\xbc\xc3\xa8"},
      {"u", "q", "\xc3\xbc\xc3\xa9", "\xc3\xbc\xc3\xa8"}}},
    /* different in the second question: what there is of it is dropped by the reference; answers
     * are all that follows */
    {"hh_rlhf",
     "{'chosen': '\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: x1\\n\\nAssistant: c', "
     "'rejected': '\\n\\nHuman: q\\n\\nAssistant: a\\n\\nHuman: x2\\n\\nAssistant: r'}",
     {{"u", "q", "a\n\nHuman: x1\n\nAssistant: c", "a\n\nHuman: x2\n\nAssistant: r"},
      {"ua", "q|a", "x1\n\nAssistant: c", "x2\n\nAssistant: r"}}},
};

static void check_preference(const fl_dataset *dataset, size_t i, size_t form)
{
    assert_string_equal(dataset->kind, preferences[i].kind);
    assert_int_equal(dataset->form, FL_FORM_PREFERENCE);
    assert_int_equal(dataset->count, 1);
    const fl_record *r = dataset->records;
    expect_turns(r, preferences[i].forms[form].roles, preferences[i].forms[form].texts);
    expect_text(r->chosen, r->chosen_length, preferences[i].forms[form].chosen);
    expect_text(r->rejected, r->rejected_length, preferences[i].forms[form].rejected);
}

static void test_preferences(void **state)
{
    for (size_t i = 0; i < COUNT_OF(preferences); i++)
        for (size_t form = 0; form < 2; form++) {
            if (!preferences[i].forms[form].roles) continue;
            const fl_dataset_options options = {.dpo_compat = form == 1};
            fl_dataset *dataset = load_as(*state, "set", quoted(preferences[i].text), &options);
            check_preference(dataset, i, form);
            fl_dataset_destroy(dataset);
        }
}

/* Transcripts without a common question are left out and counted. */
static void test_skipped(void **state)
{
    fl_dataset *dataset =
        load(*state, quoted("{'chosen': '\\n\\nHuman: q\\n\\nAssistant: a', 'rejected': "
                            "'\\n\\nHuman: p\\n\\nAssistant: a'}\n"
                            "{'chosen': '\\n\\nHuman: q\\n\\nAssistant: a', 'rejected': "
                            "'\\n\\nHuman: q\\n\\nAssistant: b'}\n"));
    assert_int_equal(dataset->count, 1);
    assert_int_equal(dataset->num_skipped, 1);
    fl_dataset_destroy(dataset);
}

static const struct {
    const char *text;
    fl_status status;
    const char *error;
} broken[] = {
    {"{'text': 'a', 'label': 0}", FL_ERR_UNSUPPORTED, "set:1: a text and a label, which is"},
    {"{'conversations': [" TURN("alien", "a") "]}", FL_ERR_UNSUPPORTED,
     "set:1: unknown role \"alien\" of a message"},
    {"{'conversations': [3]}", FL_ERR_INPUT, "set:1: conversations holds a message that is no"},
    {"{'conversations': [{'from': 'gpt'}]}", FL_ERR_INPUT, "set:1: value is missing"},
    {"{'messages': [{'role': 'assistant', 'content': null}]}", FL_ERR_INPUT,
     "set:1: content must be a string, not null"},
    {"{'messages': [{'role': 'assistant', 'content': 'a', 'tool_calls': []}]}", FL_ERR_UNSUPPORTED,
     "set:1: tool_calls"},
    {"{'messages': [{'role': 'user', 'content': [{'type': 'image', 'value': 'a'}]}]}",
     FL_ERR_UNSUPPORTED, "set:1: content of the type \"image\""},
    {"{'messages': [{'role': 'assistant', 'content': 'a', 'loss_weight': 0.5}]}",
     FL_ERR_UNSUPPORTED, "set:1: loss_weight = 0.5"},
    {"{'messages': [{'role': 'user', 'content': 'a', 'loss_weight': 1}]}", FL_ERR_UNSUPPORTED,
     "set:1: loss_weight = 1 on a message"},
    {"{'prompt': 'q', 'chosen': 'c', 'rejected': 4}", FL_ERR_INPUT,
     "set:1: rejected holds a message that is no object"},
    {"{'prompt': 'q', 'chosen': [], 'rejected': []}", FL_ERR_INPUT,
     "set:1: chosen does not end with an answer"},
    {"{'chosen': [" TEXT("assistant", "c") "], 'rejected': [" TEXT("assistant", "c") "]}",
     FL_ERR_INPUT, "set:1: the conversation in front of the answers does not end"},
    {"{'chosen': [" TEXT("user", "q") "," TEXT("assistant", "c") "], 'rejected': [" TEXT(
         "user", "p") "," TEXT("assistant", "c") "]}",
     FL_ERR_INPUT, "set:1: chosen and rejected are not answers to the same conversation"},
    {"{'chosen': '', 'rejected': ''}", FL_ERR_INPUT, "set: holds no records"},
    {"{'a': [{'instruction': 'a', 'output': 'b'}], 'b': [{'instruction': 'a'}]}", FL_ERR_INPUT,
     "set: client b: record 1: output is missing"},
    {"{'a': []}", FL_ERR_INPUT, "set: holds no records"},
    {"{}", FL_ERR_UNSUPPORTED, "set:1: no kind of data set has the fields ;"},
    {"{'a':1,'b':1,'c':1,'d':1,'e':1,'f':1,'g':1,'h':1,'i':1,'j':1,'k':1,'l':1,'m':1,'n':1}",
     FL_ERR_UNSUPPORTED, "j, k, l...; set dataset_kind"},
    {"PAR1xxxx", FL_ERR_UNSUPPORTED, "set: is a Parquet file"},
};

static void test_broken(void **state)
{
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        fl_dataset *dataset = NULL;
        write_text(*state, "set", quoted(broken[i].text));
        FAILS(fl_dataset_load(&dataset, path_in(*state, "set"), NULL), broken[i].status,
              broken[i].error);
        assert_null(dataset);
        assert_null(strchr(fl_error_text(), '\n'));
    }
}

/* An object of lists, on one line or many. */
static void test_clients(void **state)
{
    fl_dataset *dataset =
        load_as(*state, "set",
                quoted("{'zoe': [{'instruction': '1', 'response': 'a'}, {'instruction': '2', "
                       "'response': 'b', 'client': 'own'}],\n 'adam': [\n{'instruction': '3', "
                       "'response': 'c'}]}\n"),
                &by_client);
    static const char *const clients[] = {"zoe", "own", "adam"};
    assert_int_equal(dataset->count, 3);
    assert_string_equal(dataset->kind, "instruction_response");
    for (size_t i = 0; i < 3; i++) {
        const fl_record *r = &dataset->records[i];
        expect_text(r->client, r->client_length, clients[i]);
    }
    fl_dataset_destroy(dataset);
    /* a record whose only field is a list is a record */
    dataset = load(*state, quoted("{'messages':\n[" TEXT("assistant", "a") "]}\n"));
    assert_string_equal(dataset->kind, "messages");
    fl_dataset_destroy(dataset);
}

static void test_csv(void **state)
{
    fl_dataset *dataset = load_as(*state, "set.csv",
                                  "\xef\xbb\xbf"
                                  "id,output,instruction,client\r\n"
                                  "1,\"b, \"\"c\"\"\r\nd\",a \"x\",zoe\r\n"
                                  "\r\n"
                                  "\"2\",,\"\",",
                                  &by_client);
    assert_string_equal(dataset->kind, "alpaca");
    assert_int_equal(dataset->count, 2);
    const fl_record *r = dataset->records;
    expect_text(r[0].instruction, r[0].instruction_length, "a \"x\"");
    expect_text(r[0].response, r[0].response_length, "b, \"c\"\r\nd");
    expect_text(r[0].client, r[0].client_length, "zoe");
    expect_text(r[1].instruction, r[1].instruction_length, "");
    expect_text(r[1].response, r[1].response_length, "");
    fl_dataset_destroy(dataset);
}

static const struct {
    const char *text;
    fl_status status;
    const char *error;
} broken_csv[] = {
    {"", FL_ERR_INPUT, "set.csv: holds no records"},
    {"instruction,output\n", FL_ERR_INPUT, "set.csv: holds no records"},
    {"instruction,output\na,b\n\"c\nd\",e,f\n", FL_ERR_INPUT,
     "set.csv:3: 3 fields, but the header has 2"},
    {"instruction,output\n\"a\nb\",c\nd\n", FL_ERR_INPUT, "set.csv:4: 1 fields, but the"},
    {"instruction,output\na,\"b\n", FL_ERR_INPUT, "set.csv:2: a quoted field has no end"},
    {"instruction,output\na,\"b\n\"c\n", FL_ERR_INPUT, "set.csv:3: text behind the closing quote"},
    {"output,output\na,b\n", FL_ERR_INPUT, "set.csv:1: two columns have the same name"},
    {"instruction,output\na,\xff\n", FL_ERR_INPUT, "set.csv:2: field 2 is not UTF-8"},
    {"instruction,\xff\na,b\n", FL_ERR_INPUT, "set.csv:1: the name of column 2 is not UTF-8"},
    {"a,b\nc,d\n", FL_ERR_UNSUPPORTED, "set.csv:2: no kind of data set has the fields a, b"},
    {"text,label\nc,1\n", FL_ERR_UNSUPPORTED, "set.csv:2: a text and a label"},
};

static void test_broken_csv(void **state)
{
    fl_dataset *dataset;
    for (size_t i = 0; i < COUNT_OF(broken_csv); i++) {
        write_text(*state, "set.csv", broken_csv[i].text);
        FAILS(fl_dataset_load(&dataset, path_in(*state, "set.csv"), NULL), broken_csv[i].status,
              broken_csv[i].error);
    }
    write_file(*state, "set.csv", "instruction,output\na\0b,c", 23);
    FAILS(fl_dataset_load(&dataset, path_in(*state, "set.csv"), NULL), FL_ERR_INPUT,
          "holds a zero byte");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_instructions), FOLDER_TEST(test_names),       FOLDER_TEST(test_fields),
        FOLDER_TEST(test_chats),        FOLDER_TEST(test_preferences), FOLDER_TEST(test_skipped),
        FOLDER_TEST(test_broken),       FOLDER_TEST(test_clients),     FOLDER_TEST(test_csv),
        FOLDER_TEST(test_broken_csv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
