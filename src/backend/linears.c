/* The group of linears made of single ops, client by client. */
#include "backend/linears.h"

static const fl_act nothing = {0};

/* One client's part of one linear's LoRA. */
typedef struct part {
    const fl_backend_ops *ops;
    const fl_linears *group;
    const fl_weight *w;
    const fl_lora_slot *slot;
    int64_t begin, T; /* its rows of the batch */
    const float *weights;
    float *grads;
    float scale;
    const fl_rng *stream; /* NULL: no dropout */
} part;

static part part_of(const fl_backend_ops *ops, const fl_linears *group, int linear, int64_t client)
{
    const fl_adapters *all = group->adapters;
    const fl_lora_slot *slot = group->slot[linear];
    double factor = all->host_factor[client];
    part p = {.ops = ops,
              .group = group,
              .w = group->w[linear],
              .slot = slot,
              .begin = all->host_first[client],
              .T = all->host_first[client + 1] - all->host_first[client],
              .weights = all->weights + (size_t)client * all->stride,
              .grads = all->grads ? all->grads + (size_t)client * all->stride : NULL,
              .scale = factor == 1 ? slot->scale : (float)(factor * (double)slot->scale)};
    if (all->streams) p.stream = all->streams + client * all->num_streams + slot->stream;
    return p;
}

static bool has_lora(const fl_linears *group, int linear)
{
    return group->adapters && group->slot[linear] && group->slot[linear]->r > 0;
}

/* ---- forward -------------------------------------------------------------------------------- */

/* The scratch as [T, cols]. */
static fl_act dropped_of(const part *p)
{
    fl_act dropped = p->group->dropped;
    dropped.stride = p->w->cols;
    return dropped;
}

/* x[T, cols] as the linear's A sees it. */
static fl_act drop(const part *p, fl_act x)
{
    if (!p->stream) return x;
    fl_act dropped = dropped_of(p);
    p->ops->dropout(dropped, x, p->T, p->w->cols, p->group->adapters->dropout, p->stream, false);
    return dropped;
}

/* y += scale (drop(x) A^T) B^T; the linear that owns A leaves drop(x) A^T in t. */
static void add_lora(const part *p, fl_act y, fl_act x)
{
    const fl_lora_slot *slot = p->slot;
    int64_t R = slot->r, cols = p->w->cols, rows = p->w->rows;
    fl_act t = fl_act_from(slot->t, p->begin, 0);
    y = fl_act_from(y, p->begin, 0);
    if (!slot->shares_a)
        p->ops->gemm(t, drop(p, fl_act_from(x, p->begin, 0)), fl_f32(p->weights + slot->a, cols),
                     p->T, R, cols, false, true, 1.0f, 0.0f);
    p->ops->gemm(y, t, fl_f32(p->weights + slot->b, R), p->T, rows, R, false, true, p->scale, 1.0f);
}

/* y += (x A^T) B^T of the base's change */
static void add_side(const fl_backend_ops *ops, const fl_linears *group, int linear, fl_act x,
                     int64_t T)
{
    const fl_lora_slot *side = group->side_slot[linear];
    const fl_weight *w = group->w[linear];
    if (!group->side || side->r == 0) return;
    ops->gemm(side->t, x, fl_f32(group->side + side->a, w->cols), T, side->r, w->cols, false, true,
              1.0f, 0.0f);
    ops->gemm(group->y[linear], side->t, fl_f32(group->side + side->b, side->r), T, w->rows,
              side->r, false, true, 1.0f, 1.0f);
}

void fl_linears_fwd(const fl_backend_ops *ops, const fl_linears *group, fl_act x, int64_t T)
{
    if (ops->linears_fwd) {
        ops->linears_fwd(group, x, T);
        return;
    }
    for (int i = 0; i < group->count; i++) {
        ops->linear_fwd(group->y[i], x, group->w[i], T, i == 0 ? group->add : nothing);
        if (!has_lora(group, i)) continue;
        add_side(ops, group, i, x, T);
        for (int64_t c = 0; c < group->adapters->clients; c++) {
            part p = part_of(ops, group, i, c);
            add_lora(&p, group->y[i], x);
        }
    }
}

/* ---- backward ------------------------------------------------------------------------------- */

/* dx += (dy B) A of the base's change */
static void add_side_back(const fl_backend_ops *ops, const fl_linears *group, int linear, fl_act dx,
                          int64_t T)
{
    const fl_lora_slot *side = group->side_slot[linear];
    const fl_weight *w = group->w[linear];
    if (!group->side || side->r == 0) return;
    ops->gemm(side->t, group->y[linear], fl_f32(group->side + side->b, side->r), T, side->r,
              w->rows, false, false, 1.0f, 0.0f);
    ops->gemm(dx, side->t, fl_f32(group->side + side->a, w->cols), T, w->cols, side->r, false,
              false, 1.0f, 1.0f);
}

/* dx += mask (dt A) / (1 - p) */
static void send_back(const part *p, fl_act dx, fl_act dt)
{
    const fl_adapters *all = p->group->adapters;
    int64_t cols = p->w->cols;
    fl_act a = fl_f32(p->weights + p->slot->a, cols);
    if (!p->stream) {
        p->ops->gemm(dx, dt, a, p->T, cols, p->slot->r, false, false, 1.0f, 1.0f);
        return;
    }
    fl_act dropped = dropped_of(p);
    p->ops->gemm(dropped, dt, a, p->T, cols, p->slot->r, false, false, 1.0f, 0.0f);
    p->ops->dropout(dx, dropped, p->T, cols, all->dropout, p->stream, true);
}

/* dB += s dy^T t, dt = s dy B, dA += dt^T drop(x), and what goes back to dx. */
static void lora_back(const part *p, fl_act dx, fl_act dy, fl_act x)
{
    const fl_lora_slot *slot = p->slot;
    const fl_adapters *all = p->group->adapters;
    int64_t R = slot->r, cols = p->w->cols, rows = p->w->rows;
    fl_act t = fl_act_from(slot->t, p->begin, 0), dt = p->group->dt;
    dt.stride = R;
    dy = fl_act_from(dy, p->begin, 0);
    if (!(all->frozen & FL_FACTOR_B))
        p->ops->gemm(fl_f32(p->grads + slot->b, R), dy, t, rows, R, p->T, true, false, p->scale,
                     1.0f);
    p->ops->gemm(dt, dy, fl_f32(p->weights + slot->b, R), p->T, R, rows, false, false, p->scale,
                 0.0f);
    if (!(all->frozen & FL_FACTOR_A))
        p->ops->gemm(fl_f32(p->grads + slot->a, cols), dt, drop(p, fl_act_from(x, p->begin, 0)), R,
                     cols, p->T, true, false, 1.0f, 1.0f);
    if (dx.data) send_back(p, fl_act_from(dx, p->begin, 0), dt);
}

void fl_linears_bwd(const fl_backend_ops *ops, const fl_linears *group, fl_act dx, fl_act x,
                    int64_t T, bool accumulate)
{
    if (ops->linears_bwd) {
        ops->linears_bwd(group, dx, x, T, accumulate);
        return;
    }
    for (int i = 0; i < group->count; i++) {
        if (dx.data) ops->linear_bwd(dx, group->y[i], group->w[i], T, accumulate || i > 0);
        if (!has_lora(group, i)) continue;
        if (dx.data) add_side_back(ops, group, i, dx, T);
        for (int64_t c = 0; c < group->adapters->clients; c++) {
            part p = part_of(ops, group, i, c);
            lora_back(&p, dx, group->y[i], x);
        }
    }
}
