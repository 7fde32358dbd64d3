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

fl_status fl_file_begin(fl_file_writer *out, const char *path)
{
    *out = (fl_file_writer){.fd = -1};
    FL_TRY(fl_buf_add_text(&out->path, path));
    fl_status status = open_temporary(&out->fd, &out->temporary, path);
    if (status != FL_OK) fl_buf_clear(&out->temporary); /* it is not ours */
    return status;
}

fl_status fl_file_put(fl_file_writer *w, const void *data, size_t length)
{
    w->length += length;
    return write_bytes(w->fd, w->path.data, data, length);
}

void fl_file_abandon(fl_file_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
    if (w->temporary.length) unlink(w->temporary.data);
    fl_buf_fini(&w->path);
    fl_buf_fini(&w->temporary);
}

/* The temporary file is complete and on the disk. */
static fl_status close_temporary(fl_file_writer *w)
{
    const char *path = w->path.data;
    FL_CHECK(fsync(w->fd) == 0, FL_ERR_IO, "cannot flush %s: %s", path, strerror(errno));
    int fd = w->fd;
    w->fd = -1;
    FL_CHECK(close(fd) == 0, FL_ERR_IO, "cannot close %s: %s", path, strerror(errno));
    return FL_OK;
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

fl_status fl_file_commit(fl_file_writer *w)
{
    FL_TRY(close_temporary(w));
    FL_TRY(rename_file(w->temporary.data, w->path.data));
    fl_buf_clear(&w->temporary);
    return flush_folder(w->path.data);
}

fl_status fl_file_write_atomic(const char *path, const void *data, size_t length)
{
    fl_file_writer writer;
    fl_status status;
    FL_TRY_GOTO(fl_file_begin(&writer, path), out);
    FL_TRY_GOTO(fl_file_put(&writer, data, length), out);
    status = fl_file_commit(&writer);
out:
    fl_file_abandon(&writer);
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
    fl_file_writer writer;
    fl_status status;
    FL_CHECK(!fl_path_is_dir(path), FL_ERR_IO, "cannot write %s: it is a folder", path);
    FL_TRY_GOTO(fl_file_begin(&writer, path), out);
    FL_TRY_GOTO(fl_file_put(&writer, data, length), out);
    FL_TRY_GOTO(close_temporary(&writer), out);
    FL_TRY_GOTO(rotate(writer.temporary.data, path, previous), out);
    fl_buf_clear(&writer.temporary);
    FL_TRY_GOTO(flush_folder(path), out);
    status = flush_folder(previous);
out:
    fl_file_abandon(&writer);
    return status;
}
