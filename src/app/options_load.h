/* The options of a job of several ranks. */
#ifndef FL_APP_OPTIONS_LOAD_H
#define FL_APP_OPTIONS_LOAD_H

#include "app/options.h"
#include "comm/transport.h"

/* Collective.  Rank 0 reads `path`, all ranks get the text.  text: empty.  Errors: those of
 * fl_file_read with FL_MAX_CONFIG. */
fl_status fl_share_text(fl_buf *text, fl_transport *transport, const char *path);

/* Collective.  Rank 0 reads `path`, all ranks parse the same text and the arguments.
 * Errors: FL_ERR_USAGE, FL_ERR_IO; rank 0 has the list of all faults in fl_conf_errors. */
fl_status fl_options_load(fl_options *out, fl_transport *transport, const char *path, int argc,
                          char *const *argv);

#endif
