#include "fuzz_file.h"

#include "base/status.h"
#include "data/dataset.h"

#include <string.h>

/* Walks over a text, so that a sanitizer sees all of it. */
static void use_text(const char *text, size_t length)
{
    fuzz_require(text ? strlen(text) == length : length == 0);
}

static void use_record(const fl_record *record, fl_record_form form)
{
    fuzz_require((form == FL_FORM_INSTRUCTION) == (record->instruction && record->response));
    fuzz_require((form == FL_FORM_PREFERENCE) == (record->chosen && record->rejected));
    use_text(record->instruction, record->instruction_length);
    use_text(record->response, record->response_length);
    use_text(record->chosen, record->chosen_length);
    use_text(record->rejected, record->rejected_length);
    use_text(record->label, record->label_length);
    use_text(record->client, record->client_length);
    for (size_t i = 0; i < record->num_turns; i++) {
        const fl_turn *turn = &record->turns[i];
        use_text(turn->text, turn->length);
        fuzz_require(turn->text && (!turn->trains || turn->role == FL_ROLE_ASSISTANT));
    }
}

/* The first byte says how to read the rest: 'c' as CSV, 'd' as the reference reads preferences. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool is_csv = size && data[0] == 'c', compat = size && data[0] == 'd';
    const size_t skipped = is_csv || compat;
    const char *path =
        fuzz_file(is_csv ? "data.csv" : "data.jsonl", data + skipped, size - skipped);
    const fl_dataset_options options = {
        .dpo_compat = compat, .label_field = "domain", .client_field = "client"};
    fl_dataset *dataset = NULL;
    if (fl_dataset_load(&dataset, path, &options) == FL_OK) {
        fuzz_require(dataset->count > 0 && dataset->kind);
        for (size_t i = 0; i < dataset->count; i++)
            use_record(&dataset->records[i], dataset->form);
    } else {
        fuzz_require(*fl_error_text() && !dataset);
    }
    fl_dataset_destroy(dataset);
    return 0;
}
