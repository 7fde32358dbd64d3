/* The block in front of a state file by which damage is found before anyone parses the file. */
#ifndef FL_IO_SEAL_H
#define FL_IO_SEAL_H

#include "base/status.h"

/* An HDF5 user block, which may have 512, 1024, 2048 ... bytes. */
enum { FL_SEAL_BYTES = 512 };

/* Fills the first FL_SEAL_BYTES of data[length] from the bytes behind them. */
void fl_seal_write(unsigned char *data, size_t length);

/* Errors: FL_ERR_INPUT, beginning with `path`, when data[length] is anything else than what
 * fl_seal_write left; FL_ERR_UNSUPPORTED for the seal of another version. */
fl_status fl_seal_check(const unsigned char *data, size_t length, const char *path);

#endif
