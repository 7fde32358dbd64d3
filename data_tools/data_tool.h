/* What the commands of fedllm_data share. */
#ifndef DATA_TOOLS_DATA_TOOL_H
#define DATA_TOOLS_DATA_TOOL_H

#include "app/run_data.h"

typedef struct data_tool {
    fl_options options;
    fl_run_data data;
    bool check_only; /* see that all is well, write nothing */

    /* options of single commands; NULL and 0 when not given */
    const char *picture, *out;
    int64_t record; /* counted from 1 */
    int64_t client; /* -1 when not given */
} data_tool;

/* A command does its work on options that are loaded and appends what it has to say to `out`. */
fl_status data_inspect(data_tool *tool, fl_buf *out);
fl_status data_render(data_tool *tool, fl_buf *out);
fl_status data_split(data_tool *tool, fl_buf *out);
fl_status data_convert(data_tool *tool, fl_buf *out);

/* Appends text of others as a terminal may see it: control characters other than line break (where
 * `lines` says so) become \n, \t or \xNN. */
fl_status data_add_visible(fl_buf *out, const char *text, size_t length, bool lines);

#endif
