/* What a person reads while a run goes on: terminal and train.log.  Numbers go to metrics.jsonl.
 *
 * info and progress: rank 0 only, stdout.  Warnings, errors and debug: any rank, stderr, with the
 * rank in front.  Everything rank 0 says is copied to the file given to fl_log_open_file.  A
 * message is one write, cut at 4 KiB; control characters in it become '?'.
 *
 * One log per process: fl_log_init, _open_file and _close belong to main, and only the thread that
 * called them logs.
 */
#ifndef FL_BASE_LOG_H
#define FL_BASE_LOG_H

#include "base/status.h"

typedef enum fl_log_level { FL_LOG_ERROR, FL_LOG_WARN, FL_LOG_INFO, FL_LOG_DEBUG } fl_log_level;

void fl_log_init(int rank, fl_log_level level); /* before it: rank 0, info */
/* Appends to `path` from now on; nothing on ranks other than 0.  Errors: FL_ERR_IO.  A write that
 * fails later is told once on stderr and does not stop the run. */
fl_status fl_log_open_file(const char *path);
void fl_log_close(void);

void fl_log(fl_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define FL_INFO(...)  fl_log(FL_LOG_INFO, __VA_ARGS__)
#define FL_WARN(...)  fl_log(FL_LOG_WARN, __VA_ARGS__)
#define FL_DEBUG(...) fl_log(FL_LOG_DEBUG, __VA_ARGS__)

/* A progress bar on the last line of the terminal, overwritten by the next call and wiped by the
 * next fl_log; nothing when stdout is not a terminal or rank is not 0.  fraction in [0, 1].
 * Under mpirun a terminal cannot be recognised; there FEDLLM_PROGRESS=1 switches the bar on.
 * May be called as often as one likes: drawn at most ten times a second. */
void fl_log_progress(double fraction, const char *text);

/* "1 h 02 m", "3 m 20 s", "12 s"; "unknown" when not finite.  Cut to `size`, 32 are enough. */
void fl_log_duration(char *out, size_t size, double seconds);

#endif
