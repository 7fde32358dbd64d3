/* A summary as a picture. */
#ifndef DATA_TOOLS_PICTURE_H
#define DATA_TOOLS_PICTURE_H

#include "data_tools/summary.h"

/* Writes an SVG file with two panels: sizes of the clients as bars stacked by label, and a
 * histogram of token lengths.  Errors: FL_ERR_IO, FL_ERR_MEMORY. */
fl_status data_picture_write(const char *path, const data_summary *summary, const data_tool *tool);

#endif
