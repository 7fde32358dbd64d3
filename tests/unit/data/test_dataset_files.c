/* Folders of files, the names that the reference knows, and all published training files. */
#include "data_test.h"

#include <sys/stat.h>
#include <unistd.h>

#define RECORD(instruction) "{\"instruction\": \"" instruction "\", \"output\": \"b\"}\n"

static void make(const char *folder, const char *name)
{
    assert_int_equal(mkdir(path_in(folder, name), 0777), 0);
}

/* The instructions of all records, and their clients, with a blank behind each. */
static void expect_all(fl_dataset *dataset, const char *instructions, const char *clients)
{
    char texts[256] = "", names[256] = "";
    for (size_t i = 0; i < dataset->count; i++) {
        const fl_record *r = &dataset->records[i];
        snprintf(texts + strlen(texts), sizeof texts - strlen(texts), "%s ", r->instruction);
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s ",
                 r->client ? r->client : "-");
        assert_int_equal(r->client_length, r->client ? strlen(r->client) : 0);
    }
    assert_string_equal(texts, instructions);
    assert_string_equal(names, clients);
    fl_dataset_destroy(dataset);
}

/* Files of sites, in the order of their names. */
static void test_sites(void **state)
{
    const char *folder = *state;
    write_text(folder, "zoe.jsonl", RECORD("z1") RECORD("z2"));
    write_text(folder, "bob.json", "[" RECORD("b") "]");
    write_text(folder, "carl.csv", "instruction,output\nc,d\n");
    write_text(folder, ".hidden.json", "x");
    write_text(folder, "notes.txt", "x");
    write_text(folder, "dataset_infos.json", "{}");
    make(folder, "more");
    write_text(folder, "more/ann.json",
               "{\"instruction\": \"a\", \"output\": \"b\", \"client\": "
               "\"own\"}");
    write_text(folder, "more/eve.json", RECORD("e"));
    assert_int_equal(symlink("../more", path_in(folder, "more/again")), 0);
    assert_int_equal(symlink(".", path_in(folder, "here")), 0);
    const fl_dataset_options options = {.client_field = "client"};
    fl_dataset *dataset;
    OK(fl_dataset_load(&dataset, folder, &options));
    expect_all(dataset, "b c a e z1 z2 ", "bob carl own more/eve zoe zoe ");
    write_text(folder, "more/ann.json", "[]");
    FAILS(fl_dataset_load(&dataset, folder, NULL), FL_ERR_INPUT, "more/ann.json: holds no records");
}

/* The files of the training split, where there are any. */
static void test_splits(void **state)
{
    const char *folder = *state;
    fl_dataset *dataset;
    FAILS(fl_dataset_load(&dataset, folder, NULL), FL_ERR_INPUT, "no .json, .jsonl or .csv file");
    write_text(folder, "x.parquet", "PAR1");
    FAILS(fl_dataset_load(&dataset, folder, NULL), FL_ERR_UNSUPPORTED, "parquet_to_jsonl.py");
    write_text(folder, "test.json", RECORD("t"));
    write_text(folder, "training.json", RECORD("no"));
    OK(fl_dataset_load(&dataset, folder, NULL));
    expect_all(dataset, "t no ", "test training ");
    write_text(folder, "train_clean.json", RECORD("c"));
    OK(fl_dataset_load(&dataset, folder, NULL));
    expect_all(dataset, "c ", "train_clean ");
    make(folder, "data");
    write_text(folder, "data/train-00001-of-00002.json", RECORD("2"));
    write_text(folder, "data/train-00000-of-00002.json", RECORD("1"));
    OK(fl_dataset_load(&dataset, folder, NULL));
    expect_all(dataset, "1 2 ", "data/train-00000-of-00002 data/train-00001-of-00002 ");
    make(folder, "train");
    write_text(folder, "train/x.json", RECORD("x"));
    OK(fl_dataset_load(&dataset, folder, NULL));
    expect_all(dataset, "1 2 x ", "data/train-00000-of-00002 data/train-00001-of-00002 train/x ");
}

static fl_dataset *open_name(const char *folder, const char *name,
                             const fl_dataset_options *options)
{
    char prefix[512];
    snprintf(prefix, sizeof prefix, "%s/", folder);
    fl_dataset *dataset = NULL;
    OK(fl_dataset_open(&dataset, prefix, name, options));
    return dataset;
}

static void test_reference_names(void **state)
{
    const char *folder = *state;
    make(folder, "MathInstruct");
    write_text(folder, "MathInstruct/MathInstruct.json", RECORD("a") RECORD("b") RECORD("a"));
    fl_dataset *dataset = open_name(folder, "TIGER-Lab/MathInstruct", NULL);
    assert_int_equal(dataset->num_skipped, 1);
    expect_all(dataset, "a b ", "MathInstruct MathInstruct ");

    make(folder, "medalpaca");
    write_text(folder, "medalpaca/medical_meadow_medical_flashcards.json",
               "{\"instruction\": \"same\", \"input\": \"q\", \"output\": \"r\"}");
    dataset = open_name(folder, "medalpaca/medical_meadow_medical_flashcards", NULL);
    assert_string_equal(dataset->kind, "flashcards");
    expect_all(dataset, "q ", "- ");
    const fl_dataset_options options = {.kind = "alpaca"};
    dataset = open_name(folder, "medalpaca/medical_meadow_medical_flashcards.json", &options);
    expect_all(dataset, "same q ", "- ");

    make(folder, "gsm8k");
    make(folder, "gsm8k/main");
    make(folder, "gsm8k/socratic");
    write_text(folder, "gsm8k/main/train.jsonl", "{\"question\": \"m\", \"answer\": \"1\"}");
    write_text(folder, "gsm8k/socratic/train.jsonl", "{\"question\": \"s\", \"answer\": \"1\"}");
    dataset = open_name(folder, "gsm8k", NULL);
    assert_string_equal(dataset->kind, "question_answer");
    expect_all(dataset, "m ", "train ");

    make(folder, "ultrafeedback_binarized");
    write_text(folder, "ultrafeedback_binarized/train_sft.json",
               "{\"prompt\": \"q\", \"chosen\": \"a\", \"rejected\": \"b\"}");
    write_text(folder, "ultrafeedback_binarized/train_gen.json", RECORD("no"));
    dataset = open_name(folder, "HuggingFaceH4/ultrafeedback_binarized", NULL);
    assert_string_equal(dataset->kind, "preference");
    assert_int_equal(dataset->count, 1);
    fl_dataset_destroy(dataset);
}

static void test_not_found(void **state)
{
    char prefix[512];
    snprintf(prefix, sizeof prefix, "%s/", (const char *)*state);
    fl_dataset *dataset;
    FAILS(fl_dataset_open(&dataset, prefix, "tatsu-lab/alpaca", NULL), FL_ERR_IO,
          "tatsu-lab/alpaca: looked for the files or folders ");
    assert_non_null(strstr(fl_error_text(), "huggingface.co/datasets/tatsu-lab/alpaca"));
    assert_non_null(strstr(fl_error_text(), "data_tools/parquet_to_jsonl.py"));
    FAILS(fl_dataset_open(&dataset, prefix, "mine", NULL), FL_ERR_IO, "/mine: No such file");
}

static const struct {
    const char *name, *kind;
    size_t count;
    fl_record_form form;
} published[] = {
    {"alpaca/alpaca_5000.json", "alpaca", 5000, FL_FORM_INSTRUCTION},
    {"alpaca/seed_tasks.jsonl", "seed_tasks", 175, FL_FORM_INSTRUCTION},
    {"alpaca/alpaca_tiny.json", "alpaca", 100, FL_FORM_INSTRUCTION},
    {"alpaca_gpt4/alpaca_en_demo.json", "alpaca", 999, FL_FORM_INSTRUCTION},
    {"code_alpaca/code_alpaca_2k.json", "alpaca", 2017, FL_FORM_INSTRUCTION},
    {"code_alpaca/new_codealpaca.json", "alpaca", 4535, FL_FORM_INSTRUCTION},
    {"medical/medical_meadow_small.json", "alpaca", 5942, FL_FORM_INSTRUCTION},
    {"gsm8k/train.jsonl", "question_answer", 7473, FL_FORM_INSTRUCTION},
    {"math/math_data.json", "alpaca", 3260, FL_FORM_INSTRUCTION},
    {"dolly/dolly.json", "dolly", 12, FL_FORM_INSTRUCTION},
    {"hh_rlhf/harmless-base/test.jsonl.gz", "hh_rlhf", 2312, FL_FORM_PREFERENCE},
    {"ultrafeedback/train_clean.jsonl", "preference", 1000, FL_FORM_PREFERENCE},
    {"ultrafeedback/eval_clean.jsonl", "preference", 200, FL_FORM_PREFERENCE},
    {"preference_sharegpt/dpo_en_demo.json", "preference_sharegpt", 300, FL_FORM_PREFERENCE},
    {"preference_sharegpt/v1_dpo_demo.jsonl", "preference_messages", 10, FL_FORM_PREFERENCE},
    {"sharegpt/dummy_conversation.json", "sharegpt", 500, FL_FORM_CHAT},
    {"sharegpt/sharegpt_zh_1K_format.jsonl", "sharegpt", 1000, FL_FORM_CHAT},
    {"sharegpt/glaive_toolcall_en_demo.json", "sharegpt", 300, FL_FORM_CHAT},
    {"sharegpt/v1_sft_demo.jsonl", "messages", 500, FL_FORM_CHAT},
};

static const char *published_file(const char *name)
{
    char below[256];
    snprintf(below, sizeof below, "train/%s", name);
    return shared_file(below);
}

static void test_published(void **state)
{
    (void)state;
    size_t found = 0;
    for (size_t i = 0; i < COUNT_OF(published); i++) {
        const char *path = published_file(published[i].name);
        if (!path) continue;
        for (int compat = 0; compat < 2; compat++) {
            const fl_dataset_options options = {.dpo_compat = compat};
            fl_dataset *dataset;
            OK(fl_dataset_load(&dataset, path, &options));
            assert_string_equal(dataset->kind, published[i].kind);
            assert_int_equal(dataset->count, published[i].count);
            assert_int_equal(dataset->form, published[i].form);
            assert_int_equal(dataset->num_skipped, 0);
            fl_dataset_destroy(dataset);
        }
        found++;
    }
    if (found == 0) skip();
}

/* A classification file is refused, and read when its fields are named. */
static void test_labels(void **state)
{
    (void)state;
    const char *path = published_file("finance/tfns_sent_valid.csv");
    if (!path) skip();
    fl_dataset *dataset;
    FAILS(fl_dataset_load(&dataset, path, NULL), FL_ERR_UNSUPPORTED, "csv:2: a text and a label");
    const fl_dataset_options options = {.instruction_field = "text", .response_field = "label"};
    OK(fl_dataset_load(&dataset, path, &options));
    assert_int_equal(dataset->count, 2388);
    assert_string_equal(dataset->records[7].instruction,
                        "Analysts Eviscerate Musk's Cybertruck: \"0% Of Responses Felt It Will Be "
                        "A Success\" https://t.co/2NTzeZea4G");
    assert_string_equal(dataset->records[7].response, "0");
    fl_dataset_destroy(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_sites),           FOLDER_TEST(test_splits),
        FOLDER_TEST(test_reference_names), FOLDER_TEST(test_not_found),
        cmocka_unit_test(test_published),  cmocka_unit_test(test_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
