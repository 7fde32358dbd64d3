/* Groups of linears with one input: neighbours are multiplied as one, and LoRA's part is added for
 * all of them and all clients together (lora.h). */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/lora.h"

namespace FL_DEVICE
{

static bool are_neighbours(fl_act y, int64_t rows, fl_act next)
{
    return y.dtype == next.dtype && y.stride == next.stride &&
           fl_act_from(y, 0, rows).data == next.data;
}

/* The linears from `first` on whose weights and results lie one behind the other. */
static Joined join_from(const fl_linears *group, int first)
{
    Joined joined = {{group->w[first]}, 1, group->w[first]->rows, group->w[first]->cols};
    for (int i = first + 1; i < group->count; i++) {
        if (!can_join(group->w[i - 1], group->w[i]) ||
            !are_neighbours(group->y[i - 1], group->w[i - 1]->rows, group->y[i]))
            break;
        joined.w[joined.count++] = group->w[i];
        joined.rows += group->w[i]->rows;
    }
    return joined;
}

static bool has_side(const fl_linears *group, int i)
{
    return has_lora(group, i) && group->side && group->side_slot[i]->r > 0;
}

/* y += (x A^T) B^T of the base's change */
static void add_side(const fl_linears *group, int i, fl_act x, int64_t T)
{
    const fl_lora_slot *side = group->side_slot[i];
    const fl_weight *w = group->w[i];
    op_gemm(side->t, x, fl_f32(group->side + side->a, w->cols), T, side->r, w->cols, false, true,
            1.0f, 0.0f);
    op_gemm(group->y[i], side->t, fl_f32(group->side + side->b, side->r), T, w->rows, side->r,
            false, true, 1.0f, 1.0f);
}

/* dx += (dy B) A of the base's change */
static void send_side_back(const fl_linears *group, int i, fl_act dx, int64_t T)
{
    const fl_lora_slot *side = group->side_slot[i];
    const fl_weight *w = group->w[i];
    op_gemm(side->t, group->y[i], fl_f32(group->side + side->b, side->r), T, side->r, w->rows,
            false, false, 1.0f, 0.0f);
    op_gemm(dx, side->t, fl_f32(group->side + side->a, w->cols), T, w->cols, side->r, false, false,
            1.0f, 1.0f);
}

void op_linears_fwd(const fl_linears *group, fl_act x, int64_t T)
{
    if (T == 0) return;
    for (int i = 0; i < group->count;) {
        Joined joined = join_from(group, i);
        joined_fwd(joined, group->y[i], x, T, i == 0 ? group->add : fl_act{});
        i += joined.count;
    }
    for (int i = 0; i < group->count; i++)
        if (has_side(group, i)) add_side(group, i, x, T);
    lora_fwd(group, x, T);
}

void op_linears_bwd(const fl_linears *group, fl_act dx, fl_act x, int64_t T, bool accumulate)
{
    if (T == 0) return;
    for (int i = 0; i < group->count && dx.data;) {
        Joined joined = join_from(group, i);
        joined_bwd(joined, dx, group->y[i], T, accumulate || i > 0);
        i += joined.count;
    }
    for (int i = 0; i < group->count && dx.data; i++)
        if (has_side(group, i)) send_side_back(group, i, dx, T);
    lora_bwd(group, dx, x, T);
}

} // namespace FL_DEVICE
