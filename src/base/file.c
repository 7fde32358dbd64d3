#define _DEFAULT_SOURCE /* madvise: glibc's posix_madvise ignores DONTNEED */
/* Paths, whole reads and maps.  Writes are in file_write.c. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { CHUNK = 1 << 16 };

bool fl_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool fl_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool fl_path_is_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

bool fl_path_is_empty(const char *path)
{
    if (!fl_path_exists(path)) return true;
    DIR *folder = opendir(path);
    if (!folder) return false;
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(folder));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    return empty;
}

fl_status fl_path_join(fl_buf *out, const char *a, const char *b)
{
    size_t length = strlen(a);
    while (length > 0 && a[length - 1] == '/')
        length--;
    fl_buf_clear(out);
    FL_TRY(fl_buf_add(out, a, length));
    if (a[0]) { /* a relative b stays relative when there is nothing in front of it */
        FL_TRY(fl_buf_add_text(out, "/"));
        while (*b == '/')
            b++;
    }
    return fl_buf_add_text(out, b);
}

static fl_status make_one_dir(const char *path)
{
    if (mkdir(path, 0777) == 0) return FL_OK;
    /* Whatever the reason was (another rank was faster, a read-only parent), a folder is there. */
    int error = errno;
    if (fl_path_is_dir(path)) return FL_OK;
    FL_CHECK(error != EEXIST, FL_ERR_IO, "cannot make folder %s: a file of that name exists", path);
    FL_FAIL(FL_ERR_IO, "cannot make folder %s: %s", path, strerror(error));
}

fl_status fl_make_dirs(const char *path)
{
    FL_CHECK(path[0], FL_ERR_IO, "cannot make a folder without a name");
    fl_buf prefix = {0};
    fl_status status = FL_OK;
    for (size_t i = 1, length = strlen(path); i <= length; i++) {
        bool ends_name = (path[i] == '/' || path[i] == 0) && path[i - 1] != '/';
        if (!ends_name) continue;
        fl_buf_clear(&prefix);
        FL_TRY_GOTO(fl_buf_add(&prefix, path, i), out);
        FL_TRY_GOTO(make_one_dir(prefix.data), out);
    }
out:
    fl_buf_fini(&prefix);
    return status;
}

/* Z_ERRNO speaks of the system call, everything else of the content. */
static fl_status read_error(gzFile file, const char *path)
{
    int code;
    const char *reason = gzerror(file, &code);
    if (code == Z_ERRNO) FL_FAIL(FL_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (code == Z_MEM_ERROR) FL_FAIL(FL_ERR_MEMORY, "out of memory while unpacking %s", path);
    FL_FAIL(FL_ERR_INPUT, "%s: damaged gzip data: %s", path, reason);
}

/* gzread hands out a file that is not gzip as it is, so one loop serves both. */
static fl_status read_all(fl_buf *out, gzFile file, const char *path, size_t max_bytes)
{
    char chunk[CHUNK];
    size_t total = 0;
    for (;;) {
        int length = gzread(file, chunk, CHUNK);
        if (length < 0) return read_error(file, path);
        if (length == 0) break;
        total += (size_t)length;
        FL_CHECK(max_bytes == 0 || total <= max_bytes, FL_ERR_INPUT,
                 "%s: holds more than %zu bytes", path, max_bytes);
        FL_TRY(fl_buf_add(out, chunk, (size_t)length));
    }
    int code;
    gzerror(file, &code); /* a stream that ends early is told here, not by gzread */
    return code == Z_OK || code == Z_STREAM_END ? FL_OK : read_error(file, path);
}

fl_status fl_file_read(fl_buf *out, const char *path, size_t max_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FL_CHECK(fd >= 0, FL_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        close(fd);
        FL_FAIL(FL_ERR_MEMORY, "out of memory while opening %s", path);
    }
    size_t old_length = out->length;
    gzbuffer(file, CHUNK);
    fl_status status = read_all(out, file, path, max_bytes);
    if (status != FL_OK && out->data) {
        out->length = old_length;
        out->data[old_length] = 0;
    }
    gzclose_r(file);
    return status;
}

fl_status fl_map_open(fl_map *out, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FL_CHECK(fd >= 0, FL_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    fl_status status = FL_OK;
    struct stat info;
    FL_CHECK_GOTO(fstat(fd, &info) == 0, out, FL_ERR_IO, "cannot inspect %s: %s", path,
                  strerror(errno));
    FL_CHECK_GOTO(S_ISREG(info.st_mode), out, FL_ERR_IO, "%s is not a file", path);
    fl_map map = {.length = (size_t)info.st_size};
    if (map.length > 0) {
        void *data = mmap(NULL, map.length, PROT_READ, MAP_SHARED, fd, 0);
        FL_CHECK_GOTO(data != MAP_FAILED, out, FL_ERR_IO, "cannot map %s: %s", path,
                      strerror(errno));
        map.data = data;
    }
    *out = map;
out:
    close(fd); /* the map stays */
    return status;
}

void fl_map_forget(const void *data, size_t length)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    uintptr_t first = at / page * page, end = (at + length + page - 1) / page * page;
    (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

void fl_map_close(fl_map *map)
{
    if (map->data) munmap((void *)map->data, map->length);
    *map = (fl_map){0};
}
