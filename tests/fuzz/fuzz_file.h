/* For targets whose readers take paths: one file in a folder of its own, in memory where it can be.
 */
#ifndef FL_TESTS_FUZZ_FILE_H
#define FL_TESTS_FUZZ_FILE_H

#include "fuzz.h"

#include <stdbool.h>

/* Ends the process when something does not hold that must hold for any input. */
void fuzz_require(bool condition);

/* Made at the first call, removed when the process ends. */
const char *fuzz_folder(void);

/* Makes the bytes the only file of that folder; the path is valid until the next call. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);

#endif
