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

/* The norms that only some families have; the others are recomputed from the residual. */
static void layout_norms(cursor *at, fl_decoder *d, fl_layer_state *layer)
{
    const fl_model_config *c = &d->model->config;
    const int64_t groups[FL_NUM_NORMS] = {[FL_NORM_QUERY] = c->num_heads,
                                          [FL_NORM_KEY] = c->num_kv_heads,
                                          [FL_NORM_AFTER_ATTENTION] = 1,
                                          [FL_NORM_AFTER_MLP] = 1};
    for (int n = 0; n < FL_NUM_NORMS; n++) {
        if (!c->family->norm[n] || groups[n] == 0) continue;
        int64_t rows = d->limits.max_tokens * groups[n];
        bool heads = n == FL_NORM_QUERY || n == FL_NORM_KEY;
        layer->before[n] = take_floats(at, rows, heads ? c->head_dim : c->hidden_size);
        layer->rstd[n] = take_floats(at, rows, 1);
    }
}

/* Without backward all layers share one state, with room for any of them. */
static int64_t rank_of_layer(const fl_decoder *d, int64_t l, fl_module module)
{
    return d->limits.backward ? fl_lora_rank(&d->lora, l, module)
                              : fl_lora_most_rank(&d->lora, &d->model->config);
}

static void layout_layer(cursor *at, fl_decoder *d, int64_t l)
{
    fl_layer_state *layer = &d->layers[l];
    const fl_model_config *c = &d->model->config;
    int64_t T = d->limits.max_tokens, HD = c->num_heads * c->head_dim;
    int64_t KVD = c->num_kv_heads * c->head_dim;
    layer->x_in = take_floats(at, T, c->hidden_size);
    layer->rstd1 = take_floats(at, T, 1);
    layer->q = take_floats(at, T, HD);
    layer->k = take_floats(at, T, KVD);
    layer->v = take_floats(at, T, KVD);
    layer->att = take_floats(at, T, HD);
    layer->lse = take_floats(at, T, c->num_heads);
    layer->x_mid = take_floats(at, T, c->hidden_size);
    layer->rstd2 = take_floats(at, T, 1);
    layer->gate = take_floats(at, T, c->intermediate_size);
    layer->up = take_floats(at, T, c->intermediate_size);
    layout_norms(at, d, layer);
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        fl_module holder = c->family->linear[m].holder;
        if (!d->lora.target[m]) continue;
        layer->slot[m].t = (int)holder == m ? take_floats(at, T, rank_of_layer(d, l, holder))
                                            : layer->slot[holder].t;
    }
}

static void share_layer(fl_layer_state *layer, const fl_layer_state *first)
{
    fl_layer_state copy = *first;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        float *t = copy.slot[m].t;
        copy.slot[m] = layer->slot[m];
        copy.slot[m].t = t;
    }
    *layer = copy;
}

static void layout_backward(cursor *at, fl_decoder *d)
{
    const fl_model_config *c = &d->model->config;
    int64_t T = d->limits.max_tokens, HD = c->num_heads * c->head_dim;
    int64_t KVD = c->num_kv_heads * c->head_dim;
    d->dx = take_floats(at, T, c->hidden_size);
    d->dnorm = take_floats(at, T, c->hidden_size);
    d->dact = take_floats(at, T, c->intermediate_size);
    d->dup = take_floats(at, T, c->intermediate_size);
    d->dq = take_floats(at, T, HD);
    d->dk = take_floats(at, T, KVD);
    d->dv = take_floats(at, T, KVD);
    d->datt = take_floats(at, T, HD);
    d->dt = take_floats(at, T, fl_lora_most_rank(&d->lora, c));
    if (c->family->norm[FL_NORM_QUERY]) d->dheads = take_floats(at, T, HD);
    if (c->family->norm[FL_NORM_AFTER_MLP]) d->dblock = take_floats(at, T, c->hidden_size);
    fl_attn_shape largest = {.S = d->limits.max_sequences,
                             .T = T,
                             .H = c->num_heads,
                             .KV = c->num_kv_heads,
                             .D = c->head_dim};
    d->attn_scratch = take_floats(at, d->ops->attention_bwd_scratch(&largest), 1);
}

static void layout_batch(cursor *at, fl_decoder *d)
{
    size_t T = (size_t)d->limits.max_tokens;
    d->ids = take(at, T, sizeof *d->ids);
    d->pos = take(at, T, sizeof *d->pos);
    d->cu = take(at, (size_t)d->limits.max_sequences + 1, sizeof *d->cu);
    d->loss_rows = take(at, T, sizeof *d->loss_rows);
    d->targets = take(at, T, sizeof *d->targets);
    d->weights = take(at, T, sizeof *d->weights);
}

static int64_t widest_input(const fl_model_config *c)
{
    int64_t widest = c->num_heads * c->head_dim;
    if (c->hidden_size > widest) widest = c->hidden_size;
    return c->intermediate_size > widest ? c->intermediate_size : widest;
}

size_t fl_decoder_layout(fl_decoder *d, char *base)
{
    const fl_model_config *c = &d->model->config;
    cursor at = {.base = base};
    int64_t T = d->limits.max_tokens, C = c->hidden_size;
    for (int64_t l = 0; l < c->num_layers; l++) {
        if (l == 0 || d->limits.backward)
            layout_layer(&at, d, l);
        else
            share_layer(&d->layers[l], &d->layers[0]);
    }
    d->x_out = take_floats(&at, T, C);
    d->norm = take_floats(&at, T, C);
    d->act = take_floats(&at, T, c->intermediate_size);
    if (d->lora.dropout > 0 && d->limits.backward)
        d->dropped = take_floats(&at, T, widest_input(c));
    if (d->limits.backward) layout_backward(&at, d);
    d->rows_x = take_floats(&at, FL_LOSS_CHUNK, C);
    d->rows_norm = take_floats(&at, FL_LOSS_CHUNK, C);
    d->rows_rstd = take_floats(&at, FL_LOSS_CHUNK, 1);
    d->rows_dx = take_floats(&at, FL_LOSS_CHUNK, C);
    d->logits = take_floats(&at, FL_LOSS_CHUNK, c->vocab_size);
    if (c->final_softcap > 0 && d->limits.backward)
        d->capped = take_floats(&at, FL_LOSS_CHUNK, c->vocab_size);
    d->rows_loss = take(&at, FL_LOSS_CHUNK, sizeof *d->rows_loss);
    layout_batch(&at, d);
    return at.used;
}
