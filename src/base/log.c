#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TEXT_SIZE = 4096, BAR_WIDTH = 24 };
static const double redraw_seconds = 0.1;

/* One per process, set up by main before other threads start. */
static struct {
    int rank;
    fl_log_level level;
    FILE *file;          /* rank 0's copy, or NULL */
    bool has_bar;        /* a progress bar stands on the terminal's last line */
    double bar_time;     /* when it was drawn */
    bool file_is_broken; /* told once */
} logger = {.level = FL_LOG_INFO};

void fl_log_init(int rank, fl_log_level level)
{
    logger.rank = rank;
    logger.level = level;
}

fl_status fl_log_open_file(const char *path)
{
    fl_log_close();
    if (logger.rank != 0) return FL_OK;
    FILE *file = fopen(path, "a");
    FL_CHECK(file, FL_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    logger.file = file;
    logger.file_is_broken = false;
    return FL_OK;
}

void fl_log_close(void)
{
    if (logger.file) fclose(logger.file);
    logger.file = NULL;
}

static void wipe_bar(void)
{
    if (!logger.has_bar) return;
    fputs("\r\033[K", stdout);
    fflush(stdout);
    logger.has_bar = false;
}

/* Names in the text come from files of others; they must not steer the terminal. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\n' && *text != '\t') || *text == 0x7f)
            *text = '?';
}

/* "rank 3: warning: ", or nothing for info. */
static size_t put_prefix(char *out, size_t size, fl_log_level level)
{
    static const char *const words[] = {
        [FL_LOG_ERROR] = "error: ", [FL_LOG_WARN] = "warning: ", [FL_LOG_DEBUG] = ""};
    out[0] = 0;
    if (level == FL_LOG_INFO) return 0;
    return (size_t)snprintf(out, size, "rank %d: %s", logger.rank, words[level]);
}

/* A full disk must not stop a run for the sake of its log, but the user is told. */
static void copy_to_file(const char *text)
{
    if (!logger.file || logger.file_is_broken) return;
    if (fputs(text, logger.file) >= 0 && fflush(logger.file) == 0) return;
    logger.file_is_broken = true;
    fprintf(stderr, "rank %d: warning: cannot write the log file: %s\n", logger.rank,
            strerror(errno));
}

void fl_log(fl_log_level level, const char *format, ...)
{
    if (level > logger.level || (level == FL_LOG_INFO && logger.rank != 0)) return;
    char text[TEXT_SIZE];
    size_t used = put_prefix(text, sizeof text, level);
    size_t room = sizeof text - used - 1; /* one for the newline */
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text + used, room, format, args);
    va_end(args);
    if (length < 0) return;
    if ((size_t)length >= room) memcpy(text + used + room - 4, "...", 4);
    make_printable(text);
    memcpy(text + strlen(text), "\n", 2);
    wipe_bar();
    FILE *stream = level == FL_LOG_INFO ? stdout : stderr;
    fputs(text, stream); /* one call, so that lines of several ranks do not mix */
    fflush(stream);
    copy_to_file(text);
}

/* Columns of the terminal a bar may be drawn on, 0 for none.  mpirun gives its ranks a terminal of
 * no size, wherever its own output goes: there FEDLLM_PROGRESS=1 says that a person is watching. */
static size_t terminal_width(void)
{
    struct winsize window;
    if (!isatty(STDOUT_FILENO)) return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0) return window.ws_col;
    const char *watched = getenv("FEDLLM_PROGRESS");
    return watched && strcmp(watched, "1") == 0 ? 80 : 0;
}

void fl_log_progress(double fraction, const char *text)
{
    size_t width = terminal_width(); /* a line that wraps could not be overwritten */
    if (logger.rank != 0 || logger.level < FL_LOG_INFO || width == 0) return;
    double now = fl_clock_seconds();
    if (logger.has_bar && now - logger.bar_time < redraw_seconds && fraction < 1) return;
    if (!(fraction > 0)) fraction = 0; /* NaN too */
    if (fraction > 1) fraction = 1;
    char bar[BAR_WIDTH + 1] = {0};
    int full = (int)(fraction * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    char line[512];
    snprintf(line, sizeof line, "[%s] %3d%% %s", bar, (int)(fraction * 100), text);
    if (strlen(line) >= width) line[width - 1] = 0;
    make_printable(line);
    fprintf(stdout, "\r%s\033[K", line);
    fflush(stdout);
    logger.has_bar = true;
    logger.bar_time = now;
}

void fl_log_duration(char *out, size_t size, double seconds)
{
    if (!isfinite(seconds) || seconds >= 1e15) {
        snprintf(out, size, "unknown");
        return;
    }
    long long s = seconds > 0 ? llround(seconds) : 0;
    if (s < 60)
        snprintf(out, size, "%lld s", s);
    else if (s < 3600)
        snprintf(out, size, "%lld m %02lld s", s / 60, s % 60);
    else
        snprintf(out, size, "%lld h %02lld m", s / 3600, s % 3600 / 60);
}
