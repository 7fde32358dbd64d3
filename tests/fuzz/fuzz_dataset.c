#include "fuzz_file.h"

#include "base/status.h"
#include "data/dataset.h"

#include <string.h>

static void use(const fl_dataset *dataset)
{
    fuzz_require(dataset->count > 0 && dataset->kind);
    for (size_t i = 0; i < dataset->count; i++) {
        const fl_record *record = &dataset->records[i];
        fuzz_require(strlen(record->instruction) == record->instruction_length);
        fuzz_require(strlen(record->response) == record->response_length);
        fuzz_require(!record->domain || strlen(record->domain) == record->domain_length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_dataset *dataset = NULL;
    if (fl_dataset_load(&dataset, fuzz_file("data.jsonl", data, size), NULL) == FL_OK)
        use(dataset);
    else
        fuzz_require(*fl_error_text() && !dataset);
    fl_dataset_destroy(dataset);
    return 0;
}
