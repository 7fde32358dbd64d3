#include "model/generate.h"

#include "model/decoder_internal.h"

struct fl_generator {
    fl_decoder *decoder;
    int64_t max_sequences, capacity;
    float *cache;                             /* [layer][k or v][S, capacity, KV, D] */
    int32_t *device_lengths;                  /* [S], the new token included */
    int32_t *device_next;                     /* [S] */
    void *block;                              /* backend memory of the three above */
    int32_t *ids, *pos, *cu, *lengths, *rows; /* host: [S], cu [S+1] */
    bool *done;                               /* [S] */
    fl_arena *arena;
};

static size_t cache_floats(const fl_generator *g)
{
    const fl_model_config *c = &g->decoder->model->config;
    return (size_t)(g->max_sequences * g->capacity * c->num_kv_heads * c->head_dim);
}

static float *cache_of(const fl_generator *g, int64_t layer, bool values)
{
    return g->cache + (size_t)(2 * layer + (values ? 1 : 0)) * cache_floats(g);
}

static fl_status prepare(fl_generator *g)
{
    size_t S = (size_t)g->max_sequences;
    size_t layers = (size_t)g->decoder->model->config.num_layers;
    FL_TRY(fl_arena_create(&g->arena));
    FL_TRY(fl_arena_alloc(g->arena, &g->ids, S, sizeof *g->ids));
    FL_TRY(fl_arena_alloc(g->arena, &g->pos, S, sizeof *g->pos));
    FL_TRY(fl_arena_alloc(g->arena, &g->cu, S + 1, sizeof *g->cu));
    FL_TRY(fl_arena_alloc(g->arena, &g->lengths, S, sizeof *g->lengths));
    FL_TRY(fl_arena_alloc(g->arena, &g->rows, S, sizeof *g->rows));
    FL_TRY(fl_arena_alloc(g->arena, &g->done, S, sizeof *g->done));
    size_t floats;
    FL_CHECK(fl_mul_size(2 * layers, cache_floats(g), &floats) && floats < SIZE_MAX / 8,
             FL_ERR_MEMORY, "the key/value cache is too large");
    FL_TRY(g->decoder->ops->alloc(&g->block, floats * sizeof(float) + 2 * S * sizeof(int32_t)));
    g->cache = g->block;
    g->device_lengths = (int32_t *)(g->cache + floats);
    g->device_next = g->device_lengths + S;
    return FL_OK;
}

fl_status fl_generator_create(fl_generator **out, fl_decoder *decoder, int64_t max_sequences,
                              int64_t capacity)
{
    FL_ASSERT(max_sequences >= 1 && max_sequences <= FL_LOSS_CHUNK &&
              max_sequences <= decoder->limits.max_sequences);
    fl_generator *g;
    FL_TRY(fl_alloc(&g, 1, sizeof *g));
    *g = (fl_generator){.decoder = decoder, .max_sequences = max_sequences, .capacity = capacity};
    fl_status status = prepare(g);
    if (status != FL_OK) {
        fl_generator_destroy(g);
        return status;
    }
    *out = g;
    return FL_OK;
}

void fl_generator_destroy(fl_generator *g)
{
    if (!g) return;
    g->decoder->ops->release(g->block);
    fl_arena_destroy(g->arena);
    fl_free(g);
}

/* Appends `count` rows of the layer's k and v to the cache of sequence s, from entry `at`. */
static void store(fl_generator *g, int64_t layer, int64_t s, int64_t at, int64_t row, int64_t count)
{
    const fl_decoder *d = g->decoder;
    int64_t KVD = d->model->config.num_kv_heads * d->model->config.head_dim;
    size_t to = (size_t)((s * g->capacity + at) * KVD), from = (size_t)(row * KVD);
    size_t bytes = (size_t)(count * KVD) * sizeof(float);
    d->ops->copy(cache_of(g, layer, false) + to, d->layers[layer].k + from, bytes);
    d->ops->copy(cache_of(g, layer, true) + to, d->layers[layer].v + from, bytes);
}

static void attend_prompt(fl_decoder *d, int64_t layer, void *context)
{
    fl_generator *g = context;
    fl_decoder_attend_packed(d, layer, NULL);
    for (int64_t s = 0; s < d->shape.S; s++)
        store(g, layer, s, 0, g->cu[s], g->lengths[s]);
}

static void attend_cache(fl_decoder *d, int64_t layer, void *context)
{
    fl_generator *g = context;
    const fl_attn_shape *shape = &d->shape;
    for (int64_t s = 0; s < shape->S; s++)
        store(g, layer, s, g->lengths[s] - 1, s, 1);
    fl_layer_state *state = &d->layers[layer];
    d->shape.window = fl_model_window(&d->model->config, layer);
    d->ops->attention_decode(state->att, state->q, cache_of(g, layer, false),
                             cache_of(g, layer, true), g->device_lengths, g->capacity, shape);
}

/* ids[s] = the most likely token after token rows[s] of the pass that just ran. */
static void choose_next(fl_generator *g, int64_t S)
{
    fl_decoder *d = g->decoder;
    d->ops->copy_in(d->loss_rows, g->rows, (size_t)S * sizeof *g->rows);
    fl_decoder_head(d, d->loss_rows, S);
    d->ops->argmax(g->device_next, d->logits, S, d->model->config.vocab_size);
    d->ops->copy_out(g->ids, g->device_next, (size_t)S * sizeof *g->ids);
}

static fl_status run_prompts(fl_generator *g, const fl_tokens_view *prompts, int64_t max_new)
{
    FL_CHECK(prompts->S <= g->max_sequences, FL_ERR_INTERNAL, "too many prompts at a time");
    for (int64_t s = 0; s < prompts->S; s++) {
        g->cu[s] = prompts->cu[s];
        g->lengths[s] = prompts->cu[s + 1] - prompts->cu[s];
        g->rows[s] = prompts->cu[s + 1] - 1;
        g->done[s] = false;
        FL_CHECK(g->lengths[s] >= 1 && g->lengths[s] + max_new <= g->capacity, FL_ERR_INTERNAL,
                 "a prompt of %d tokens and %lld new ones are outside the cache of %lld",
                 g->lengths[s], (long long)max_new, (long long)g->capacity);
    }
    FL_TRY(fl_decoder_load_tokens(g->decoder, prompts));
    fl_decoder_run_layers(g->decoder, attend_prompt, g);
    choose_next(g, prompts->S);
    return FL_OK;
}

/* One more token for every sequence: ids [S] go in, the next ids [S] come out. */
static fl_status run_step(fl_generator *g, int64_t S)
{
    for (int64_t s = 0; s < S; s++) {
        g->pos[s] = g->lengths[s]++;
        g->rows[s] = (int32_t)s;
        g->cu[s] = (int32_t)s;
    }
    g->cu[S] = (int32_t)S;
    fl_tokens_view step = {.ids = g->ids, .pos = g->pos, .cu = g->cu, .S = S, .T = S};
    FL_TRY(fl_decoder_load_tokens(g->decoder, &step));
    g->decoder->ops->copy_in(g->device_lengths, g->lengths, (size_t)S * sizeof *g->lengths);
    fl_decoder_run_layers(g->decoder, attend_cache, g);
    choose_next(g, S);
    return FL_OK;
}

/* Stores the chosen tokens of the sequences that go on; returns how many go on. */
static int64_t keep_tokens(fl_generator *g, int64_t S, int64_t max_new, int32_t eos, int32_t *out,
                           int64_t *counts)
{
    int64_t open = 0;
    for (int64_t s = 0; s < S; s++) {
        if (g->done[s]) continue;
        if (g->ids[s] == eos) {
            g->done[s] = true;
            continue;
        }
        out[s * max_new + counts[s]++] = g->ids[s];
        g->done[s] = counts[s] == max_new;
        open += !g->done[s];
    }
    return open;
}

fl_status fl_generate_greedy(fl_generator *g, const fl_tokens_view *prompts, int64_t max_new,
                             int32_t eos, int32_t *out, int64_t *counts)
{
    int64_t S = prompts->S;
    for (int64_t s = 0; s < S; s++)
        counts[s] = 0;
    if (S == 0 || max_new <= 0) return FL_OK;
    FL_TRY(run_prompts(g, prompts, max_new));
    while (keep_tokens(g, S, max_new, eos, out, counts) > 0)
        FL_TRY(run_step(g, S));
    return FL_OK;
}
