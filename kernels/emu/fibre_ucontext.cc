#include "kernels/emu/fibre.h"

#include <stdlib.h>
#include <ucontext.h>

extern "C" {
#include "base/status.h"
}

namespace fl_emu
{

static ucontext_t *context_of(Fibre *fibre)
{
    if (!fibre->at) fibre->at = calloc(1, sizeof(ucontext_t)); // kept for the life of the program
    FL_ASSERT(fibre->at);
    return static_cast<ucontext_t *>(fibre->at);
}

void fibre_make(Fibre *fibre, void (*entry)(), void *stack, size_t bytes)
{
    ucontext_t *context = context_of(fibre);
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = bytes;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}

void fibre_switch(Fibre *from, Fibre *to)
{
    swapcontext(context_of(from), context_of(to));
}

} // namespace fl_emu
