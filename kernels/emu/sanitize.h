/* What AddressSanitizer wants to know about stacks that are not its own; nothing without it. */
#ifndef FL_KERNELS_EMU_SANITIZE_H
#define FL_KERNELS_EMU_SANITIZE_H

#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
static inline void __sanitizer_start_switch_fiber(void **, const void *, size_t)
{
}
static inline void __sanitizer_finish_switch_fiber(void *, const void **, size_t *)
{
}
static inline void __asan_unpoison_memory_region(const volatile void *, size_t)
{
}
#endif

#endif
