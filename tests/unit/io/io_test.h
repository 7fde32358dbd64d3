/* What the tests of io share: a folder of their own, small files, expected failures. */
#ifndef FL_TESTS_UNIT_IO_TEST_H
#define FL_TESTS_UNIT_IO_TEST_H

#include "base/buf.h"
#include "tensor/tensor.h"

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Setup and teardown of a group: makes the folder, removes it with all that is in it. */
int enter_temp_dir(void **state);
int leave_temp_dir(void **state);

/* Path of `name` in the folder; valid until the eighth next call. */
const char *temp_path(const char *name);

void write_file(const char *path, const void *data, size_t length);
void write_text(const char *path, const char *text);
/* Inverts these bits of one byte of a file, in place (much quicker than writing it anew). */
void flip_byte(const char *path, size_t at, unsigned char bits);
/* Replaces *out. */
void read_whole(fl_buf *out, const char *path);

#define assert_ok(call) assert_ok_at((call), __FILE__, __LINE__)
void assert_ok_at(fl_status status, const char *file, int line);

/* The status, and an error text on one line that contains `words`. */
#define assert_error(call, want, words) assert_error_at((call), (want), (words), __FILE__, __LINE__)
void assert_error_at(fl_status status, fl_status want, const char *words, const char *file,
                     int line);

/* A layout of two matrices and a vector, 14 values 0, 0.5, 1 ... plus `first`. */
void make_params(fl_params *out, double first);

/* Lets this process write files of at most `bytes` bytes, as on a full disk, until it is called
 * again with 0. */
void limit_file_size(size_t bytes);

#endif
