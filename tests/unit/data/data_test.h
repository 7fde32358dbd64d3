/* What the tests of data share: cmocka, a folder that goes away, files in it, a small tokenizer. */
#ifndef FL_TEST_DATA_TEST_H
#define FL_TEST_DATA_TEST_H

// cmocka needs the four in front of it
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "data/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* Shows the error text when a call that must work does not. */
#define OK(call)                                                             \
    do {                                                                     \
        const fl_status ok_status_ = (call);                                 \
        if (ok_status_ != FL_OK) fail_msg("%s: %s", #call, fl_error_text()); \
    } while (0)

/* The call must fail with this code and with an error text that holds `text`. */
#define FAILS(call, code, text)                                                  \
    do {                                                                         \
        assert_int_equal((call), (code));                                        \
        if (!strstr(fl_error_text(), (text)))                                    \
            fail_msg("\"%s\" does not contain \"%s\"", fl_error_text(), (text)); \
    } while (0)

/* Set-up and tear-down: *state is the folder's path, below the working directory. */
int make_folder(void **state);
int remove_folder(void **state);
#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

/* "folder/name"; valid until the eighth call after. */
const char *path_in(const char *folder, const char *name);
void write_file(const char *folder, const char *name, const void *data, size_t length);
void write_text(const char *folder, const char *name, const char *text);

/* A tokenizer of Llama's form, written into the folder.  Members replace the parts of the same
 * name (JSON values); NULL keeps them. */
typedef struct tiny {
    const char *added, *normalizer, *pre_tokenizer, *post_processor, *decoder;
    const char *options; /* members of the model besides vocab and merges */
    const char *vocab;   /* members added to the vocabulary */
    const char *merges;
    const char *config; /* tokenizer_config.json; "" writes none */
} tiny;
void write_tiny(const char *folder, const tiny *parts);
fl_tokenizer *open_tiny(const char *folder, const tiny *parts);

/* Ids of the small tokenizer. */
enum {
    TINY_UNK,
    TINY_BOS,
    TINY_EOS,
    TINY_BYTE,                   /* <0x00>, and so on to <0xFF> */
    TINY_MARK = TINY_BYTE + 256, /* "▁" */
    TINY_H,
    TINY_E,
    TINY_L,
    TINY_O,
    TINY_MARK_H, /* "▁h" */
    TINY_EL,     /* "el" */
    TINY_MARK_HEL,
    TINY_LO,
    TINY_MARK_HELLO,
    TINY_SIZE
};

/* Encodes and compares; a negative id ends the list. */
void expect_ids(const fl_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
                const int32_t *ids);
#define EXPECT_IDS(tokenizer, text, ...) \
    expect_ids((tokenizer), (text), sizeof(text) - 1, true, (const int32_t[]){__VA_ARGS__, -1})

/* Path of a file of the shared test data, or NULL when it is not there. */
const char *shared_file(const char *name);

#endif
