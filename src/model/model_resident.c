/* Frozen weights where the kernels read them. */
#include "base/file.h"
#include "model/model_internal.h"

#include <string.h>

/* A copy of frozen data in backend memory. */
struct fl_resident {
    void *data;
    struct fl_resident *next;
};

static fl_status take_memory(fl_model *model, void *out, size_t bytes)
{
    struct fl_resident *copy;
    FL_TRY(fl_arena_alloc(model->arena, &copy, 1, sizeof *copy));
    FL_TRY(model->ops->alloc(&copy->data, bytes));
    copy->next = model->residents;
    model->residents = copy;
    memcpy(out, &copy->data, sizeof copy->data);
    return FL_OK;
}

fl_status fl_model_begin_block(fl_model *model, size_t bytes)
{
    if (model->ops->host_memory) return FL_OK;
    FL_TRY(take_memory(model, &model->open_block, bytes));
    model->open_left = bytes;
    return FL_OK;
}

void fl_model_end_block(fl_model *model)
{
    model->open_block = NULL;
    model->open_left = 0;
}

fl_status fl_model_make_resident(fl_model *model, const void **data, size_t bytes)
{
    if (model->ops->host_memory) return FL_OK;
    char *copy = model->open_block;
    if (bytes <= model->open_left) {
        model->open_block += bytes;
        model->open_left -= bytes;
    } else {
        FL_TRY(take_memory(model, &copy, bytes));
    }
    model->ops->copy_in(copy, *data, bytes);
    fl_map_forget(*data, bytes);
    *data = copy;
    return model->ops->status();
}

void fl_model_release_residents(fl_model *model)
{
    for (struct fl_resident *copy = model->residents; copy; copy = copy->next)
        model->ops->release(copy->data);
    model->residents = NULL;
}
