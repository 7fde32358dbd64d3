/* Fibres: functions that take turns on one thread of the host, each on a stack of its own.
 * fibre_x86_64.cc switches in a dozen instructions, fibre_ucontext.cc everywhere else. */
#ifndef FL_KERNELS_EMU_FIBRE_H
#define FL_KERNELS_EMU_FIBRE_H

#include <stddef.h>

namespace fl_emu
{

/* Opaque to all but the implementation in use. */
struct Fibre {
    void *at; /* where it stands while it does not run */
};

/* Prepares *fibre to run entry() on the stack when it is switched to for the first time; entry
 * never returns. */
void fibre_make(Fibre *fibre, void (*entry)(), void *stack, size_t bytes);

/* Leaves *from where it stands and goes on with *to. */
void fibre_switch(Fibre *from, Fibre *to);

} // namespace fl_emu

#endif
