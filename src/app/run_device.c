/* The devices of a run: what those of a node have, and what a rank takes of its own. */
#include "app/run_device.h"

#include "app/run.h"
#include "fed/agree.h"

#include <string.h>

static bool is_same_device(const fl_device_report *a, const fl_device_report *b)
{
    return a->shows && b->shows && a->node == b->node &&
           memcmp(a->memory.device, b->memory.device, sizeof a->memory.device) == 0;
}

int fl_devices_of_node(const fl_device_report *all, int size, int node, uint64_t *free)
{
    int devices = 0;
    *free = UINT64_MAX;
    for (int rank = 0; rank < size; rank++) {
        if (all[rank].node != node || !all[rank].shows) continue;
        bool is_new = true;
        for (int before = 0; before < rank && is_new; before++)
            is_new = !is_same_device(&all[before], &all[rank]);
        devices += is_new ? 1 : 0;
        if (all[rank].memory.free < *free) *free = all[rank].memory.free;
    }
    return devices;
}

uint64_t fl_device_share(const fl_device_report *all, int size, int *sharers)
{
    uint64_t share = UINT64_MAX, free;
    *sharers = 0;
    for (int first = 0; first < size; first++) {
        if (all[first].node != first) continue;
        int hosts = 0, devices = fl_devices_of_node(all, size, first, &free);
        for (int rank = first; rank < size && devices > 0; rank++)
            hosts += all[rank].node == first && all[rank].shows;
        int most = devices > 0 ? (hosts + devices - 1) / devices : 0;
        if (most > 0 && free / (uint64_t)most < share) share = free / (uint64_t)most;
        if (most > *sharers) *sharers = most;
    }
    return share;
}

fl_status fl_run_devices(fl_run *run)
{
    fl_transport *t = run->transport;
    int size = fl_transport_size(t);
    fl_device_report mine = {.node = fl_transport_node(t).first}, *all = NULL;
    fl_status status = fl_alloc(&all, (size_t)size, sizeof *all);
    if (status == FL_OK && run->hosts_clients && run->ops->memory) {
        mine.shows = true;
        status = run->ops->memory(&mine.memory);
    }
    status = fl_agree(t, status);
    if (status == FL_OK) status = fl_transport_gather(t, 0, &mine, sizeof mine, all);
    if (status == FL_OK) status = fl_transport_bcast(t, 0, all, (size_t)size * sizeof *all);
    if (status == FL_OK) {
        run->num_devices = fl_devices_of_node(all, size, mine.node, &run->device_free);
        run->device_share = fl_device_share(all, size, &run->device_sharers);
    }
    fl_free(all);
    return status;
}

fl_status fl_run_reserve(const fl_run *run)
{
    const fl_memory_plan *plan = &run->memory_plan;
    if (!run->ops->reserve) return FL_OK;
    return run->ops->reserve(plan->device - plan->kernels, &plan->scratch);
}
