/* Text, token ids and labels of records against the reference's procedure on the embedded model's
 * tokenizer (sft_examples.json).  All exact. */
#include "golden/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The record as a data set of one, through the reader of files. */
static fl_dataset *dataset_of(const json_t *entry)
{
    char path[] = "/tmp/fedllm-golden-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    json_t *record =
        json_pack("{s:O, s:O, s:O}", "instruction", golden_get(entry, "instruction"), "input",
                  golden_get(entry, "input"), "output", golden_get(entry, "output"));
    assert_non_null(record);
    FILE *file = fdopen(fd, "w");
    json_dumpf(record, file, JSON_COMPACT);
    fputc('\n', file);
    fclose(file);
    json_decref(record);
    fl_dataset *dataset;
    OK(fl_dataset_load(&dataset, path, NULL));
    unlink(path);
    return dataset;
}

static void check_text(const json_t *entry, const fl_dataset *dataset, const fl_template *template,
                       const char *eos)
{
    fl_buf text = {0};
    const fl_record *r = &dataset->records[0];
    OK(fl_template_render(&text, template, r->instruction, r->instruction_length, r->response,
                          r->response_length, eos));
    assert_string_equal(fl_buf_text(&text), json_string_value(golden_get(entry, "text")));
    fl_buf_fini(&text);
}

static void check_entry(const json_t *entry, const json_t *templates, const fl_tokenizer *tokenizer)
{
    const char *name = json_string_value(golden_get(entry, "template"));
    const char *note = json_string_value(golden_get(entry, "note"));
    const fl_template *template = fl_template_find(name);
    int64_t seq_length = golden_int(golden_get(templates, name), "seq_length");
    fl_dataset *dataset = dataset_of(entry);
    check_text(entry, dataset, template, fl_tokenizer_special_text(tokenizer, FL_SPECIAL_EOS));
    fl_examples *examples;
    fl_text_format format;
    OK(fl_text_format_open(&format, name, NULL, tokenizer, NULL));
    OK(fl_examples_build(&examples, dataset, tokenizer, &format, seq_length));
    fl_text_format_fini(&format);
    const json_t *ids = golden_get(entry, "ids"), *labels = golden_get(entry, "labels");
    if (examples->num_tokens != json_array_size(ids))
        fail_msg("%s: %zu tokens, expected %zu", note, examples->num_tokens, json_array_size(ids));
    for (size_t i = 0; i < examples->num_tokens; i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
        int32_t label = (int32_t)json_integer_value(json_array_get(labels, i));
        if (examples->ids[i] != id || examples->labels[i] != label)
            fail_msg("%s: token %zu is %d with label %d, expected %d and %d", note, i,
                     examples->ids[i], examples->labels[i], id, label);
    }
    fl_examples_destroy(examples);
    fl_dataset_destroy(dataset);
}

static void texts_ids_and_labels(void **state)
{
    (void)state;
    golden g = golden_open("sft_examples");
    fl_tokenizer *tokenizer;
    OK(fl_tokenizer_open(&tokenizer, FL_TEST_SOURCE_DIR "/configs/embedded/model"));
    assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_PAD),
                     golden_int(g.json, "pad_id"));
    size_t i;
    json_t *entry;
    json_array_foreach(golden_get(g.json, "examples"), i, entry)
        check_entry(entry, golden_get(g.json, "templates"), tokenizer);
    assert_in_range(i, 100, 1000);
    fl_tokenizer_close(tokenizer);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_ids_and_labels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
