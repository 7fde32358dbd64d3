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

fl_status fl_model_take_resident(fl_model *model, void *out, size_t bytes)
{
    if (bytes > model->open_left) return take_memory(model, out, bytes);
    memcpy(out, &model->open_block, sizeof model->open_block);
    model->open_block += bytes;
    model->open_left -= bytes;
    return FL_OK;
}

fl_status fl_model_make_resident(fl_model *model, const void **data, size_t bytes)
{
    if (model->ops->host_memory) return FL_OK;
    void *copy;
    FL_TRY(fl_model_take_resident(model, &copy, bytes));
    model->ops->copy_in(copy, *data, bytes);
    fl_map_forget(*data, bytes);
    *data = copy;
    return model->ops->status();
}

void fl_model_release_residents(fl_model *model, const struct fl_resident *until)
{
    for (; model->residents != until; model->residents = model->residents->next)
        model->ops->release(model->residents->data);
}
