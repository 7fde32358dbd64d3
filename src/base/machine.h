/* Memory of this machine and of this process, as Linux tells it. */
#ifndef FL_BASE_MACHINE_H
#define FL_BASE_MACHINE_H

#include <stdint.h>

/* Bytes that processes here can still take: MemAvailable of /proc/meminfo, or what is left of a
 * control group's limit (version 1 or 2, of this process or one above it) where that is less.  What
 * the page cache could give back counts as available.  UINT64_MAX: unknown.
 * root: "" for this machine; tests put a folder there. */
uint64_t fl_machine_available_bytes(const char *root);

/* Resident bytes of this process that belong to no file.  0: unknown. */
uint64_t fl_process_private_bytes(void);

#endif
