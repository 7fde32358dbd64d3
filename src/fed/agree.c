#include "fed/agree.h"

fl_status fl_agree(fl_transport *transport, fl_status mine)
{
    fl_buf text = {0};
    fl_status all;
    int rank;
    fl_status status = fl_transport_agree(transport, mine, &all, &text, &rank);
    if (status == FL_OK && all != FL_OK) {
        /* Rank 0's own faults are those of the run: files, config.  The others' need a number. */
        status = rank == 0 ? fl_fail(all, "%s", fl_buf_text(&text))
                           : fl_fail(all, "rank %d: %s", rank, fl_buf_text(&text));
    }
    fl_buf_fini(&text);
    return status;
}
