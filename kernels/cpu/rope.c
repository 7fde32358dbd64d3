/* Rotary position embedding (Su et al. 2021), in the layout of Hugging Face: element i turns with
 * element i + D/2. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

enum { ROW_GRAIN = 4 };

typedef struct rope_call {
    fl_act x;           /* [T,heads*D] */
    const int32_t *pos; /* [T] */
    const float *cos_table, *sin_table;
    int64_t heads, D;
    float sign;
} rope_call;

static void rotate_rows(int64_t begin, int64_t end, void *arg)
{
    const rope_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    int64_t half = call->D / 2;
    for (int64_t t = begin; t < end; t++) {
        const float *c = call->cos_table + call->pos[t] * half;
        const float *s = call->sin_table + call->pos[t] * half;
        for (int64_t h = 0; h < call->heads; h++)
            vec->rope_head(fl_cpu_floats(call->x) + t * call->x.stride + h * call->D, c, s,
                           call->sign, half);
    }
}

void fl_cpu_rope(fl_act x, const int32_t *pos, const float *cos_table, const float *sin_table,
                 int64_t T, int64_t heads, int64_t D, bool inverse)
{
    rope_call call = {.x = x,
                      .pos = pos,
                      .cos_table = cos_table,
                      .sin_table = sin_table,
                      .heads = heads,
                      .D = D,
                      .sign = inverse ? -1.0f : 1.0f};
    fl_parallel_for(T, ROW_GRAIN, rotate_rows, &call);
}
