/* One block of backend memory for everything a pass needs: counted first, then laid out. */
#include "model/decoder_internal.h"

enum { ALIGNMENT = 64 };

typedef struct cursor {
    char *base; /* NULL: only count */
    size_t used;
} cursor;

static void *take(cursor *at, size_t count, size_t size)
{
    void *pointer = at->base ? at->base + at->used : NULL;
    at->used += (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return pointer;
}

static float *take_floats(cursor *at, int64_t rows, int64_t cols)
{
    return take(at, (size_t)rows * (size_t)cols, sizeof(float));
}

/* Activations that enter products. */
static fl_act take_act(cursor *at, const fl_decoder *d, int64_t rows, int64_t cols)
{
    fl_dtype dtype = d->ops->act_dtype();
    void *data = take(at, (size_t)rows * (size_t)cols, fl_dtype_size(dtype));
    return (fl_act){.data = data, .dtype = dtype, .stride = cols};
}

static fl_act take_f32(cursor *at, int64_t rows, int64_t cols)
{
    return fl_f32(take_floats(at, rows, cols), cols);
}

/* The next `cols` columns of a matrix that is handed out from left to right. */
static fl_act cut_act(fl_act *rest, int64_t cols)
{
    fl_act part = *rest;
    *rest = fl_act_from(*rest, 0, cols);
    return part;
}

/* What the linears of q, k and v write or read the gradient of, side by side in one matrix. */
typedef struct heads {
    fl_act all, q, k, v;
} heads;

static heads take_heads(cursor *at, const fl_decoder *d)
{
    const fl_model_config *c = &d->model->config;
    int64_t HD = c->num_heads * c->head_dim, KVD = c->num_kv_heads * c->head_dim;
    fl_act all = take_act(at, d, fl_decoder_capacity(d), HD + 2 * KVD), rest = all;
    heads h = {.all = all, .q = cut_act(&rest, HD), .k = cut_act(&rest, KVD)};
    h.v = rest;
    return h;
}

/* Where a family has that norm of heads, x [T, count * D] is `before` it, and moves behind it. */
static bool part_heads(cursor *at, const fl_decoder *d, fl_norm norm, int64_t count, fl_act *x,
                       fl_act *before)
{
    const fl_model_config *c = &d->model->config;
    if (!c->family->norm[norm]) return false;
    *before = *x;
    *x = take_act(at, d, fl_decoder_capacity(d), count * c->head_dim);
    return true;
}

static void layout_heads(cursor *at, fl_decoder *d, fl_layer_state *layer)
{
    const fl_model_config *c = &d->model->config;
    int64_t T = fl_decoder_capacity(d), H = c->num_heads, KV = c->num_kv_heads;
    heads h = take_heads(at, d);
    if (part_heads(at, d, FL_NORM_QUERY, H, &h.q, &layer->before[FL_NORM_QUERY]))
        layer->rstd[FL_NORM_QUERY] = take_floats(at, T, H);
    if (part_heads(at, d, FL_NORM_KEY, KV, &h.k, &layer->before[FL_NORM_KEY]))
        layer->rstd[FL_NORM_KEY] = take_floats(at, T, KV);
    layer->q = h.q;
    layer->k = h.k;
    layer->v = h.v;
}

/* [T, F] twice, side by side. */
static void take_pair(cursor *at, const fl_decoder *d, fl_act *left, fl_act *right)
{
    int64_t F = d->model->config.intermediate_size;
    *right = take_act(at, d, fl_decoder_capacity(d), 2 * F);
    *left = cut_act(right, F);
}

/* The norms behind blocks, which only some families have; those in front are recomputed from the
 * residual. */
static void layout_norms(cursor *at, fl_decoder *d, fl_layer_state *layer)
{
    static const fl_norm norms[] = {FL_NORM_AFTER_ATTENTION, FL_NORM_AFTER_MLP};
    const fl_model_config *c = &d->model->config;
    int64_t T = fl_decoder_capacity(d);
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        if (!c->family->norm[norms[i]]) continue;
        layer->before[norms[i]] = take_act(at, d, T, c->hidden_size);
        layer->rstd[norms[i]] = take_floats(at, T, 1);
    }
}

/* Does every layer keep all that its backward pass reads? */
static bool keeps_all(const fl_decoder *d)
{
    return d->limits.backward && !d->limits.recompute;
}

/* Where layers share one state it has room for any of them. */
static int64_t rank_of_layer(const fl_decoder *d, int64_t l, fl_module module)
{
    return keeps_all(d) ? fl_lora_rank(&d->lora, l, module)
                        : fl_lora_most_rank(&d->lora, &d->model->config);
}

/* All but x_in. */
static void layout_layer(cursor *at, fl_decoder *d, int64_t l)
{
    fl_layer_state *layer = &d->layers[l];
    const fl_model_config *c = &d->model->config;
    int64_t T = fl_decoder_capacity(d);
    layer->rstd1 = take_floats(at, T, 1);
    layout_heads(at, d, layer);
    layer->att = take_act(at, d, T, c->num_heads * c->head_dim);
    layer->lse = take_floats(at, T, c->num_heads);
    layer->x_mid = take_floats(at, T, c->hidden_size);
    layer->rstd2 = take_floats(at, T, 1);
    take_pair(at, d, &layer->gate, &layer->up);
    layout_norms(at, d, layer);
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        fl_module holder = c->family->linear[m].holder;
        if (!d->lora.target[m]) continue;
        layer->slot[m].t = (int)holder == m ? take_act(at, d, T, rank_of_layer(d, l, holder))
                                            : layer->slot[holder].t;
        layer->slot[m].t.stride = layer->slot[m].r;
    }
}

/* The first layer's buffers but for x_in. */
static void share_layer(fl_layer_state *layer, const fl_layer_state *first)
{
    fl_layer_state copy = *first;
    copy.x_in = layer->x_in;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        fl_act t = copy.slot[m].t;
        copy.slot[m] = layer->slot[m];
        copy.slot[m].t = t;
        copy.slot[m].t.stride = layer->slot[m].r;
        copy.side[m] = layer->side[m];
    }
    *layer = copy;
}

static void layout_backward(cursor *at, fl_decoder *d)
{
    const fl_model_config *c = &d->model->config;
    int64_t T = fl_decoder_capacity(d);
    d->dx = take_floats(at, T, c->hidden_size);
    d->dnorm = take_f32(at, T, c->hidden_size);
    take_pair(at, d, &d->dact, &d->dup);
    heads h = take_heads(at, d);
    part_heads(at, d, FL_NORM_QUERY, c->num_heads, &h.q, &d->dq_before);
    part_heads(at, d, FL_NORM_KEY, c->num_kv_heads, &h.k, &d->dk_before);
    d->dheads = h.all;
    d->dq = h.q;
    d->dk = h.k;
    d->dv = h.v;
    d->datt = take_act(at, d, T, c->num_heads * c->head_dim);
    d->dt = take_act(at, d, T, fl_lora_most_rank(&d->lora, c));
    if (c->family->norm[FL_NORM_AFTER_MLP]) d->dblock = take_act(at, d, T, c->hidden_size);
    fl_attn_shape largest = {.S = d->limits.max_sequences + 1,
                             .T = T,
                             .H = c->num_heads,
                             .KV = c->num_kv_heads,
                             .D = c->head_dim};
    d->attn_scratch = take_floats(at, d->ops->attention_bwd_scratch(&largest), 1);
}

static void layout_batch(cursor *at, fl_decoder *d)
{
    size_t T = (size_t)fl_decoder_capacity(d);
    d->ids = take(at, T, sizeof *d->ids);
    d->pos = take(at, T, sizeof *d->pos);
    d->cu = take(at, (size_t)d->limits.max_sequences + 2, sizeof *d->cu);
    d->prefix = take(at, (size_t)d->limits.max_sequences + 1, sizeof *d->prefix);
    /* targets are filled up to whole multiples */
    T += FL_LOSS_CHUNK;
    d->loss_rows = take(at, T, sizeof *d->loss_rows);
    d->targets = take(at, T, sizeof *d->targets);
    d->weights = take(at, T, sizeof *d->weights);
    size_t clients = (size_t)d->limits.max_clients;
    d->client_first = take(at, clients + 1, sizeof *d->client_first);
    d->client_factor = take(at, clients, sizeof *d->client_factor);
    if (d->lora.dropout > 0 && d->limits.backward)
        d->streams = take(at, clients * (size_t)fl_decoder_streams(d), sizeof *d->streams);
}

int64_t fl_decoder_rows(const fl_backend_ops *ops, int64_t max_tokens)
{
    int64_t step = ops->replay ? ops->replay_rows : 1, more = ops->replay ? 1 : 0;
    return (max_tokens + more + step - 1) / step * step;
}

int64_t fl_decoder_capacity(const fl_decoder *d)
{
    return fl_decoder_rows(d->ops, d->limits.max_tokens);
}

int64_t fl_decoder_widest(const fl_model_config *c)
{
    int64_t widest = c->num_heads * c->head_dim;
    if (c->hidden_size > widest) widest = c->hidden_size;
    return c->intermediate_size > widest ? c->intermediate_size : widest;
}

/* The largest rank that the change of an adapted matrix can have. */
static int64_t widest_side(const fl_decoder *d)
{
    int64_t widest = 0, rows, cols;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        if (!d->lora.target[m]) continue;
        fl_module holder = d->model->config.family->linear[m].holder;
        fl_module_shape((fl_module)m, &d->model->config, &rows, &cols);
        rows = fl_holder_rows(holder, &d->model->config);
        int64_t smaller = rows < cols ? rows : cols;
        if (smaller > widest) widest = smaller;
    }
    return widest;
}

/* What differs from layer to layer.  Kept for the backward pass: all of it, or only the input. */
static void layout_layers(cursor *at, fl_decoder *d)
{
    int64_t num_layers = d->model->config.num_layers, T = fl_decoder_capacity(d);
    for (int64_t l = 0; l < num_layers; l++) {
        fl_layer_state *layer = &d->layers[l];
        bool own = l == 0 || d->limits.backward;
        layer->x_in = own ? take_floats(at, T, d->model->config.hidden_size) : d->layers[0].x_in;
        if (keeps_all(d)) layout_layer(at, d, l);
    }
}

/* What every layer uses again. */
static void layout_workspace(cursor *at, fl_decoder *d)
{
    const fl_model_config *c = &d->model->config;
    int64_t T = fl_decoder_capacity(d);
    if (!keeps_all(d)) {
        layout_layer(at, d, 0);
        for (int64_t l = 1; l < c->num_layers; l++)
            share_layer(&d->layers[l], &d->layers[0]);
    }
    d->x_out = take_floats(at, T, c->hidden_size);
    d->norm = take_act(at, d, T, c->hidden_size);
    d->act = take_act(at, d, T, c->intermediate_size);
    if (d->lora.dropout > 0 && d->limits.backward)
        d->dropped = take_act(at, d, T, fl_decoder_widest(c));
    if (d->lora.has_side) d->side_t = take_act(at, d, T, widest_side(d));
    if (d->limits.backward) layout_backward(at, d);
    layout_batch(at, d);
}

static void layout_loss(cursor *at, fl_decoder *d)
{
    const fl_model_config *c = &d->model->config;
    int64_t N = d->ops->loss_rows;
    d->rows_x = take_floats(at, N, c->hidden_size);
    d->rows_norm = take_act(at, d, N, c->hidden_size);
    d->rows_rstd = take_floats(at, N, 1);
    d->rows_dx = take_floats(at, N, c->hidden_size);
    d->logits = take_floats(at, N, c->vocab_size);
    if (c->final_softcap > 0 && d->limits.backward) d->capped = take_floats(at, N, c->vocab_size);
    d->rows_loss = take(at, (size_t)fl_decoder_capacity(d) + FL_LOSS_CHUNK, sizeof *d->rows_loss);
}

fl_decoder_plan fl_decoder_layout(fl_decoder *d, char *base)
{
    cursor at = {.base = base};
    fl_decoder_plan plan = {0};
    layout_layers(&at, d);
    plan.layers = at.used;
    layout_workspace(&at, d);
    plan.workspace = at.used - plan.layers;
    layout_loss(&at, d);
    plan.loss = at.used - plan.layers - plan.workspace;
    return plan;
}
