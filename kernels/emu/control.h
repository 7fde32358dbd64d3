/* The emulated device as the host sees it beside CUDA's own calls: for tests, and for code in C.
 *
 * Device memory lies in pages of its own that host code cannot touch: they are opened while a
 * kernel or a copy runs and closed again, so that a host pointer used in a kernel works and a
 * device pointer used on the host ends the program with SIGSEGV.  One host thread only.
 */
#ifndef FL_KERNELS_EMU_CONTROL_H
#define FL_KERNELS_EMU_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The order in which blocks, and the threads of a block, take turns: 0 as they are numbered, 1
 * backwards, everything else a shuffle of its own in every turn.  Results may not depend on it. */
void fl_emu_set_order(uint64_t order);

/* Watches shared memory: reads of what was never written, and two threads at one place without a
 * barrier between them, end the launch with a fault.  Off at the start, several times slower. */
void fl_emu_set_checks(bool on);

/* What was wrong with the last launch or call that failed: kernel, block, thread, file, line. */
const char *fl_emu_fault_text(void);

/* Bytes of memory that the device has from now on; at the start 2^40. */
void fl_emu_set_memory(size_t bytes);

/* How many graphs have been launched. */
uint64_t fl_emu_graph_launches(void);

/* How many products the emulated library has made with algorithm 0 or 1. */
uint64_t fl_emu_products(int algorithm);

/* Makes device memory readable and writable for host code that stands for a library of the device;
 * calls nest. */
void fl_emu_memory_open(void);
void fl_emu_memory_close(void);

#ifdef __cplusplus
}
#endif

#endif
