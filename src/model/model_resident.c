/* Frozen weights where the kernels read them. */
#include "base/file.h"
#include "model/model_internal.h"

/* A copy of frozen data in backend memory. */
struct fl_resident {
    void *data;
    struct fl_resident *next;
};

fl_status fl_model_make_resident(fl_model *model, const void **data, size_t bytes)
{
    if (model->ops->host_memory) return FL_OK;
    struct fl_resident *copy;
    FL_TRY(fl_arena_alloc(model->arena, &copy, 1, sizeof *copy));
    FL_TRY(model->ops->alloc(&copy->data, bytes));
    copy->next = model->residents;
    model->residents = copy;
    model->ops->copy_in(copy->data, *data, bytes);
    fl_map_forget(*data, bytes);
    *data = copy->data;
    return model->ops->status();
}

void fl_model_release_residents(fl_model *model)
{
    for (struct fl_resident *copy = model->residents; copy; copy = copy->next)
        model->ops->release(copy->data);
    model->residents = NULL;
}
