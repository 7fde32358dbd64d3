/* LoRA of a group forward and backward, as calls of the kernels. */
#include "kernels/cuda/lora.h"

namespace FL_DEVICE
{

static LoraCall call_of(const fl_linears *group, int64_t T)
{
    const fl_adapters *all = group->adapters;
    LoraCall call = {};
    call.T = T;
    call.clients = all->clients;
    call.first = all->first;
    call.client_factor = all->factor;
    call.weights = all->weights;
    call.grads = all->grads;
    call.stride = all->stride;
    call.num_streams = all->num_streams;
    call.dropout = all->dropout;
    call.kept = (float)(1.0 / (1.0 - (double)all->dropout));
    return call;
}

static void add_part(LoraCall *call, const LoraPart &part)
{
    LoraPart &added = call->part[call->count];
    added = part;
    added.owner = call->count;
    for (int p = call->count - 1; p >= 0; p--)
        if (call->part[p].factor == part.factor) added.owner = p;
    if (part.width > call->width) call->width = part.width;
    if (part.r > call->r) call->r = part.r;
    call->count++;
}

/* The side of A: all linears with LoRA, or only those with an A of their own.  narrow[i]: of linear
 * i. */
static LoraCall side_a(const fl_linears *group, fl_act x, int64_t T, const fl_act *narrow,
                       bool owners_only)
{
    LoraCall call = call_of(group, T);
    call.streams = group->adapters->streams;
    call.piece = LORA_PIECE;
    call.span = LORA_SPAN;
    for (int i = 0; i < group->count; i++) {
        const fl_lora_slot *slot = group->slot[i];
        if (!has_lora(group, i) || (owners_only && slot->shares_a)) continue;
        add_part(&call, {rows_of(x), rows_of(narrow[i]), group->w[i]->cols, slot->r, slot->a, 0,
                         slot->stream, slot->scale, 0});
    }
    return call;
}

static LoraCall side_b(const fl_linears *group, int64_t T, const fl_act *narrow)
{
    LoraCall call = call_of(group, T);
    call.piece = call.span = LORA_SQUARE;
    for (int i = 0; i < group->count; i++) {
        const fl_lora_slot *slot = group->slot[i];
        if (has_lora(group, i))
            add_part(&call, {rows_of(group->y[i]), rows_of(narrow[i]), group->w[i]->rows, slot->r,
                             slot->b, 0, slot->stream, slot->scale, 0});
    }
    return call;
}

static bool any_lora(const fl_linears *group)
{
    for (int i = 0; i < group->count; i++)
        if (has_lora(group, i)) return true;
    return false;
}

/* t of all linears. */
static void find_t(const fl_linears *group, fl_act *t)
{
    for (int i = 0; i < group->count; i++)
        if (has_lora(group, i)) t[i] = group->slot[i]->t;
}

void lora_fwd(const fl_linears *group, fl_act x, int64_t T)
{
    if (!any_lora(group)) return;
    fl_act t[FL_MOST_LINEARS] = {};
    find_t(group, t);
    LoraCall a = side_a(group, x, T, t, true), b = side_b(group, T, t);
    if (a.count > 0) lora_narrow(a);
    lora_wide(b, SIDE_B);
}

/* dt of all linears in scratch memory, as operands have it; false: there is none. */
static bool find_dt(const fl_linears *group, int64_t T, fl_act *dt)
{
    fl_dtype dtype = compute_dtype();
    int64_t r = 0, stride = 0;
    for (int i = 0; i < group->count; i++)
        if (has_lora(group, i)) stride += (group->slot[i]->r + 7) / 8 * 8;
    void *data = scratch(SCRATCH_NARROW, (size_t)(T * stride) * fl_dtype_size(dtype));
    for (int i = 0; i < group->count; i++) {
        if (!has_lora(group, i)) continue;
        dt[i] = fl_act_from({data, dtype, stride}, 0, r);
        r += (group->slot[i]->r + 7) / 8 * 8;
    }
    return data != nullptr;
}

size_t narrow_scratch(const fl_scratch_need *need)
{
    int64_t stride = FL_MOST_LINEARS * ((need->r + 7) / 8 * 8);
    return (size_t)(need->tokens * stride) * fl_dtype_size(compute_dtype());
}

/* Of the largest group of linears, or of a gradient that is summed over pieces of a weight. */
size_t parts_scratch(const fl_scratch_need *need)
{
    int64_t pieces = need->width / LORA_SQUARE + FL_MOST_LINEARS;
    int64_t most = pieces * need->tokens * need->r, sums = need->tokens * need->longest_row;
    bool is_cut = compute_dtype() != FL_F32 && may_be_cut(need);
    return (size_t)(is_cut && sums > most ? sums : most) * sizeof(float);
}

size_t spans_scratch(const fl_scratch_need *need)
{
    int64_t spans = need->tokens / LORA_SQUARE + need->clients;
    return (size_t)(spans * need->width * need->r) * sizeof(float);
}

void lora_bwd(const fl_linears *group, fl_act dx, fl_act x, int64_t T)
{
    if (!any_lora(group)) return;
    unsigned frozen = group->adapters->grads ? group->adapters->frozen : unsigned(FL_FACTORS);
    bool trains_a = !(frozen & FL_FACTOR_A), trains_b = !(frozen & FL_FACTOR_B);
    bool wants_dt = trains_a || dx.data;
    fl_act t[FL_MOST_LINEARS] = {}, dt[FL_MOST_LINEARS] = {};
    find_t(group, t);
    if (wants_dt && !find_dt(group, T, dt)) return;
    if (wants_dt || trains_b)
        lora_dy(side_b(group, T, dt), side_b(group, T, t), wants_dt, trains_b);
    if (trains_a) lora_outer(side_a(group, x, T, dt, false));
    if (dx.data) lora_wide(side_a(group, dx, T, dt, false), SIDE_A);
}

} // namespace FL_DEVICE
