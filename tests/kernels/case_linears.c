/* Groups of linears with the LoRA of many clients (backend/linears.h).  rows: of each linear, up to
 * the first 0; factor: dropout; beta != 0: `add` of a single linear; bare: the second has no LoRA.
 */
#include "case.h"

#include "backend/linears.h"

enum { STREAMS = CASE_LINEARS };

typedef struct lora_group {
    fl_linears group;
    fl_adapters adapters;
    fl_weight w[CASE_LINEARS];
    fl_lora_slot slot[CASE_LINEARS], side[CASE_LINEARS];
    int32_t first[16];
    double factor[16];
} lora_group;

/* Rows of the clients grow with the square of their number; some get none. */
static void share_rows(case_run *run, lora_group *g)
{
    const kernel_case *c = run->row;
    for (int64_t i = 0; i <= c->clients; i++)
        g->first[i] = (int32_t)(c->T * i * i / (c->clients * c->clients));
    for (int64_t i = 0; i < c->clients; i++)
        g->factor[i] = i % 2 ? 0.75 : 1;
    g->adapters.clients = c->clients;
    g->adapters.host_first = g->first;
    g->adapters.first = check_ints(g->first, c->clients + 1);
    g->adapters.host_factor = g->factor;
    g->adapters.factor = check_buffer(g->factor, c->clients, sizeof g->factor[0]);
}

static const fl_rng *make_streams(const kernel_case *c)
{
    int64_t count = c->clients * STREAMS, size = (int64_t)sizeof(fl_rng);
    fl_rng *streams = (fl_rng *)check_host((count * size + 3) / 4);
    for (int64_t i = 0; i < count; i++)
        streams[i] = fl_rng_make(11, FL_PURPOSE_TEST, (uint64_t)i, 0, 0, 0);
    return check_buffer(streams, count, sizeof *streams);
}

/* Slots of one set of factors [R, cols], [rows, R] from element 1 on; returns their end. */
static size_t make_slots(case_run *run, fl_lora_slot *slots, int count, bool shares_a)
{
    const kernel_case *c = run->row;
    size_t at = 1;
    for (int i = 0; i < count; i++) {
        fl_lora_slot *slot = &slots[i];
        *slot = (fl_lora_slot){.r = c->R, .scale = 0.3f, .stream = (i + 1) % STREAMS};
        slot->shares_a = shares_a && i > 0;
        if (c->bare && i == 1) {
            slot->r = 0;
            continue;
        }
        if (slot->shares_a) {
            slot->a = slots[i - 1].a;
            slot->t = slots[i - 1].t;
            slot->stream = slots[i - 1].stream;
        } else {
            slot->a = at;
            at += (size_t)(c->R * c->cols);
            slot->t = case_blank(run, c->T, c->R);
        }
        slot->b = at;
        at += (size_t)(c->rows[i] * c->R);
    }
    return at;
}

static void add_adapters(case_run *run, lora_group *g)
{
    const kernel_case *c = run->row;
    fl_adapters *all = &g->adapters;
    share_rows(run, g);
    all->stride = make_slots(run, g->slot, g->group.count, c->shares_a) + 2;
    all->weights = case_floats(run, c->clients * (int64_t)all->stride, 0.5f);
    all->grads = case_floats(run, c->clients * (int64_t)all->stride, 0.5f);
    all->dropout = c->factor;
    all->num_streams = STREAMS;
    if (c->factor > 0) all->streams = make_streams(c);
    g->group.adapters = all;
    if (c->side)
        g->group.side =
            case_floats(run, (int64_t)make_slots(run, g->side, g->group.count, false), 0.5f);
    for (int i = 0; i < g->group.count; i++) {
        g->group.slot[i] = &g->slot[i];
        g->group.side_slot[i] = &g->side[i];
    }
}

/* Everything but y and add.  Activations: dropped, dt, then t of every slot. */
static void make_group(case_run *run, lora_group *g)
{
    const kernel_case *c = run->row;
    while (g->group.count < CASE_LINEARS && c->rows[g->group.count] > 0)
        g->group.count++;
    g->group.dropped = case_blank(run, c->T, c->cols);
    g->group.dt = case_blank(run, c->T, c->R);
    for (int i = 0; i < g->group.count; i++) {
        g->w[i] = case_weight_of(run, c->weight, c->rows[i], c->cols);
        if (i != 1) g->w[i].bias = case_floats(run, c->rows[i], 1);
        g->group.w[i] = &g->w[i];
    }
    if (c->R > 0) add_adapters(run, g);
}

static void run_forward(case_run *run, lora_group *g, fl_act x)
{
    const kernel_case *c = run->row;
    for (int i = 0; i < g->group.count; i++)
        g->group.y[i] = case_blank(run, c->T, c->rows[i]);
    if (c->beta != 0) g->group.add = case_act(run, c->T, c->rows[0]);
    fl_linears_fwd(run->ops, &g->group, x, c->T);
}

static void linears_fwd(case_run *run)
{
    static const char *const names[] = {"y[0]", "y[1]", "y[2]"};
    const kernel_case *c = run->row;
    lora_group g = {0};
    make_group(run, &g);
    run_forward(run, &g, case_act(run, c->T, c->cols));
    for (int i = 0; i < g.group.count; i++)
        case_result_act(run, names[i], g.group.y[i], c->T, c->rows[i], BOUND_AFTER);
    if (c->R > 0) case_result_act(run, "t", g.slot[0].t, c->T, c->R, BOUND_SUM);
}

/* inverse: without dx. */
static void linears_bwd(case_run *run)
{
    const kernel_case *c = run->row;
    lora_group g = {0};
    make_group(run, &g);
    fl_act x = case_act(run, c->T, c->cols), dx = {0};
    run_forward(run, &g, x);
    for (int i = 0; i < g.group.count; i++)
        g.group.y[i] = case_act(run, c->T, c->rows[i]);
    if (!c->inverse)
        dx = c->accumulate ? case_act(run, c->T, c->cols) : case_blank(run, c->T, c->cols);
    if (c->trans_a) g.adapters.frozen = FL_FACTOR_A;
    if (c->trans_b) g.adapters.frozen = FL_FACTOR_B;
    fl_linears_bwd(run->ops, &g.group, dx, x, c->T, c->accumulate);
    if (dx.data) case_result_act(run, "dx", dx, c->T, c->cols, BOUND_AFTER);
    if (c->R > 0)
        case_result(run, "gradients", g.adapters.grads, c->clients * (int64_t)g.adapters.stride,
                    BOUND_AFTER);
}

#define BOTH(...)                                       \
    KERNEL_CASE(linears_fwd, linears_fwd, __VA_ARGS__), \
        KERNEL_CASE(linears_bwd, linears_bwd, __VA_ARGS__)

// clang-format off
const kernel_case case_linears[] = {
    BOTH(.T = 1, .rows = {1}, .cols = 1),
    BOTH(.T = 5, .rows = {33, 17}, .cols = 70, .beta = 0, .accumulate = true),
    BOTH(.T = 1, .rows = {9}, .cols = 33, .R = 4, .clients = 1),
    BOTH(.T = 17, .rows = {64, 32, 32}, .cols = 64, .R = 8, .clients = 1),
    BOTH(.T = 17, .rows = {40, 24, 24}, .cols = 64, .R = 8, .clients = 3, .shares_a = true),
    BOTH(.T = 19, .rows = {33, 21, 21}, .cols = 70, .R = 3, .clients = 4, .gap = 5),
    BOTH(.T = 37, .rows = {129, 129}, .cols = 40, .R = 16, .clients = 2, .factor = 0.1f),
    BOTH(.T = 24, .rows = {48, 48}, .cols = 72, .R = 5, .clients = 3, .factor = 0.5f,
         .shares_a = true, .accumulate = true, .weight = WEIGHT_BF16),
    BOTH(.T = 33, .rows = {72}, .cols = 130, .R = 8, .clients = 2, .beta = 1,
         .weight = WEIGHT_NF4_NESTED, .accumulate = true),
    BOTH(.T = 9, .rows = {64}, .cols = 64, .R = 4, .clients = 9, .weight = WEIGHT_INT8),
    BOTH(.T = 21, .rows = {32, 16}, .cols = 48, .R = 4, .clients = 2, .side = true,
         .factor = 0.1f),
    BOTH(.T = 20, .rows = {40, 40}, .cols = 64, .R = 8, .clients = 2, .trans_a = true,
         .factor = 0.1f),
    BOTH(.T = 20, .rows = {40, 40}, .cols = 64, .R = 8, .clients = 2, .trans_b = true),
    BOTH(.T = 20, .rows = {40, 24}, .cols = 64, .R = 8, .clients = 3, .inverse = true,
         .factor = 0.1f),
    BOTH(.T = 16, .rows = {64, 64}, .cols = 64, .R = 16, .clients = 2, .gap = 16),
    BOTH(.T = 18, .rows = {40, 24, 24}, .cols = 64, .R = 8, .clients = 2, .bare = true,
         .factor = 0.1f),
    {0},
};
