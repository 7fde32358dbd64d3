/* What a pass reads beside the model: the batch, whose rows belong to which client, their adapters
 * and dropout. */
#include "model/decoder_internal.h"

#include <string.h>

int64_t fl_decoder_streams(const fl_decoder *d)
{
    return d->model->config.num_layers * FL_NUM_MODULES;
}

fl_status fl_decoder_open_clients(fl_decoder *d)
{
    size_t clients = (size_t)d->limits.max_clients, streams = (size_t)fl_decoder_streams(d);
    FL_TRY(fl_arena_alloc(d->arena, &d->host_first, clients + 1, sizeof *d->host_first));
    FL_TRY(fl_arena_alloc(d->arena, &d->host_factor, clients, sizeof *d->host_factor));
    if (d->streams)
        FL_TRY(
            fl_arena_alloc(d->arena, &d->host_streams, clients * streams, sizeof *d->host_streams));
    d->adapters = (fl_adapters){.first = d->client_first,
                                .host_first = d->host_first,
                                .factor = d->client_factor,
                                .host_factor = d->host_factor,
                                .dropout = d->lora.dropout,
                                .num_streams = fl_decoder_streams(d)};
    fl_decoder_set_adapter(d, NULL);
    return FL_OK;
}

/* ---- adapters ------------------------------------------------------------------------------- */

void fl_decoder_set_adapters(fl_decoder *d, const float *weights, size_t stride,
                             const double *factor, int64_t clients)
{
    FL_ASSERT(clients >= 1 && clients <= d->limits.max_clients);
    d->num_adapters = clients;
    d->adapters.weights = weights;
    d->adapters.stride = stride;
    for (int64_t c = 0; c < clients; c++)
        d->host_factor[c] = factor ? factor[c] : 1;
    d->ops->copy_in(d->client_factor, d->host_factor, (size_t)clients * sizeof *d->host_factor);
}

void fl_decoder_set_adapter(fl_decoder *d, const float *weights)
{
    fl_decoder_set_adapters(d, weights, 0, NULL, 1);
}

/* ---- the batch ------------------------------------------------------------------------------ */

/* Rows of a client are neighbours, and no sequence has rows of two. */
static fl_status check_clients(const fl_decoder *d, const fl_tokens_view *tokens)
{
    const int32_t *first = tokens->first;
    int64_t clients = tokens->clients, s = 0;
    FL_CHECK(clients >= 1 && clients <= d->num_adapters, FL_ERR_INTERNAL,
             "a batch of %lld clients with %lld adapters", (long long)clients,
             (long long)d->num_adapters);
    FL_CHECK(first[0] == 0 && first[clients] == tokens->T, FL_ERR_INTERNAL,
             "rows of a batch belong to no client");
    for (int64_t c = 1; c <= clients; c++) {
        FL_CHECK(first[c - 1] <= first[c], FL_ERR_INTERNAL, "rows of clients do not ascend");
        while (s < tokens->S && tokens->cu[s] < first[c])
            s++;
        FL_CHECK(tokens->cu[s] == first[c], FL_ERR_INTERNAL, "a sequence crosses clients");
    }
    return FL_OK;
}

static fl_status load_clients(fl_decoder *d, const fl_tokens_view *tokens)
{
    const int32_t whole[] = {0, (int32_t)tokens->T}, *first = tokens->first ? tokens->first : whole;
    int64_t clients = tokens->first ? tokens->clients : 1;
    size_t bytes = ((size_t)clients + 1) * sizeof *first;
    if (tokens->first) FL_TRY(check_clients(d, tokens));
    memcpy(d->host_first, first, bytes);
    d->ops->copy_in(d->client_first, first, bytes);
    d->adapters.clients = clients;
    d->adapters.streams = NULL;
    return FL_OK;
}

/* What continues a sequence of its client follows it directly, and nothing continues that. */
static fl_status check_prefixes(const fl_decoder *d, const fl_tokens_view *tokens)
{
    FL_CHECK(d->ops->shares_prefixes, FL_ERR_INTERNAL, "backend %s shares no prefixes",
             d->ops->name);
    for (int64_t s = 0, last = -1, client = 0; s < tokens->S; s++) {
        int64_t prefix = tokens->prefix[s];
        while (client < d->adapters.clients && tokens->cu[s] >= d->host_first[client]) {
            client++;
            last = -1;
        }
        if (prefix == -1)
            last = s;
        else
            FL_CHECK(last >= 0 && prefix == last, FL_ERR_INTERNAL,
                     "sequence %lld cannot continue sequence %lld", (long long)s,
                     (long long)prefix);
    }
    return FL_OK;
}

static fl_status check_ids(const fl_decoder *d, const fl_tokens_view *tokens)
{
    const fl_model_config *c = &d->model->config;
    for (int64_t t = 0; t < tokens->T; t++) {
        FL_CHECK(tokens->ids[t] >= 0 && tokens->ids[t] < c->vocab_size, FL_ERR_INPUT,
                 "token id %d is outside the model's vocabulary of %lld", tokens->ids[t],
                 (long long)c->vocab_size);
        FL_CHECK(tokens->pos[t] >= 0 && tokens->pos[t] < d->model->positions, FL_ERR_INPUT,
                 "position %d is outside the model's %lld positions", tokens->pos[t],
                 (long long)d->model->positions);
    }
    return FL_OK;
}

fl_status fl_decoder_load_tokens(fl_decoder *d, const fl_tokens_view *tokens)
{
    const fl_model_config *c = &d->model->config;
    FL_CHECK(tokens->T >= 1 && tokens->T <= d->limits.max_tokens &&
                 tokens->S <= d->limits.max_sequences,
             FL_ERR_INTERNAL, "a batch of %lld tokens in %lld sequences is outside the plan",
             (long long)tokens->T, (long long)tokens->S);
    FL_TRY(check_ids(d, tokens));
    size_t T = (size_t)tokens->T;
    FL_TRY(load_clients(d, tokens));
    d->ops->copy_in(d->ids, tokens->ids, T * sizeof *d->ids);
    d->ops->copy_in(d->pos, tokens->pos, T * sizeof *d->pos);
    d->ops->copy_in(d->cu, tokens->cu, ((size_t)tokens->S + 1) * sizeof *d->cu);
    if (tokens->prefix) {
        FL_TRY(check_prefixes(d, tokens));
        d->ops->copy_in(d->prefix, tokens->prefix, (size_t)tokens->S * sizeof *d->prefix);
    }
    d->shape = (fl_attn_shape){.cu = d->cu,
                               .prefix = tokens->prefix ? d->prefix : NULL,
                               .S = tokens->S,
                               .T = tokens->T,
                               .H = c->num_heads,
                               .KV = c->num_kv_heads,
                               .D = c->head_dim,
                               .scale = c->attn_scale,
                               .softcap = c->attn_softcap};
    return FL_OK;
}

fl_status fl_decoder_load_targets(fl_decoder *d, const fl_targets_view *targets)
{
    size_t N = (size_t)targets->N;
    FL_CHECK(targets->N <= d->shape.T, FL_ERR_INTERNAL, "more targets than tokens");
    for (size_t n = 0; n < N; n++)
        FL_CHECK(targets->rows[n] >= 0 && targets->rows[n] < d->shape.T &&
                     targets->targets[n] >= 0 && targets->targets[n] < d->model->config.vocab_size,
                 FL_ERR_INPUT, "target %d at row %d is outside the batch or the vocabulary",
                 targets->targets[n], targets->rows[n]);
    for (size_t n = 1; n < N; n++)
        FL_CHECK(targets->rows[n - 1] < targets->rows[n], FL_ERR_INTERNAL,
                 "rows of targets do not ascend");
    d->ops->copy_in(d->loss_rows, targets->rows, N * sizeof *d->loss_rows);
    d->ops->copy_in(d->targets, targets->targets, N * sizeof *d->targets);
    if (targets->weights) d->ops->copy_in(d->weights, targets->weights, N * sizeof *d->weights);
    return FL_OK;
}

void fl_decoder_set_dropout(fl_decoder *d, const fl_dropout_keys *keys)
{
    int64_t clients = d->adapters.clients, count = fl_decoder_streams(d);
    d->adapters.streams = keys && d->streams ? d->streams : NULL;
    if (!d->adapters.streams) return;
    for (int64_t c = 0; c < clients; c++, keys++)
        for (int64_t i = 0; i < count; i++)
            d->host_streams[c * count + i] = fl_rng_make(
                keys->seed, FL_PURPOSE_DROPOUT, keys->round, keys->client, keys->step, (uint64_t)i);
    d->ops->copy_in(d->streams, d->host_streams, (size_t)(clients * count) * sizeof *d->streams);
}

/* ---- filling up ----------------------------------------------------------------------------- */

/* to[begin .. end) of backend memory = value */
static void fill(const fl_decoder *d, int32_t *to, int64_t begin, int64_t end, int32_t value)
{
    int32_t piece[FL_LOSS_CHUNK];
    for (int64_t i = 0; i < FL_LOSS_CHUNK; i++)
        piece[i] = value;
    for (int64_t at = begin, n; at < end; at += n) {
        n = end - at < FL_LOSS_CHUNK ? end - at : FL_LOSS_CHUNK;
        d->ops->copy_in(to + at, piece, (size_t)n * sizeof *piece);
    }
}

void fl_decoder_fill_up(fl_decoder *d, const fl_targets_view *targets)
{
    int64_t T = d->shape.T, S = d->shape.S, N = targets->N;
    d->asked_targets = d->num_targets = N;
    if (!d->ops->replay) return;
    int64_t rows = fl_decoder_rows(d->ops, T), sequences = d->limits.max_sequences + 1;
    fill(d, d->ids, T, rows, 0);
    fill(d, d->pos, T, rows, 0);
    fill(d, d->cu, S + 1, sequences + 1, (int32_t)rows);
    if (d->shape.prefix) fill(d, d->prefix, S, sequences, -1);
    d->num_targets = (N + FL_LOSS_CHUNK - 1) / FL_LOSS_CHUNK * FL_LOSS_CHUNK;
    fill(d, d->loss_rows, N, d->num_targets, (int32_t)rows - 1);
    fill(d, d->targets, N, d->num_targets, 0);
    d->ops->zero(d->weights + N, (size_t)(d->num_targets - N) * sizeof *d->weights);
    d->shape.T = rows;
    d->shape.S = sequences;
}
