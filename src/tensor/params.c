#include "tensor/tensor.h"

#include <string.h>

fl_status fl_params_init(fl_params *out, size_t max_params)
{
    fl_params params = {0};
    FL_TRY(fl_arena_create(&params.arena));
    fl_status status =
        fl_arena_alloc(params.arena, &params.params, max_params, sizeof *params.params);
    if (status != FL_OK) fl_arena_destroy(params.arena);
    params.max_params = max_params;
    if (status == FL_OK) *out = params;
    return status;
}

fl_status fl_params_add(fl_params *params, const char *name, int ndim, const int64_t *dim)
{
    FL_ASSERT((ndim == 1 || ndim == 2) && params->num_params < params->max_params);
    FL_ASSERT(dim[0] >= 0 && (ndim == 1 || dim[1] >= 0));
    fl_param *param = &params->params[params->num_params];
    FL_TRY(fl_arena_text(params->arena, &param->name, name, strlen(name)));
    param->ndim = ndim;
    param->dim[0] = dim[0];
    param->dim[1] = ndim == 2 ? dim[1] : 1;
    FL_CHECK(fl_mul_size((size_t)param->dim[0], (size_t)param->dim[1], &param->count),
             FL_ERR_MEMORY, "%s is too large", name);
    param->offset = params->count;
    params->count += param->count;
    params->num_params++;
    return FL_OK;
}

fl_status fl_params_allocate(fl_params *params)
{
    return fl_arena_alloc(params->arena, &params->data, params->count, sizeof *params->data);
}

fl_status fl_params_like(fl_params *out, const fl_params *other)
{
    fl_params params;
    FL_TRY(fl_params_init(&params, other->num_params));
    fl_status status = FL_OK;
    for (size_t i = 0; i < other->num_params && status == FL_OK; i++) {
        const fl_param *param = &other->params[i];
        status = fl_params_add(&params, param->name, param->ndim, param->dim);
    }
    if (status == FL_OK) status = fl_params_allocate(&params);
    if (status != FL_OK)
        fl_params_fini(&params);
    else
        *out = params;
    return status;
}

void fl_params_fini(fl_params *params)
{
    fl_arena_destroy(params->arena);
    *params = (fl_params){0};
}

const fl_param *fl_params_find(const fl_params *params, const char *name)
{
    for (size_t i = 0; i < params->num_params; i++)
        if (strcmp(params->params[i].name, name) == 0) return &params->params[i];
    return NULL;
}

bool fl_params_same_layout(const fl_params *a, const fl_params *b)
{
    if (a->num_params != b->num_params) return false;
    for (size_t i = 0; i < a->num_params; i++) {
        const fl_param *p = &a->params[i], *q = &b->params[i];
        if (strcmp(p->name, q->name) != 0 || p->ndim != q->ndim || p->dim[0] != q->dim[0] ||
            p->dim[1] != q->dim[1])
            return false;
    }
    return true;
}
