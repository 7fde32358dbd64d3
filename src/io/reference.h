/* Log-probabilities under the reference model, kept on the disk: DIR/clients/ID/reference.0.
 *
 * The reference never changes, so what one rank has computed for a client's examples is read by
 * whatever rank trains that client next, in this start or in a later one.  A file has the seal of
 * io/seal.h, then client, count and hash as 64-bit words [4, the last 0], then count values as
 * doubles, NaN for those that nobody has needed yet.  The hash is that of all a value is a function
 * of.  It is a cache: a file that is damaged, or of another hash, is told about and made again.
 */
#ifndef FL_IO_REFERENCE_H
#define FL_IO_REFERENCE_H

#include "base/buf.h"

#include <stdint.h>

typedef struct fl_reference_store {
    const char *dir; /* output_dir; borrowed */
    fl_buf path, image;
} fl_reference_store;

/* Start with `fl_reference_store store = {.dir = ...}`. */
void fl_reference_store_fini(fl_reference_store *store);

/* values[count] of the client; all NaN when there is no file that fits.  Errors: FL_ERR_IO,
 * FL_ERR_MEMORY. */
fl_status fl_reference_load(fl_reference_store *store, uint32_t client, uint64_t hash,
                            double *values, size_t count);
/* Writes the file, whole or not at all.  Errors: FL_ERR_IO, FL_ERR_MEMORY. */
fl_status fl_reference_save(fl_reference_store *store, uint32_t client, uint64_t hash,
                            const double *values, size_t count);

#endif
