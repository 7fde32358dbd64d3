/* Rows picked by number. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <string.h>

enum { ROW_GRAIN = 16 };

typedef struct rows_call {
    float *out;
    const float *in;
    const fl_weight *table;
    const int32_t *index;
    int64_t C;
} rows_call;

static void embed(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    const fl_weight *table = call->table;
    size_t row_bytes = (size_t)table->cols * fl_dtype_size(table->dtype);
    for (int64_t t = begin; t < end; t++) {
        const char *row = (const char *)table->data + (size_t)call->index[t] * row_bytes;
        fl_to_f32(call->out + t * table->cols, row, table->dtype, (size_t)table->cols);
    }
}

void fl_cpu_embedding(float *out, const fl_weight *table, const int32_t *ids, int64_t T)
{
    rows_call call = {.out = out, .table = table, .index = ids};
    fl_parallel_for(T, ROW_GRAIN, embed, &call);
}

static void gather(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    for (int64_t n = begin; n < end; n++)
        memcpy(call->out + n * call->C, call->in + call->index[n] * call->C,
               (size_t)call->C * sizeof(float));
}

void fl_cpu_gather_rows(float *out, const float *x, const int32_t *rows, int64_t N, int64_t C)
{
    rows_call call = {.out = out, .in = x, .index = rows, .C = C};
    fl_parallel_for(N, ROW_GRAIN, gather, &call);
}

/* The rows are distinct, so threads never meet. */
static void scatter_add(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t n = begin; n < end; n++)
        vec->add(call->out + call->index[n] * call->C, call->in + n * call->C, call->C);
}

void fl_cpu_scatter_add_rows(float *x, const float *in, const int32_t *rows, int64_t N, int64_t C)
{
    rows_call call = {.out = x, .in = in, .index = rows, .C = C};
    fl_parallel_for(N, ROW_GRAIN, scatter_add, &call);
}

typedef struct copy_call {
    fl_act to, from;
    int64_t C;
} copy_call;

static void copy_range(int64_t begin, int64_t end, void *arg)
{
    const copy_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        memcpy(fl_cpu_floats(call->to) + t * call->to.stride,
               fl_cpu_floats(call->from) + t * call->from.stride, (size_t)call->C * sizeof(float));
}

void fl_cpu_copy_rows(fl_act to, fl_act from, int64_t T, int64_t C)
{
    copy_call call = {.to = to, .from = from, .C = C};
    fl_parallel_for(T, ROW_GRAIN, copy_range, &call);
}
