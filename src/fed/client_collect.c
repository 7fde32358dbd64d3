/* The part of client_factors.h that talks to other ranks. */
#include "fed/client_factors.h"

#include <string.h>

static fl_status send_mine(const fl_client_factors *f, fl_transport *transport, const fl_sent *sent,
                           int64_t round, const fl_kept_client *kept, size_t count)
{
    FL_ASSERT(count == f->mine_count);
    for (size_t i = 0; i < count; i++)
        FL_TRY(fl_transport_send(transport, 0, round, kept[i].client, f->mine + i * sent->up_count,
                                 sent->up_count * sizeof *f->mine));
    return FL_OK;
}

static fl_status make_room(fl_client_factors *f, size_t count)
{
    FL_TRY(fl_grow(&f->id, &f->id_capacity, count, sizeof *f->id));
    FL_TRY(fl_grow(&f->p, &f->p_capacity, count, sizeof *f->p));
    return fl_grow(&f->adapters, &f->adapters_capacity, (count + 1) * f->layout->count,
                   sizeof *f->adapters);
}

/* Through the place behind the last adapter, which is free until then. */
static fl_status receive_one(fl_client_factors *f, fl_transport *transport, const fl_sent *sent,
                             int64_t round, const fl_kept_client *kept, size_t i, size_t *own)
{
    float *to = f->adapters + i * f->layout->count, *packed = to + f->layout->count;
    size_t bytes = sent->up_count * sizeof *packed;
    if (kept->rank == 0)
        memcpy(packed, f->mine + (*own)++ * sent->up_count, bytes);
    else
        FL_TRY(fl_transport_recv(transport, kept->rank, round, kept->client, packed, bytes));
    fl_factors_unpack(to, packed, f->layout, sent->up);
    return FL_OK;
}

fl_status fl_client_factors_collect(fl_client_factors *f, fl_transport *transport,
                                    const fl_sent *sent, int64_t round, const fl_kept_client *kept,
                                    size_t count, const float *global)
{
    if (fl_transport_rank(transport) != 0) return send_mine(f, transport, sent, round, kept, count);
    FL_TRY(make_room(f, count));
    double total = 0;
    size_t own = 0;
    for (size_t i = 0; i < count; i++)
        total += kept[i].weight;
    for (size_t i = 0; i < count; i++) {
        f->id[i] = kept[i].client;
        f->p[i] = kept[i].weight / total;
        memcpy(f->adapters + i * f->layout->count, global, f->layout->count * sizeof *global);
        FL_TRY(receive_one(f, transport, sent, round, &kept[i], i, &own));
    }
    f->clients = count;
    return FL_OK;
}
