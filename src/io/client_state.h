/* What an algorithm keeps for one client, on the disk: DIR/clients/ID/NAME.ROUND.
 *
 * A run with thousands of clients holds one such vector in memory, that of the client at hand.
 * The rank that trains a client reads and writes its files, which is a different one in every
 * round, so DIR must be the same folder on all ranks.
 *
 * ROUND, counted from 1, is the round that wrote the file.  Which round's file is the truth is said
 * by the run's state.h5, never by the files: one of a later round belongs to a round that is done
 * again, with the same bytes.  A file has the seal of io/seal.h (length, CRC-32), then client,
 * round and count as int64 [4, the last 0], then count fp32 values.
 */
#ifndef FL_IO_CLIENT_STATE_H
#define FL_IO_CLIENT_STATE_H

#include "base/buf.h"

#include <stdint.h>

typedef struct fl_client_store {
    const char *dir;  /* output_dir; borrowed */
    const char *name; /* of the state, no '/' or '.'; borrowed */
    size_t count;     /* values */
    fl_buf path, image;
} fl_client_store;

/* Start with `fl_client_store store = {.dir = ..., .name = ..., .count = ...}`. */
void fl_client_store_fini(fl_client_store *store);

/* values[count] of the client as of that round.  Errors, naming the file: FL_ERR_IO when it is not
 * there, FL_ERR_INPUT when it is damaged or another client's. */
fl_status fl_client_store_load(fl_client_store *store, uint32_t client, int64_t round,
                               float *values);

/* Writes the file of that round, whole or not at all, and then removes those that neither state.h5
 * nor state.prev.h5 can ask for while this round runs: all before the newest of round - 2 or
 * earlier.  Errors: FL_ERR_IO, FL_ERR_MEMORY. */
fl_status fl_client_store_save(fl_client_store *store, uint32_t client, int64_t round,
                               const float *values);

/* Removes the unfinished files that killed processes left below DIR/clients. */
fl_status fl_client_files_clean(const char *dir);
/* Removes the client states of a run, and the folders where nothing else is in them. */
fl_status fl_client_files_remove(const char *dir);

#endif
