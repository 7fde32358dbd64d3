#include "fed/side.h"

fl_status fl_side_bcast(fl_side *side, fl_transport *transport)
{
    size_t pairs = side->layout->num_params / 2, *rank;
    bool root = fl_transport_rank(transport) == 0;
    FL_TRY(fl_alloc(&rank, pairs, sizeof *rank));
    for (size_t i = 0; i < pairs; i++)
        rank[i] = fl_side_rank(side, i);
    fl_status status = fl_transport_bcast(transport, 0, rank, pairs * sizeof *rank);
    if (status == FL_OK && !root) status = fl_side_set_ranks(side, rank);
    fl_free(rank);
    FL_TRY(status);
    return fl_transport_bcast(transport, 0, side->values.data,
                              side->values.count * sizeof *side->values.data);
}
