#include "unit/io/io_test.h"

#include "base/file.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, NUM_PATHS = 8 };

static char folder[] = "/tmp/fedllm-test-XXXXXX";
static char paths[NUM_PATHS][PATH_SIZE];

int enter_temp_dir(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char inner[PATH_SIZE];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0) remove_tree(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

int leave_temp_dir(void **state)
{
    (void)state;
    remove_tree(folder);
    return 0;
}

const char *temp_path(const char *name)
{
    static size_t next;
    char *path = paths[next++ % NUM_PATHS];
    snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    return path;
}

void write_file(const char *path, const void *data, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

void flip_byte(const char *path, size_t at, unsigned char bits)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ bits, file), byte ^ bits);
    assert_int_equal(fclose(file), 0);
}

void read_whole(fl_buf *out, const char *path)
{
    fl_buf_clear(out);
    assert_ok(fl_file_read(out, path, 0));
}

void assert_ok_at(fl_status status, const char *file, int line)
{
    if (status == FL_OK) return;
    print_error("%s\n", fl_error_text());
    _fail(file, line);
}

void assert_error_at(fl_status status, fl_status want, const char *words, const char *file,
                     int line)
{
    const char *text = fl_error_text();
    if (status == want && strstr(text, words) && !strchr(text, '\n')) return;
    print_error("expected: %s: ... %s ...\nfound:    %s: %s\n", fl_status_word(want), words,
                fl_status_word(status), text);
    _fail(file, line);
}

void make_params(fl_params *out, double first)
{
    assert_ok(fl_params_init(out, 3));
    assert_ok(fl_params_add(out, "layers.0.q_proj.lora_A.weight", 2, (const int64_t[]){2, 3}));
    assert_ok(fl_params_add(out, "layers.0.q_proj.lora_B.weight", 2, (const int64_t[]){3, 2}));
    assert_ok(fl_params_add(out, "bias", 1, (const int64_t[]){2}));
    assert_ok(fl_params_allocate(out));
    for (size_t i = 0; i < out->count; i++)
        out->data[i] = (float)(first + 0.5 * (double)i);
}

void limit_file_size(size_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN); /* so that write fails instead */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
