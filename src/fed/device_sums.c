#include "fed/device_sums.h"

#include "base/mem.h"
#include "fed/agree.h"
#include "fed/placement.h"

#include <string.h>

/* What rank 0 learns of a rank. */
typedef struct device_card {
    int32_t has_device, is_emulated;
    int32_t node; /* first rank of its node */
    char identity[52];
} device_card;

static fl_status write_card(device_card *out, const fl_transport *transport,
                            const fl_backend_ops *ops)
{
    const fl_device_ops *device = ops ? ops->device : NULL;
    *out = (device_card){.node = fl_transport_node(transport).first};
    if (!device) return FL_OK;
    out->has_device = 1;
    out->is_emulated = device->emulated;
    return device->identity(out->identity, sizeof out->identity);
}

/* The first two of these cards that show the same device; false: none do. */
static bool find_shared(const device_card *cards, int size, int *a, int *b)
{
    for (*b = 1; *b < size; ++*b)
        for (*a = 1; *a < *b; ++*a)
            if (cards[*a].node == cards[*b].node &&
                strcmp(cards[*a].identity, cards[*b].identity) == 0)
                return true;
    return false;
}

/* Rank 0: why devices do not add; empty: nothing speaks against it.  The cards of ranks 1 to
 * size - 1 count, which all have the same backend. */
static fl_status judge(fl_buf *why, const device_card *cards, int size, const char *word)
{
    int a, b;
    if (strcmp(word, "mpi") == 0) return fl_buf_add_text(why, "device_sums = \"mpi\"");
    if (!cards[1].has_device) return fl_buf_add_text(why, "the backend has no device");
    if (fl_placement_hosts(size) == 1) return fl_buf_add_text(why, "one rank trains");
    if (cards[1].is_emulated && strcmp(word, "nccl") != 0)
        return fl_buf_add_text(why, "the devices are emulated");
    if (find_shared(cards, size, &a, &b))
        return fl_buf_addf(why, "ranks %d and %d share a device", a, b);
    return FL_OK;
}

/* Collective: `reason` becomes rank 0's judgement on all ranks; *involved: whether there are
 * devices. */
static fl_status decide(fl_transport *transport, const fl_backend_ops *ops, const char *word,
                        fl_buf *reason, bool *involved)
{
    int size = fl_transport_size(transport);
    device_card mine, *cards = NULL;
    char text[128] = "";
    fl_status status = write_card(&mine, transport, ops);
    if (status == FL_OK && fl_transport_rank(transport) == 0)
        status = fl_alloc(&cards, (size_t)size, sizeof *cards);
    FL_TRY_GOTO(fl_agree(transport, status), out);
    FL_TRY_GOTO(fl_transport_gather(transport, 0, &mine, sizeof mine, cards), out);
    if (cards) {
        status = judge(reason, cards, size, word);
        *involved = cards[1].has_device || strcmp(word, "nccl") == 0;
        strncpy(text, fl_buf_text(reason), sizeof text - 1);
    }
    FL_TRY_GOTO(fl_agree(transport, status), out);
    FL_TRY_GOTO(fl_transport_bcast(transport, 0, text, sizeof text), out);
    fl_buf_clear(reason);
    status = fl_buf_add_text(reason, text);
out:
    fl_free(cards);
    return status;
}

static fl_status open_devices(fl_device_sum **out, fl_transport *transport,
                              const fl_backend_ops *ops, fl_buf *reason)
{
    const fl_device_ops *device = ops ? ops->device : NULL;
    fl_device_queue queue = {0};
    if (device) queue = (fl_device_queue){.stream = device->stream(), .is_done = device->is_idle};
    return fl_device_sum_open(out, transport, 1, device ? &queue : NULL, reason);
}

fl_status fl_device_sums_open(fl_device_sum **out, fl_transport *transport,
                              const fl_backend_ops *ops, const char *word, fl_buf *how)
{
    int size = fl_transport_size(transport);
    fl_buf reason = {0};
    bool involved = false;
    *out = NULL;
    if (size == 1) return FL_OK;
    fl_status status = decide(transport, ops, word, &reason, &involved);
    if (status == FL_OK && !reason.length) status = open_devices(out, transport, ops, &reason);
    if (status == FL_OK && *out)
        status = fl_buf_addf(how, "NCCL on %d devices", fl_placement_hosts(size));
    else if (status == FL_OK && involved)
        status = fl_buf_addf(how, "through MPI: %s", fl_buf_text(&reason));
    fl_buf_fini(&reason);
    return status;
}
