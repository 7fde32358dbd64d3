/* Token ids and labels of conversations against Transformers' chat templates (make_chat_golden.py).
 * All exact. */
#include "golden/golden.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* FOLDER/NAME; valid until the next call. */
static const char *path_in(const char *folder, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_json(const char *folder, const char *name, const json_t *value)
{
    FILE *file = fopen(path_in(folder, name), "w");
    assert_non_null(file);
    assert_int_equal(json_dumpf(value, file, JSON_COMPACT), 0);
    assert_int_equal(fclose(file), 0);
}

static fl_tokenizer *open_tokenizer(const char *folder, const json_t *file)
{
    json_t *config =
        json_pack("{s:s, s:s, s:s}", "bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>");
    write_json(folder, "tokenizer.json", file);
    write_json(folder, "tokenizer_config.json", config);
    json_decref(config);
    fl_tokenizer *tokenizer;
    OK(fl_tokenizer_open(&tokenizer, folder));
    return tokenizer;
}

/* Each record is a data set of its own: they are of two kinds. */
static fl_dataset *load_record(const char *folder, const json_t *record)
{
    fl_dataset *dataset;
    write_json(folder, "record.json", record);
    OK(fl_dataset_load(&dataset, path_in(folder, "record.json"), NULL));
    assert_int_equal(dataset->form, FL_FORM_CHAT);
    return dataset;
}

static void check_tokens(const json_t *entry, const char *name, const fl_examples *examples)
{
    const json_t *ids = golden_get(entry, "ids"), *labels = golden_get(entry, "labels");
    const int record = (int)golden_int(entry, "record");
    if (examples->num_tokens != json_array_size(ids))
        fail_msg("%s, record %d: %zu tokens, expected %zu", name, record, examples->num_tokens,
                 json_array_size(ids));
    for (size_t i = 0; i < examples->num_tokens; i++) {
        const int id = (int)json_integer_value(json_array_get(ids, i));
        const int label = (int)json_integer_value(json_array_get(labels, i));
        if (examples->ids[i] != id || examples->labels[i] != label)
            fail_msg("%s, record %d: token %zu is %d with label %d, expected %d and %d", name,
                     record, i, examples->ids[i], examples->labels[i], id, label);
    }
}

static void check_case(const char *folder, const json_t *records, const json_t *entry,
                       const fl_tokenizer *tokenizer)
{
    const char *name = json_string_value(golden_get(entry, "format"));
    fl_dataset *dataset =
        load_record(folder, json_array_get(records, (size_t)golden_int(entry, "record")));
    fl_text_format format;
    fl_examples *examples;
    OK(fl_text_format_open(&format, name, NULL, tokenizer, NULL));
    OK(fl_examples_build(&examples, dataset, tokenizer, &format, golden_int(entry, "seq_length")));
    check_tokens(entry, name, examples);
    fl_examples_destroy(examples);
    fl_text_format_fini(&format);
    fl_dataset_destroy(dataset);
}

static void ids_and_labels(void **state)
{
    (void)state;
    char folder[] = "chat-masks-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    json_t *all, *file;
    OK(fl_json_load_file(&all, golden_path("chat_masks.json.gz")));
    const char *name;
    size_t checked = 0;
    json_object_foreach(golden_get(all, "tokenizers"), name, file)
    {
        fl_tokenizer *tokenizer = open_tokenizer(folder, file);
        size_t i;
        json_t *entry;
        json_array_foreach(golden_get(all, "cases"), i, entry)
        {
            if (strcmp(json_string_value(golden_get(entry, "tokenizer")), name) != 0) continue;
            check_case(folder, golden_get(all, "records"), entry, tokenizer);
            checked++;
        }
        fl_tokenizer_close(tokenizer);
    }
    assert_int_equal(checked, json_array_size(golden_get(all, "cases")));
    json_decref(all);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_and_labels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
