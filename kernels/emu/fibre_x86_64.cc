#include "kernels/emu/fibre.h"

#include <stdint.h>

/* System V ABI: a called function keeps rbx, rbp and r12 to r15; all else its caller has saved. */
asm(R"(
    .text
    .globl fl_emu_switch_stack
    .type fl_emu_switch_stack, @function
fl_emu_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size fl_emu_switch_stack, .-fl_emu_switch_stack
    .section .note.GNU-stack,"",@progbits
    .text
)");
extern "C" void fl_emu_switch_stack(void **from, void *to);

namespace fl_emu
{

void fibre_make(Fibre *fibre, void (*entry)(), void *stack, size_t bytes)
{
    enum { SAVED = 6 };
    uintptr_t top = ((uintptr_t)stack + bytes) & ~(uintptr_t)15;
    void **frame = (void **)top - 2 - SAVED; // saved registers, entry, a return address of zero
    for (int i = 0; i < SAVED + 2; i++)
        frame[i] = nullptr;
    frame[SAVED] = (void *)entry;
    fibre->at = frame;
}

void fibre_switch(Fibre *from, Fibre *to)
{
    fl_emu_switch_stack(&from->at, to->at);
}

} // namespace fl_emu
