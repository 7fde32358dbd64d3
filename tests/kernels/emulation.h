/* The emulated device as the kernel tests use it: emulation.c, or no_emulation.c in builds that
 * have none. */
#ifndef FL_TESTS_KERNELS_EMULATION_H
#define FL_TESTS_KERNELS_EMULATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From now on threads take turns in that order, and shared memory is watched (kernels/emu); false
 * when there is no emulation. */
bool check_emulation_order(uint64_t order);

/* Bytes that the emulated device has from now on. */
bool check_emulation_memory(size_t bytes);

#endif
