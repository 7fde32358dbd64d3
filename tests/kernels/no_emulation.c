#include "emulation.h"

bool check_emulation_order(uint64_t order)
{
    (void)order;
    return false;
}

bool check_emulation_memory(size_t bytes)
{
    (void)bytes;
    return false;
}
