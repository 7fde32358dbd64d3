/* metrics.jsonl: one JSON object per line, only ever appended to.
 *
 * After a restart the file is cut back to the length that state.h5 remembers, so that the lines of
 * a round that is done again do not stand there twice. */
#ifndef FL_IO_METRICS_H
#define FL_IO_METRICS_H

#include "base/status.h"

#include <jansson.h>
#include <stdint.h>

typedef struct fl_metrics fl_metrics;

/* Opens or creates the file and cuts it to its first `keep_bytes` bytes (0 = start anew).
 * Errors: FL_ERR_IO; FL_ERR_INPUT when the file is shorter, or is cut inside a line. */
fl_status fl_metrics_open(fl_metrics **out, const char *path, int64_t keep_bytes);
void fl_metrics_close(fl_metrics *metrics); /* accepts NULL */

/* A real, or null for NaN and infinity, which JSON does not have.  Owned by the caller; made to be
 * put straight into an object: json_object_set_new(line, "loss", fl_metrics_real(loss)). */
json_t *fl_metrics_real(double value);

/* Appends one object as one line, keys in the order they were set, reals with 17 digits so that
 * they read back exactly.  The line is with the operating system on return: a killed process loses
 * none.  After an error nothing of it is in the file.  Errors: FL_ERR_IO, FL_ERR_MEMORY. */
fl_status fl_metrics_append(fl_metrics *metrics, const json_t *object);

/* Puts all lines on the disk; due before state.h5 is saved with fl_metrics_bytes, which otherwise
 * could survive a power cut that the lines did not.  Errors: FL_ERR_IO. */
fl_status fl_metrics_sync(fl_metrics *metrics);

int64_t fl_metrics_bytes(const fl_metrics *metrics); /* length of the file */

#endif
