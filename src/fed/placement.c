#include "fed/placement.h"

#include <stdbool.h>

enum { UNPLACED = -1 };

static size_t costliest_unplaced(const double *cost, const int *rank_of, size_t count)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++)
        if (rank_of[i] == UNPLACED && (best == count || cost[i] > cost[best])) best = i;
    return best;
}

void fl_placement_assign(const double *cost, size_t count, int size, double *load, int *rank_of)
{
    int first = size > 1 ? 1 : 0;
    for (int r = 0; r < size; r++)
        load[r] = 0;
    for (size_t i = 0; i < count; i++)
        rank_of[i] = UNPLACED;
    for (size_t placed = 0; placed < count; placed++) {
        size_t i = costliest_unplaced(cost, rank_of, count);
        int best = first;
        for (int r = first; r < size; r++)
            if (load[r] < load[best]) best = r;
        rank_of[i] = best;
        load[best] += cost[i];
    }
}
