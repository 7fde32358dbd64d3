/* The devices of a run: what those of a node have, and what a rank takes of its own. */
#include "app/run.h"
#include "fed/agree.h"

#include <string.h>

typedef struct report {
    fl_device_memory memory;
    int node;  /* lowest rank of the node */
    int shows; /* this rank trains on a device */
} report;

static bool is_same_device(const report *a, const report *b)
{
    return a->shows && b->shows && a->node == b->node &&
           memcmp(a->memory.device, b->memory.device, sizeof a->memory.device) == 0;
}

/* How many devices the training ranks of this node have, and what the fullest of them has free. */
static void gather_node(fl_run *run, const report *all, int size)
{
    int node = fl_transport_node(run->transport).first;
    run->devices = 0;
    run->device_free = UINT64_MAX;
    for (int rank = 0; rank < size; rank++) {
        if (all[rank].node != node || !all[rank].shows) continue;
        bool is_new = true;
        for (int before = 0; before < rank && is_new; before++)
            is_new = !is_same_device(&all[before], &all[rank]);
        run->devices += is_new ? 1 : 0;
        if (all[rank].memory.free < run->device_free) run->device_free = all[rank].memory.free;
    }
}

fl_status fl_run_devices(fl_run *run)
{
    fl_transport *t = run->transport;
    int size = fl_transport_size(t);
    report mine = {.node = fl_transport_node(t).first}, *all = NULL;
    fl_status status = fl_alloc(&all, (size_t)size, sizeof *all);
    if (status == FL_OK && run->hosts_clients && run->ops->memory) {
        mine.shows = 1;
        status = run->ops->memory(&mine.memory);
    }
    status = fl_agree(t, status);
    if (status == FL_OK) status = fl_transport_gather(t, 0, &mine, sizeof mine, all);
    if (status == FL_OK) status = fl_transport_bcast(t, 0, all, (size_t)size * sizeof *all);
    if (status == FL_OK) gather_node(run, all, size);
    fl_free(all);
    return status;
}

fl_status fl_run_reserve(const fl_run *run)
{
    const fl_memory_plan *plan = &run->memory_plan;
    if (!run->ops->reserve) return FL_OK;
    return run->ops->reserve(plan->device - plan->kernels, &plan->scratch);
}
