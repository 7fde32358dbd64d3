#include "fed/client_vectors.h"

#include "base/mem.h"

fl_status fl_client_vectors_init(fl_client_vectors *out, const fl_backend_ops *ops, size_t count,
                                 bool extra, bool reads)
{
    size_t bytes = count * sizeof(float);
    *out = (fl_client_vectors){.ops = ops, .count = count};
    if (!ops) return FL_OK;
    FL_TRY(ops->alloc(&out->y, bytes));
    if (!ops->device) return FL_OK;
    FL_TRY(ops->alloc(&out->start_copy, bytes));
    if (extra) FL_TRY(ops->alloc(&out->extra_copy, bytes));
    return reads ? fl_alloc(&out->y_copy, count, sizeof *out->y_copy) : FL_OK;
}

void fl_client_vectors_fini(fl_client_vectors *v)
{
    if (v->ops) {
        v->ops->release(v->y);
        v->ops->release(v->start_copy);
        v->ops->release(v->extra_copy);
    }
    fl_free(v->y_copy);
    *v = (fl_client_vectors){0};
}

size_t fl_client_vectors_bytes(const fl_backend_ops *ops, size_t count, bool extra)
{
    size_t vectors = ops->device ? 3 + (extra ? 1 : 0) : 1;
    return vectors * count * sizeof(float);
}

/* A host vector as ops see it. */
static const float *to_backend(const fl_client_vectors *v, float *copy, const float *host)
{
    if (!v->ops->device) return host;
    v->ops->copy_in(copy, host, v->count * sizeof *host);
    return copy;
}

void fl_client_vectors_start(fl_client_vectors *v, const float *start)
{
    v->start = to_backend(v, v->start_copy, start);
}

const float *fl_client_vectors_result(fl_client_vectors *v)
{
    if (!v->ops->device) return v->y;
    v->ops->copy_out(v->y_copy, v->y, v->count * sizeof *v->y);
    return v->y_copy;
}

const float *fl_client_vectors_extra(fl_client_vectors *v, const float *extra)
{
    return to_backend(v, v->extra_copy, extra);
}
