/* Which rank trains which client of a round. */
#ifndef FL_FED_PLACEMENT_H
#define FL_FED_PLACEMENT_H

#include "base/status.h"

#include <stdint.h>

/* Clients in order of falling cost go to the rank with the least work so far (ties: lower client,
 * lower rank).  Rank 0 only aggregates unless it is alone.  cost [count], rank_of [count].
 * load: scratch [size].  Placement changes the time a round takes, never its result. */
void fl_placement_assign(const double *cost, size_t count, int size, double *load, int *rank_of);

/* Ranks that host clients: all but rank 0, or rank 0 when it is alone. */
static inline int fl_placement_hosts(int size)
{
    return size > 1 ? size - 1 : 1;
}

#endif
