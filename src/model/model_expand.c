/* A base that is expanded while it is read: matrices that products would widen at every use become
 * bf16 once.  Of what the files or the quantisation have of them, one matrix at a time is on the
 * device, of plain numbers only a piece. */
#include "base/file.h"
#include "model/model_internal.h"

enum { PIECE = 1 << 26 }; /* bytes of plain numbers */

bool fl_model_can_expand(const fl_backend_ops *ops)
{
    return !ops->host_memory && ops->act_dtype() == FL_BF16;
}

static size_t expanded_bytes(int64_t rows, int64_t cols)
{
    return (size_t)(rows * cols) * fl_dtype_size(FL_BF16);
}

static fl_weight expanded_weight(const void *data, int64_t rows, int64_t cols)
{
    return (fl_weight){.data = data, .dtype = FL_BF16, .rows = rows, .cols = cols};
}

/* ---- plain numbers -------------------------------------------------------------------------- */

static int64_t rows_of_piece(int64_t rows, size_t row_bytes)
{
    int64_t fit = PIECE / (int64_t)row_bytes;
    return fit < 1 ? 1 : fit < rows ? fit : rows;
}

static void widen_pieces(const fl_model *model, char *out, const fl_weight *w, void *stage,
                         int64_t step)
{
    size_t row_bytes = (size_t)w->cols * fl_dtype_size(w->dtype);
    for (int64_t begin = 0; begin < w->rows; begin += step) {
        fl_weight piece = {.data = stage, .dtype = w->dtype, .rows = step, .cols = w->cols};
        if (w->rows - begin < step) piece.rows = w->rows - begin;
        model->ops->copy_in(stage, (const char *)w->data + (size_t)begin * row_bytes,
                            (size_t)piece.rows * row_bytes);
        model->ops->widen(out + expanded_bytes(begin, w->cols), &piece);
    }
}

fl_status fl_model_expand_plain(fl_model *model, fl_weight *w)
{
    char *out;
    void *stage;
    size_t row_bytes = (size_t)w->cols * fl_dtype_size(w->dtype);
    int64_t step = rows_of_piece(w->rows, row_bytes);
    FL_TRY(fl_model_take_resident(model, &out, expanded_bytes(w->rows, w->cols)));
    FL_TRY(model->ops->alloc(&stage, (size_t)step * row_bytes));
    widen_pieces(model, out, w, stage, step);
    model->ops->release(stage);
    fl_map_forget(w->data, (size_t)w->rows * row_bytes);
    *w = expanded_weight(out, w->rows, w->cols);
    return model->ops->status();
}

fl_status fl_model_expand_resident(fl_model *model, const fl_weight *from, fl_weight *out)
{
    void *data;
    FL_TRY(fl_model_take_resident(model, &data, expanded_bytes(from->rows, from->cols)));
    model->ops->widen(data, from);
    *out = expanded_weight(data, from->rows, from->cols);
    return model->ops->status();
}

/* ---- quantised matrices --------------------------------------------------------------------- */

static fl_status widen_quantised(fl_model *model, void *out, const char *name, int64_t rows,
                                 int64_t cols)
{
    fl_quant quant;
    fl_weight packed;
    if (model->config.stored == FL_STORED) { /* else its parts come from the file */
        size_t bytes = fl_model_packed_bytes(model->format, rows, cols);
        FL_TRY(fl_model_take_resident(model, &model->quant_block, bytes));
        model->quant_used = 0;
    }
    FL_TRY(fl_model_get_quantised(model, name, rows, cols, &quant, &packed));
    model->ops->widen(out, &packed);
    return model->ops->status();
}

fl_status fl_model_expand_quantised(fl_model *model, const char *name, int64_t rows, int64_t cols,
                                    fl_weight *out)
{
    void *data;
    FL_TRY(fl_model_take_resident(model, &data, expanded_bytes(rows, cols)));
    const struct fl_resident *kept = model->residents;
    char *block = model->open_block;
    size_t left = model->open_left;
    fl_model_end_block(model); /* the parts are no neighbours of the result */
    fl_status status = widen_quantised(model, data, name, rows, cols);
    fl_model_release_residents(model, kept);
    model->quant_block = NULL;
    model->open_block = block;
    model->open_left = left;
    *out = expanded_weight(data, rows, cols);
    return status;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

size_t fl_model_group_bytes(const fl_model_config *c, fl_module first, fl_module last)
{
    size_t bytes = 0;
    int64_t rows, cols;
    for (int m = (int)first; m <= (int)last; m++) {
        fl_module_shape((fl_module)m, c, &rows, &cols);
        if ((int)c->family->linear[m].holder == m)
            bytes += expanded_bytes(fl_holder_rows((fl_module)m, c), cols);
    }
    return bytes;
}

/* Of one matrix, the codes of whatever format and plain numbers of whatever size included. */
static size_t most_staged(fl_format format, int64_t rows, int64_t cols)
{
    size_t row_bytes = (size_t)cols * sizeof(float);
    size_t plain = (size_t)rows_of_piece(rows, row_bytes) * row_bytes;
    size_t packed = fl_model_packed_bytes(format, rows, cols);
    return packed > plain ? packed : plain;
}

static size_t most_staged_of_all(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    size_t most = most_staged(FL_STORED, c->vocab_size, c->hidden_size);
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        int64_t rows, cols;
        fl_module_shape((fl_module)m, c, &rows, &cols);
        size_t bytes = most_staged(model->format, fl_holder_rows((fl_module)m, c), cols);
        if (bytes > most) most = bytes;
    }
    return most;
}

void fl_model_measure_expanded(fl_model_sizes *sizes, const fl_model *model, fl_dtype embedding,
                               bool tied_head)
{
    const fl_model_config *c = &model->config;
    size_t table = (size_t)(c->vocab_size * c->hidden_size);
    bool has_head = !tied_head || embedding != FL_BF16;
    sizes->expanded = (size_t)c->num_layers * fl_model_group_bytes(c, FL_Q_PROJ, FL_DOWN_PROJ) +
                      table * fl_dtype_size(embedding) +
                      (has_head ? table * fl_dtype_size(FL_BF16) : 0);
    sizes->staged = most_staged_of_all(model);
}
