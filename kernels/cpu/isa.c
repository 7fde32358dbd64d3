/* The choice is made at the first call and kept; threads only read it. */
#include "isa.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic(const fl_isa *) current;

bool fl_isa_select(const char *name)
{
    bool runs = false;
    for (int i = 0; fl_isa_built(i, &runs); i++) {
        const fl_isa *isa = fl_isa_built(i, &runs);
        if (!runs || (name && strcmp(name, isa->name) != 0)) continue;
        atomic_store(&current, isa);
        return true;
    }
    return false;
}

const fl_isa *fl_isa_current(void)
{
    const fl_isa *isa = atomic_load_explicit(&current, memory_order_relaxed);
    if (isa) return isa;
    FL_ASSERT(fl_isa_select(NULL)); // the portable one runs everywhere
    return atomic_load(&current);
}
