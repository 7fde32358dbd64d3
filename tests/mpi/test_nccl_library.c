/* The library that NCCL's header came with has all functions that are called.  Skipped where there
 * is none, or the build has no such header. */
#include "comm/device_sum.h"

#include <stdio.h>
#include <string.h>

enum { SKIPPED = 77 };

int main(void)
{
    fl_status status = fl_device_sum_load();
    if (status == FL_OK) return fl_device_sum_load() != FL_OK; /* again: nothing more to do */
    fprintf(stderr, "%s\n", fl_error_text());
    bool is_absent = strstr(fl_error_text(), "No such file") || strstr(fl_error_text(), "no NCCL");
    return status == FL_ERR_UNSUPPORTED && is_absent ? SKIPPED : 1;
}
