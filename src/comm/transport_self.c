/* One rank, no library: the run in one process, the test double, and the file to copy for a
 * transport of your own.  You provide
 *   - open: sets transport->impl, rank and size;   close: frees impl;
 *   - send and recv: pieces of bytes to and from another rank, in order;
 *   - collectives only where yours are faster than the defaults.
 * A single rank has no other to speak with, and what it sends to itself never gets here, so its
 * send and recv can only say that they were called wrongly.
 */
#include "comm/transport_ops.h"

static fl_status self_open(fl_transport *transport)
{
    transport->rank = 0;
    transport->size = 1;
    return FL_OK;
}

static void self_close(fl_transport *transport)
{
    (void)transport;
}

static fl_status self_send(fl_transport *transport, int to, const void *data, size_t bytes)
{
    (void)transport, (void)data;
    FL_FAIL(FL_ERR_INTERNAL, "transport self cannot send %zu bytes to rank %d", bytes, to);
}

static fl_status self_recv(fl_transport *transport, int from, void *data, size_t bytes)
{
    (void)transport, (void)data;
    FL_FAIL(FL_ERR_INTERNAL, "transport self cannot receive %zu bytes from rank %d", bytes, from);
}

const fl_transport_ops fl_transport_self = {
    .name = "self",
    .max_piece = SIZE_MAX / 8 * 8,
    .open = self_open,
    .close = self_close,
    .send = self_send,
    .recv = self_recv,
};
