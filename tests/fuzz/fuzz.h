/* What the fuzz targets share: opens a tokenizer from hostile bytes and, where it opens, uses it.
 */
#ifndef FL_TESTS_FUZZ_H
#define FL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* `name` is the file's name as it decides on the kind of tokenizer. */
void fuzz_tokenizer(const uint8_t *data, size_t size, const char *name);

#endif
