/* What the tests of base share: cmocka with what it needs in front, and a folder that goes away. */
#ifndef FL_TEST_BASE_SUPPORT_H
#define FL_TEST_BASE_SUPPORT_H

// cmocka needs the four in front of it
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/status.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Shows the error text when a call that must work does not. */
#define EXPECT_OK(call)                                                          \
    do {                                                                         \
        fl_status expect_status_ = (call);                                       \
        if (expect_status_ != FL_OK) fail_msg("%s: %s", #call, fl_error_text()); \
    } while (0)

#define EXPECT_FAIL(call, wanted_status, wanted_text)                                   \
    do {                                                                                \
        assert_int_equal((call), (wanted_status));                                      \
        if (!strstr(fl_error_text(), (wanted_text)))                                    \
            fail_msg("\"%s\" does not contain \"%s\"", fl_error_text(), (wanted_text)); \
    } while (0)

typedef struct test_folder {
    char path[64];
    char file[128]; /* scratch of folder_file */
} test_folder;

/* For cmocka's set-up and tear-down: *state is a test_folder in the working directory. */
static inline int make_folder(void **state)
{
    test_folder *folder = calloc(1, sizeof *folder);
    if (!folder) return -1;
    strcpy(folder->path, "base-test-XXXXXX");
    *state = folder;
    return mkdtemp(folder->path) ? 0 : -1;
}

/* "folder/name", valid until the next call. */
static inline const char *folder_file(test_folder *folder, const char *name)
{
    snprintf(folder->file, sizeof folder->file, "%s/%s", folder->path, name);
    return folder->file;
}

/* Entries of the folder, without . and .. */
static inline int count_files(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) count++;
    closedir(dir);
    return count;
}

static inline int remove_folder(void **state)
{
    test_folder *folder = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder->path);
    int failed = system(command);
    free(folder);
    return failed;
}

#endif
