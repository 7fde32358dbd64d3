/* Between the scheduler and shared memory. */
#ifndef FL_KERNELS_EMU_BLOCK_H
#define FL_KERNELS_EMU_BLOCK_H

#include <stddef.h>

namespace fl_emu
{

enum : size_t { STATIC_SHARED_MOST = 48 << 10, SHARED_MOST = 227 << 10 }; /* sm_90, per block */

void begin_shared(size_t dynamic_bytes); /* of a new block: nothing is written yet */
void block_passed();                     /* all threads passed a barrier of the block */
void warp_passed(int warp);              /* all lanes passed a __syncwarp */
size_t dynamic_shared_of(const void *kernel);

/* After a launch: nothing was written just outside an allocation of device memory. */
void check_ends(const char *kernel);

/* Ends the launch; called on a fibre. */
[[noreturn]] void fault_and_leave(const char *what);

} // namespace fl_emu

#endif
