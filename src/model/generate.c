/* A pass of the decoder reads and writes the cache through one of three forms of attention:
 *
 *   attend_prompts  new sequences, packed: they attend to themselves, then go into the cache
 *   attend_step     one token for each of all sequences
 *   attend_piece    several tokens behind what one sequence has in the cache
 *
 * Which form a token meets depends on its own sequence and the decoder's max_tokens only, never on
 * its neighbours; with row-wise deterministic ops that makes answers independent of the batch. */
#include "model/generate.h"

#include "model/decoder_internal.h"

#include <string.h>

struct fl_generator {
    fl_decoder *decoder;
    int64_t max_sequences, capacity, count;
    char *cache;             /* [layer][k or v][S, capacity, KV, D], in the type of activations */
    int32_t *device_lengths; /* [T] entries of the cache that token t sees */
    int32_t *device_next;    /* [S] */
    void *block;             /* backend memory of the three above */
    int32_t *pos, *visible;  /* host [T] */
    int32_t *cu, *rows;      /* host [S+1] [S] */
    int32_t *lengths, *next; /* host [S] tokens in the cache; the most likely token */
    float *logits;           /* host [S, V]; NULL unless kept */
    int64_t first;           /* sequence that the running pass begins with */
    fl_arena *arena;
};

/* ---- the cache ------------------------------------------------------------------------------ */

size_t fl_generator_plan_bytes(const fl_model_config *config, const fl_backend_ops *ops,
                               int64_t max_sequences, int64_t capacity)
{
    return 2 * (size_t)config->num_layers * (size_t)(max_sequences * capacity) *
           (size_t)(config->num_kv_heads * config->head_dim) * fl_dtype_size(ops->act_dtype());
}

/* [capacity, KV*D], the cache of sequence s. */
static fl_act cache_of(const fl_generator *g, int64_t layer, bool values, int64_t s)
{
    const fl_model_config *c = &g->decoder->model->config;
    fl_act cache = {.data = g->cache,
                    .dtype = g->decoder->ops->act_dtype(),
                    .stride = c->num_kv_heads * c->head_dim};
    return fl_act_from(cache, ((2 * layer + values) * g->max_sequences + s) * g->capacity, 0);
}

/* Puts `count` rows of the layer's k and v into the cache of sequence s, from entry `at` on. */
static void store(fl_generator *g, int64_t layer, int64_t s, int64_t at, int64_t row, int64_t count)
{
    const fl_decoder *d = g->decoder;
    const fl_layer_state *state = &d->layers[layer];
    int64_t KVD = d->model->config.num_kv_heads * d->model->config.head_dim;
    d->ops->copy_rows(fl_act_from(cache_of(g, layer, false, s), at, 0),
                      fl_act_from(state->k, row, 0), count, KVD);
    d->ops->copy_rows(fl_act_from(cache_of(g, layer, true, s), at, 0),
                      fl_act_from(state->v, row, 0), count, KVD);
}

/* Only the entries that are there; the rest of a place is old data that no length reaches. */
static void move_cache(fl_generator *g, int64_t from, int64_t to)
{
    const fl_model_config *c = &g->decoder->model->config;
    for (int64_t l = 0; l < c->num_layers; l++)
        for (int values = 0; values < 2; values++)
            g->decoder->ops->copy_rows(cache_of(g, l, values, to), cache_of(g, l, values, from),
                                       g->lengths[from], c->num_kv_heads * c->head_dim);
}

/* ---- life ----------------------------------------------------------------------------------- */

enum { ALIGNMENT = 64 };

static fl_status allocate_cache(fl_generator *g, size_t T)
{
    const fl_model_config *c = &g->decoder->model->config;
    size_t S = (size_t)g->max_sequences, elements = 2 * S, integers = T + S;
    size_t size = fl_dtype_size(g->decoder->ops->act_dtype());
    const int64_t factors[] = {c->num_layers, g->capacity, c->num_kv_heads, c->head_dim};
    bool fits = true;
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        fits = fits && fl_mul_size(elements, (size_t)factors[i], &elements);
    FL_CHECK(fits && elements < SIZE_MAX / 8 - integers, FL_ERR_MEMORY,
             "the key/value cache is too large");
    size_t cache = (elements * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    FL_TRY(g->decoder->ops->alloc(&g->block, cache + integers * sizeof(int32_t)));
    g->cache = g->block;
    g->device_lengths = (int32_t *)(void *)(g->cache + cache);
    g->device_next = g->device_lengths + T;
    return FL_OK;
}

static fl_status prepare(fl_generator *g)
{
    size_t S = (size_t)g->max_sequences, T = (size_t)g->decoder->limits.max_tokens;
    FL_TRY(fl_arena_create(&g->arena));
    FL_TRY(fl_arena_alloc(g->arena, &g->pos, T, sizeof *g->pos));
    FL_TRY(fl_arena_alloc(g->arena, &g->visible, T, sizeof *g->visible));
    FL_TRY(fl_arena_alloc(g->arena, &g->cu, S + 1, sizeof *g->cu));
    FL_TRY(fl_arena_alloc(g->arena, &g->rows, S, sizeof *g->rows));
    FL_TRY(fl_arena_alloc(g->arena, &g->lengths, S, sizeof *g->lengths));
    FL_TRY(fl_arena_alloc(g->arena, &g->next, S, sizeof *g->next));
    return allocate_cache(g, T);
}

fl_status fl_generator_create(fl_generator **out, fl_decoder *decoder, int64_t max_sequences,
                              int64_t capacity)
{
    FL_ASSERT(max_sequences >= 1 && max_sequences <= FL_LOSS_CHUNK &&
              max_sequences <= decoder->limits.max_sequences &&
              max_sequences <= decoder->limits.max_tokens);
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

fl_status fl_generator_keep_logits(fl_generator *g)
{
    size_t count, V = (size_t)g->decoder->model->config.vocab_size;
    FL_CHECK(fl_mul_size((size_t)g->max_sequences, V, &count), FL_ERR_MEMORY,
             "the logits are too large");
    return fl_arena_alloc(g->arena, &g->logits, count, sizeof *g->logits);
}

void fl_generator_reset(fl_generator *g)
{
    g->count = 0;
}

int64_t fl_generator_count(const fl_generator *g)
{
    return g->count;
}

int64_t fl_generator_length(const fl_generator *g, int64_t s)
{
    return g->lengths[s];
}

int32_t fl_generator_greedy(const fl_generator *g, int64_t s)
{
    return g->next[s];
}

const float *fl_generator_logits(const fl_generator *g, int64_t s)
{
    FL_ASSERT(g->logits && s < g->count);
    return g->logits + s * g->decoder->model->config.vocab_size;
}

void fl_generator_rewind(fl_generator *g, int64_t s, int64_t length)
{
    FL_ASSERT(length >= 0 && length <= g->lengths[s]);
    g->lengths[s] = (int32_t)length;
}

void fl_generator_drop(fl_generator *g, int64_t s)
{
    FL_ASSERT(s < g->count);
    int64_t last = --g->count;
    if (s == last) return;
    move_cache(g, last, s);
    g->lengths[s] = g->lengths[last];
    g->next[s] = g->next[last];
    int64_t V = g->decoder->model->config.vocab_size;
    if (g->logits) memcpy(g->logits + s * V, g->logits + last * V, (size_t)V * sizeof(float));
}

/* ---- passes --------------------------------------------------------------------------------- */

static void attend_prompts(fl_decoder *d, int64_t layer, void *context)
{
    fl_generator *g = context;
    fl_decoder_attend_packed(d, layer, NULL);
    for (int64_t s = 0; s < d->shape.S; s++)
        store(g, layer, g->first + s, 0, g->cu[s], g->cu[s + 1] - g->cu[s]);
}

static void attend_step(fl_decoder *d, int64_t layer, void *context)
{
    fl_generator *g = context;
    const fl_attn_shape *shape = &d->shape;
    for (int64_t s = 0; s < shape->S; s++)
        store(g, layer, s, g->pos[s], s, 1);
    fl_layer_state *state = &d->layers[layer];
    d->shape.window = fl_model_window(&d->model->config, layer);
    d->ops->attention_decode(state->att, state->q, cache_of(g, layer, false, 0),
                             cache_of(g, layer, true, 0), g->device_lengths, g->capacity, shape);
}

/* The tokens share one cache, so each is a call of its own, seeing the entries up to itself. */
static void attend_piece(fl_decoder *d, int64_t layer, void *context)
{
    fl_generator *g = context;
    fl_attn_shape shape = d->shape;
    fl_layer_state *state = &d->layers[layer];
    store(g, layer, g->first, g->pos[0], 0, shape.T);
    shape.S = 1;
    shape.window = fl_model_window(&d->model->config, layer);
    for (int64_t t = 0; t < shape.T; t++)
        d->ops->attention_decode(fl_act_from(state->att, t, 0), fl_act_from(state->q, t, 0),
                                 cache_of(g, layer, false, g->first),
                                 cache_of(g, layer, true, g->first), g->device_lengths + t,
                                 g->capacity, &shape);
}

/* Runs ids[T] as sequences first .. first + S - 1; g->cu, pos and visible are set. */
static fl_status run_pass(fl_generator *g, const int32_t *ids, int64_t S, fl_attend *attend)
{
    fl_decoder *d = g->decoder;
    fl_tokens_view view = {.ids = ids, .pos = g->pos, .cu = g->cu, .S = S, .T = g->cu[S]};
    FL_TRY(fl_decoder_load_tokens(d, &view));
    d->ops->copy_in(g->device_lengths, g->visible, (size_t)view.T * sizeof *g->visible);
    fl_decoder_run_layers(d, attend, g);
    return FL_OK;
}

/* Logits after the last token of each of the S sequences of the pass that just ran. */
static fl_status finish_pass(fl_generator *g, int64_t S)
{
    fl_decoder *d = g->decoder;
    size_t V = (size_t)d->model->config.vocab_size;
    for (int64_t s = 0; s < S; s++)
        g->rows[s] = g->cu[s + 1] - 1;
    d->ops->copy_in(d->loss_rows, g->rows, (size_t)S * sizeof *g->rows);
    fl_decoder_head(d, d->loss_rows, S);
    d->ops->argmax(g->device_next, d->logits, S, (int64_t)V);
    d->ops->copy_out(g->next + g->first, g->device_next, (size_t)S * sizeof *g->next);
    if (g->logits)
        d->ops->copy_out(g->logits + (size_t)g->first * V, d->logits,
                         (size_t)S * V * sizeof(float));
    return d->ops->status();
}

static fl_status check_room(const fl_generator *g, int64_t length, int64_t n)
{
    FL_CHECK(n >= 1 && length + n <= g->capacity, FL_ERR_INTERNAL,
             "%lld tokens behind %lld are outside the cache of %lld", (long long)n,
             (long long)length, (long long)g->capacity);
    return FL_OK;
}

/* One piece of at most max_tokens tokens for sequence s. */
static fl_status run_piece(fl_generator *g, int64_t s, const int32_t *ids, int64_t n)
{
    int32_t at = g->lengths[s];
    for (int32_t t = 0; t < n; t++) {
        g->pos[t] = at + t;
        g->visible[t] = at + t + 1;
    }
    g->cu[0] = 0;
    g->cu[1] = (int32_t)n;
    g->first = s;
    FL_TRY(run_pass(g, ids, 1, at ? attend_piece : attend_prompts));
    g->lengths[s] = at + (int32_t)n;
    return FL_OK;
}

/* Pieces before the last one need no logits. */
fl_status fl_generator_extend(fl_generator *g, int64_t s, const int32_t *ids, int64_t n)
{
    FL_ASSERT(s < g->count);
    FL_TRY(check_room(g, g->lengths[s], n));
    int64_t most = g->decoder->limits.max_tokens;
    for (int64_t done = 0; done < n; done += most)
        FL_TRY(run_piece(g, s, ids + done, n - done < most ? n - done : most));
    return finish_pass(g, 1);
}

/* Prompts begin .. end-1 in one pass; they fit into it together. */
static fl_status add_packed(fl_generator *g, const fl_tokens_view *prompts, int64_t begin,
                            int64_t end)
{
    int32_t start = prompts->cu[begin], S = (int32_t)(end - begin);
    g->first = g->count;
    for (int32_t s = 0; s < S; s++) {
        int32_t length = prompts->cu[begin + s + 1] - prompts->cu[begin + s];
        g->cu[s] = prompts->cu[begin + s] - start;
        for (int32_t p = 0; p < length; p++) {
            g->pos[g->cu[s] + p] = p;
            g->visible[g->cu[s] + p] = p + 1;
        }
        g->lengths[g->first + s] = length;
    }
    g->cu[S] = prompts->cu[end] - start;
    FL_TRY(run_pass(g, prompts->ids + start, S, attend_prompts));
    FL_TRY(finish_pass(g, S));
    g->count += S;
    return FL_OK;
}

/* As many prompts in one pass as fit, in their order. */
fl_status fl_generator_add(fl_generator *g, const fl_tokens_view *prompts)
{
    const int32_t *cu = prompts->cu;
    int64_t most = g->decoder->limits.max_tokens, S = prompts->S;
    FL_CHECK(g->count + S <= g->max_sequences, FL_ERR_INTERNAL, "too many prompts at a time");
    for (int64_t s = 0; s < S; s++)
        FL_TRY(check_room(g, 0, cu[s + 1] - cu[s]));
    for (int64_t begin = 0, end; begin < S; begin = end) {
        for (end = begin; end < S && cu[end + 1] - cu[begin] <= most;)
            end++;
        if (end > begin) {
            FL_TRY(add_packed(g, prompts, begin, end));
            continue;
        }
        end = begin + 1; /* longer than a pass */
        g->lengths[g->count++] = 0;
        FL_TRY(fl_generator_extend(g, g->count - 1, prompts->ids + cu[begin], cu[end] - cu[begin]));
    }
    return FL_OK;
}

/* All sequences are neighbours in the cache (drop sees to that), so attention is one call. */
fl_status fl_generator_step(fl_generator *g, const int32_t *next)
{
    int64_t S = g->count;
    if (S == 0) return FL_OK;
    for (int32_t s = 0; s < S; s++) {
        FL_TRY(check_room(g, g->lengths[s], 1));
        g->pos[s] = g->lengths[s];
        g->visible[s] = g->lengths[s] + 1;
        g->cu[s] = s;
    }
    g->cu[S] = (int32_t)S;
    g->first = 0;
    FL_TRY(run_pass(g, next, S, attend_step));
    FL_TRY(finish_pass(g, S));
    for (int64_t s = 0; s < S; s++)
        g->lengths[s]++;
    return FL_OK;
}

/* ---- greedy --------------------------------------------------------------------------------- */

/* Stores the chosen tokens and drops what is finished.  owner[s]: the prompt of sequence s. */
static void keep_tokens(fl_generator *g, int64_t max_new, int32_t eos, int32_t *owner, int32_t *out,
                        int64_t *counts)
{
    for (int64_t s = g->count; s-- > 0;) {
        int64_t prompt = owner[s];
        bool ends = g->next[s] == eos;
        if (!ends) out[prompt * max_new + counts[prompt]++] = g->next[s];
        if (!ends && counts[prompt] < max_new) continue;
        owner[s] = owner[g->count - 1];
        fl_generator_drop(g, s);
    }
}

fl_status fl_generate_greedy(fl_generator *g, const fl_tokens_view *prompts, int64_t max_new,
                             int32_t eos, int32_t *out, int64_t *counts)
{
    int32_t owner[FL_LOSS_CHUNK], next[FL_LOSS_CHUNK];
    FL_CHECK(prompts->S <= g->max_sequences, FL_ERR_INTERNAL, "too many prompts at a time");
    for (int32_t s = 0; s < prompts->S; s++) {
        owner[s] = s;
        counts[s] = 0;
        if (max_new > 0) FL_TRY(check_room(g, prompts->cu[s + 1] - prompts->cu[s], max_new));
    }
    fl_generator_reset(g);
    if (max_new <= 0) return FL_OK;
    FL_TRY(fl_generator_add(g, prompts));
    for (;;) {
        keep_tokens(g, max_new, eos, owner, out, counts);
        if (g->count == 0) return FL_OK;
        memcpy(next, g->next, (size_t)g->count * sizeof *next);
        FL_TRY(fl_generator_step(g, next));
    }
}
