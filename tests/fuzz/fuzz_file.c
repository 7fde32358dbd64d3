#include "fuzz_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 512 };

static char folder[PATH_BYTES], last[PATH_BYTES + 64];

void fuzz_require(bool condition)
{
    if (!condition) abort();
}

static void remove_folder(void)
{
    if (last[0]) unlink(last);
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0]) return folder;
    const char *parents[] = {"/dev/shm", getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        if (!parents[i] || strlen(parents[i]) > PATH_BYTES / 2) continue;
        snprintf(folder, sizeof folder, "%s/fl_fuzz_XXXXXX", parents[i]);
        if (!mkdtemp(folder)) continue;
        atexit(remove_folder);
        return folder;
    }
    fuzz_require(false);
    return NULL;
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    char path[sizeof last] = "";
    fuzz_require(strlen(name) < 60);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    if (last[0] && strcmp(last, path) != 0) unlink(last);
    memcpy(last, path, sizeof last);
    FILE *file = fopen(last, "wb");
    fuzz_require(file != NULL);
    fuzz_require(size == 0 || fwrite(data, 1, size, file) == size);
    fuzz_require(fclose(file) == 0);
    return last;
}
