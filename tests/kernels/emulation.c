#include "emulation.h"

#include "kernels/emu/control.h"

bool check_emulation_order(uint64_t order)
{
    fl_emu_set_order(order);
    fl_emu_set_checks(true);
    return true;
}

bool check_emulation_memory(size_t bytes)
{
    fl_emu_set_memory(bytes);
    return true;
}
