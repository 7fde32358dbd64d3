/* Files: whole reads, read-only maps, and writes that are complete or not there at all. */
#ifndef FL_BASE_FILE_H
#define FL_BASE_FILE_H

#include "base/buf.h"

#include <stdint.h>

bool fl_path_exists(const char *path);
bool fl_path_is_dir(const char *path);
bool fl_path_is_link(const char *path);  /* a symbolic one */
bool fl_path_is_empty(const char *path); /* nothing there, or a folder without anything in it */

/* *out (emptied first) = "a/b", without a doubled slash; b alone when a is "".  a and b must not
 * point into *out. */
fl_status fl_path_join(fl_buf *out, const char *a, const char *b);

/* Makes the folder and its parents; fine when it is there.  Errors: FL_ERR_IO. */
fl_status fl_make_dirs(const char *path);

/* Appends the whole file to `out`.  A file that starts with the gzip magic is unpacked
 * (limit: `max_bytes` unpacked, 0 = no limit).  On error `out` is as before.
 * Errors: FL_ERR_IO, FL_ERR_INPUT. */
fl_status fl_file_read(fl_buf *out, const char *path, size_t max_bytes);

/* Replaces `path` by exactly these bytes: written beside it under a temporary name, flushed to the
 * disk, renamed, folder flushed.  On any error (disk full, no right) the old file stays as it was
 * and no temporary file is left; only when the last step, flushing the folder, fails is the new
 * file already in place.  A process killed in between may leave `path`.tmp-*.
 * Errors: FL_ERR_IO. */
fl_status fl_file_write_atomic(const char *path, const void *data, size_t length);

/* As above, and the old file is kept as `previous` (replaced if there).  At every moment `path`
 * or, failing that, `previous` is a complete file. */
fl_status fl_file_write_keep(const char *path, const char *previous, const void *data,
                             size_t length);

/* fl_file_write_atomic for a file that is made piece by piece, without all of it in memory:
 * fl_file_begin, any number of fl_file_put, fl_file_commit; fl_file_abandon in the end in any case,
 * which removes the temporary file unless it has been committed.  Errors of all: FL_ERR_IO. */
typedef struct fl_file_writer {
    int fd;          /* of the temporary file; -1: none is open */
    uint64_t length; /* bytes put so far */
    fl_buf path, temporary;
} fl_file_writer;
fl_status fl_file_begin(fl_file_writer *out, const char *path);
fl_status fl_file_put(fl_file_writer *writer, const void *data, size_t length);
fl_status fl_file_commit(fl_file_writer *writer);
void fl_file_abandon(fl_file_writer *writer); /* after fl_file_begin, also when that failed */

/* A read-only map of a whole file; the page cache is shared by all ranks of a node. */
typedef struct fl_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t length;             /* bytes */
} fl_map;
fl_status fl_map_open(fl_map *out, const char *path);
void fl_map_close(fl_map *map); /* accepts a zeroed struct */
/* Says that these bytes of a map are not needed again soon: their pages leave this process, and
 * come back from the file if they, or neighbours on the same page, are read after all. */
void fl_map_forget(const void *data, size_t length);

#endif
