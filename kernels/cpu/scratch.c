/* How much of their own memory the kernels need, for the plan; they take it when they first need
 * it.
 */
#include "attention.h"
#include "cpu.h"
#include "gemm.h"
#include "threads.h"

/* The backward strip: q, dout, out, and three times the scores with a softcap. */
static int64_t strip_floats(const fl_scratch_need *need)
{
    fl_attn_shape shape = {.H = need->H, .KV = need->KV, .D = need->D};
    int64_t tokens = fl_strip_tokens(&shape);
    if (tokens > need->longest) tokens = need->longest;
    int64_t rows = tokens * (need->H / need->KV);
    return 3 * rows * need->D + (2 * rows + 1) * (need->longest + FL_SCORE_ALIGN);
}

size_t fl_cpu_scratch_bytes(const fl_scratch_need *need)
{
    int64_t floats = fl_gemm_panel_floats(need->product) + strip_floats(need);
    return (size_t)fl_cpu_threads() * (size_t)floats * sizeof(float);
}
