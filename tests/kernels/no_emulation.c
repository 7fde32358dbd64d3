#include "emulation.h"

bool check_emulation_order(uint64_t order)
{
    (void)order;
    return false;
}
