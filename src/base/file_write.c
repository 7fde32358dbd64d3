/* Writes that are complete or not there at all.
 *
 * Order of the steps, each of which may fail and then leaves `path` untouched: write the bytes to a
 * new file beside it, flush that file, close it, rename.  After the rename the folder is flushed,
 * so that the new name survives a power cut too. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TRIES = 100 };

static fl_status write_bytes(int fd, const char *path, const void *data, size_t length)
{
    const char *next = data;
    while (length > 0) {
        ssize_t written = write(fd, next, length);
        if (written < 0 && errno == EINTR) continue;
        FL_CHECK(written >= 0, FL_ERR_IO, "cannot write %s: %s", path, strerror(errno));
        next += written;
        length -= (size_t)written;
    }
    FL_CHECK(fsync(fd) == 0, FL_ERR_IO, "cannot flush %s: %s", path, strerror(errno));
    return FL_OK;
}

/* A name of its own per process: two jobs that write the same file by mistake must not write into
 * each other's temporary.  Not mkstemp, whose files only the owner may read. */
static fl_status open_temporary(int *fd, fl_buf *name, const char *path)
{
    for (int try = 0; try < MAX_TRIES; try++) {
        fl_buf_clear(name);
        FL_TRY(fl_buf_addf(name, "%s.tmp-%ld-%d", path, (long)getpid(), try));
        *fd = open(name->data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) return FL_OK;
        FL_CHECK(errno == EEXIST, FL_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    FL_FAIL(FL_ERR_IO, "cannot write %s: too many temporary files beside it", path);
}

/* On success *name is the complete file beside `path`; on error there is none. */
static fl_status write_temporary(fl_buf *name, const char *path, const void *data, size_t length)
{
    int fd;
    FL_TRY(open_temporary(&fd, name, path));
    fl_status status = write_bytes(fd, path, data, length);
    if (close(fd) != 0 && status == FL_OK)
        status = fl_fail(FL_ERR_IO, "cannot close %s: %s", path, strerror(errno));
    if (status != FL_OK) unlink(name->data);
    return status;
}

static fl_status flush_folder(const char *path)
{
    fl_buf folder = {0};
    const char *slash = strrchr(path, '/');
    fl_status status = FL_OK;
    if (!slash)
        FL_TRY_GOTO(fl_buf_add_text(&folder, "."), out);
    else
        FL_TRY_GOTO(fl_buf_add(&folder, path, slash == path ? 1 : (size_t)(slash - path)), out);
    int fd = open(folder.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) goto out; /* a folder that may be written but not read: the rename has been done */
    /* EINVAL: this file system cannot flush folders. */
    if (fsync(fd) != 0 && errno != EINVAL)
        status = fl_fail(FL_ERR_IO, "cannot flush folder %s: %s", folder.data, strerror(errno));
    close(fd);
out:
    fl_buf_fini(&folder);
    return status;
}

static fl_status rename_file(const char *from, const char *to)
{
    FL_CHECK(rename(from, to) == 0, FL_ERR_IO, "cannot rename %s to %s: %s", from, to,
             strerror(errno));
    return FL_OK;
}

fl_status fl_file_write_atomic(const char *path, const void *data, size_t length)
{
    fl_buf name = {0};
    fl_status status;
    FL_TRY_GOTO(write_temporary(&name, path, data, length), out);
    status = rename_file(name.data, path);
    if (status != FL_OK)
        unlink(name.data);
    else
        status = flush_folder(path);
out:
    fl_buf_fini(&name);
    return status;
}

/* The old file gets `previous` as a second name before the new one takes its place, so that `path`
 * is there at every moment.  File systems without links do without that: there it is renamed. */
static fl_status rotate(const char *temporary, const char *path, const char *previous)
{
    bool moved = false;
    if (fl_path_exists(path)) {
        FL_CHECK(unlink(previous) == 0 || errno == ENOENT, FL_ERR_IO, "cannot replace %s: %s",
                 previous, strerror(errno));
        moved = link(path, previous) != 0;
        if (moved) FL_TRY(rename_file(path, previous));
    }
    fl_status status = rename_file(temporary, path);
    if (status != FL_OK && moved) rename(previous, path); /* keep the first error */
    return status;
}

fl_status fl_file_write_keep(const char *path, const char *previous, const void *data,
                             size_t length)
{
    fl_buf name = {0};
    fl_status status;
    FL_CHECK(!fl_path_is_dir(path), FL_ERR_IO, "cannot write %s: it is a folder", path);
    FL_TRY_GOTO(write_temporary(&name, path, data, length), out);
    status = rotate(name.data, path, previous);
    if (status != FL_OK) {
        unlink(name.data);
        goto out;
    }
    FL_TRY_GOTO(flush_folder(path), out);
    FL_TRY_GOTO(flush_folder(previous), out);
out:
    fl_buf_fini(&name);
    return status;
}
