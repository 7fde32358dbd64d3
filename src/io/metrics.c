/* Plain system calls instead of stdio: there is no buffer whose content a killed process would
 * lose, and the length that goes into the state is the length of what is really in the file. */
#include "io/metrics.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REAL_DIGITS = 17 };

struct fl_metrics {
    int fd;
    int64_t bytes;
    fl_buf path; /* for messages */
    fl_buf line; /* scratch, so that appending does not allocate anew each time */
};

static fl_status io_error(const fl_metrics *metrics, const char *what)
{
    FL_FAIL(FL_ERR_IO, "cannot %s %s: %s", what, metrics->path.data, strerror(errno));
}

/* A cut inside a line means that this is not the file the state speaks of. */
static fl_status check_cut(const fl_metrics *metrics, int64_t keep_bytes)
{
    struct stat info;
    if (fstat(metrics->fd, &info) != 0) return io_error(metrics, "inspect");
    FL_CHECK(info.st_size >= keep_bytes, FL_ERR_INPUT,
             "%s: has %" PRId64 " bytes, the saved state needs its first %" PRId64
             ": was it changed?",
             metrics->path.data, (int64_t)info.st_size, keep_bytes);
    if (keep_bytes == 0) return FL_OK;
    char last;
    if (pread(metrics->fd, &last, 1, (off_t)keep_bytes - 1) != 1) return io_error(metrics, "read");
    FL_CHECK(last == '\n', FL_ERR_INPUT,
             "%s: byte %" PRId64 ", where the saved state ends, is inside a line: was it changed?",
             metrics->path.data, keep_bytes);
    return FL_OK;
}

static fl_status open_file(fl_metrics *metrics, const char *path, int64_t keep_bytes)
{
    FL_TRY(fl_buf_add_text(&metrics->path, path));
    /* A file that should have content is not made anew. */
    const int create = keep_bytes == 0 ? O_CREAT : 0;
    metrics->fd = open(path, O_RDWR | create | O_APPEND | O_CLOEXEC, 0666);
    if (metrics->fd < 0) return io_error(metrics, "open");
    FL_TRY(check_cut(metrics, keep_bytes));
    if (ftruncate(metrics->fd, (off_t)keep_bytes) != 0) return io_error(metrics, "cut");
    metrics->bytes = keep_bytes;
    return FL_OK;
}

fl_status fl_metrics_open(fl_metrics **out, const char *path, int64_t keep_bytes)
{
    FL_ASSERT(keep_bytes >= 0);
    fl_metrics *metrics;
    FL_TRY(fl_alloc(&metrics, 1, sizeof *metrics));
    metrics->fd = -1;
    fl_status status = open_file(metrics, path, keep_bytes);
    if (status != FL_OK)
        fl_metrics_close(metrics);
    else
        *out = metrics;
    return status;
}

void fl_metrics_close(fl_metrics *metrics)
{
    if (!metrics) return;
    if (metrics->fd >= 0) close(metrics->fd);
    fl_buf_fini(&metrics->path);
    fl_buf_fini(&metrics->line);
    fl_free(metrics);
}

json_t *fl_metrics_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static int add_to_buf(const char *text, size_t length, void *buf)
{
    return fl_buf_add(buf, text, length) == FL_OK ? 0 : -1;
}

static fl_status write_all(const fl_metrics *metrics, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(metrics->fd, text, length);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return io_error(metrics, "write");
        text += written;
        length -= (size_t)written;
    }
    return FL_OK;
}

fl_status fl_metrics_append(fl_metrics *metrics, const json_t *object)
{
    FL_ASSERT(json_is_object(object));
    fl_buf_clear(&metrics->line);
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS);
    FL_CHECK(json_dump_callback(object, add_to_buf, &metrics->line, flags) == 0, FL_ERR_MEMORY,
             "out of memory for a line of %s", metrics->path.data);
    FL_TRY(fl_buf_add_text(&metrics->line, "\n"));
    fl_status status = write_all(metrics, metrics->line.data, metrics->line.length);
    /* Half a line would make the whole file unreadable for JSON readers. */
    if (status == FL_OK) {
        metrics->bytes += (int64_t)metrics->line.length;
    } else if (ftruncate(metrics->fd, (off_t)metrics->bytes) != 0) {
        fl_fail_context(status, "%s ends with a broken line", metrics->path.data);
    }
    return status;
}

fl_status fl_metrics_sync(fl_metrics *metrics)
{
    /* EINVAL: a pipe or a file system that cannot flush */
    return fsync(metrics->fd) == 0 || errno == EINVAL ? FL_OK : io_error(metrics, "flush");
}

int64_t fl_metrics_bytes(const fl_metrics *metrics)
{
    return metrics->bytes;
}
