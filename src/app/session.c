/* Opening in one order, closing in the reverse; then the life of one answer. */
#include "app/session.h"

#include "base/log.h"
#include "data/chat_template.h"

#include <string.h>

/* Tokens that go through the model at once: enough for full speed, little memory. */
enum { PASS_TOKENS = 512 };

/* Without an adapter the decoder still wants a layout; no weights are set, so none are used. */
static fl_status open_adapter(fl_session *s)
{
    const char *dir = s->options->adapter;
    if (!dir[0]) {
        s->lora = (fl_lora_config){.r = 1, .alpha = 1};
        return FL_OK;
    }
    FL_TRY(fl_lora_load(&s->lora, &s->adapter, dir, &s->model->config));
    size_t bytes = s->adapter.count * sizeof(float);
    FL_TRY(s->model->ops->alloc(&s->live_adapter, bytes));
    s->model->ops->copy_in(s->live_adapter, s->adapter.data, bytes);
    return FL_OK;
}

/* What ends an answer besides the model's own tokens. */
static fl_status gather_stops(fl_session *s)
{
    const fl_generate_options *o = s->options;
    const fl_text_format *f = &s->format;
    FL_TRY(fl_alloc(&s->stops, o->num_stops + f->num_stops, sizeof *s->stops));
    for (size_t i = 0; i < o->num_stops; i++)
        s->stops[s->num_stops++] = o->stops[i];
    for (size_t i = 0; i < f->num_stops; i++)
        s->stops[s->num_stops++] = f->stops[i];
    return FL_OK;
}

static fl_status open_format(fl_session *s, const char *dir)
{
    const fl_generate_options *o = s->options;
    const char *name = o->template;
    s->is_plain = strcmp(name, "none") == 0;
    if (o->is_free && !fl_chat_template_exists(dir)) name = "vicuna";
    if (!s->is_plain) FL_TRY(fl_text_format_open(&s->format, name, &o->custom, s->tokenizer, dir));
    return gather_stops(s);
}

static fl_status settle(fl_session *s, const char *dir)
{
    const fl_generate_options *o = s->options;
    const fl_model_config *c = &s->model->config;
    FL_CHECK(fl_tokenizer_vocab_size(s->tokenizer) <= c->vocab_size, FL_ERR_INPUT,
             "%s: the tokenizer has %d tokens, the model only %lld", dir,
             fl_tokenizer_vocab_size(s->tokenizer), (long long)c->vocab_size);
    FL_CHECK(o->max_length <= c->max_positions, FL_ERR_USAGE,
             "max_length = %lld is more than the model's %lld positions", (long long)o->max_length,
             (long long)c->max_positions);
    s->max_length = o->max_length ? o->max_length : c->max_positions;
    s->sampling = (fl_sampling){.temperature = o->temperature,
                                .top_k = o->top_k,
                                .top_p = o->top_p,
                                .repetition_penalty = o->repetition_penalty,
                                .seed = (uint64_t)o->seed};
    FL_TRY(fl_eos_ids_load(&s->eos, dir));
    /* what training puts behind a response */
    fl_eos_ids_add(&s->eos, fl_tokenizer_special_id(s->tokenizer, FL_SPECIAL_EOS));
    return FL_OK;
}

fl_status fl_session_open(fl_session *s, const fl_generate_options *options, const char *model_dir)
{
    *s = (fl_session){.options = options};
    const fl_backend_ops *ops;
    FL_TRY(fl_backend_open(&ops, options->backend, 0));
    FL_TRY(fl_backend_set_compute(ops, options->compute_dtype));
    fl_backend_set_threads((int)options->threads);
    fl_format format;
    FL_TRY(fl_format_choose(&format, options->load_in_8bit, options->load_in_4bit));
    FL_TRY(fl_model_open_as(&s->model, model_dir, ops, 0, format, false));
    FL_TRY(fl_tokenizer_open(&s->tokenizer, model_dir));
    FL_TRY(open_format(s, model_dir));
    FL_TRY(settle(s, model_dir));
    return open_adapter(s);
}

void fl_session_close(fl_session *s)
{
    fl_sampler_destroy(s->sampler);
    fl_generator_destroy(s->generator);
    fl_decoder_destroy(s->decoder);
    if (s->model) s->model->ops->release(s->live_adapter);
    fl_params_fini(&s->adapter);
    fl_lora_fini(&s->lora);
    fl_free(s->stops);
    fl_text_format_fini(&s->format);
    fl_tokenizer_close(s->tokenizer);
    fl_model_close(s->model);
    *s = (fl_session){0};
}

static fl_decoder_limits limits_for(int64_t num_sequences)
{
    return (fl_decoder_limits){.max_tokens = PASS_TOKENS, .max_sequences = num_sequences};
}

fl_status fl_session_prepare(fl_session *s, int64_t num_sequences, int64_t capacity)
{
    fl_decoder_limits limits = limits_for(num_sequences);
    FL_TRY(fl_decoder_create(&s->decoder, s->model, &s->lora, &limits));
    fl_decoder_set_adapter(s->decoder, s->live_adapter);
    FL_TRY(fl_generator_create(&s->generator, s->decoder, num_sequences, capacity));
    /* without temperature and penalty the backend's own choice is enough */
    if (s->sampling.temperature == 0 && s->sampling.repetition_penalty == 1) return FL_OK;
    FL_TRY(fl_generator_keep_logits(s->generator));
    return fl_sampler_create(&s->sampler, s->model->config.vocab_size);
}

static double megabytes(size_t bytes)
{
    return (double)bytes / 1e6;
}

fl_status fl_session_describe(const fl_session *s, int64_t num_sequences, int64_t capacity)
{
    const fl_model_config *config = &s->model->config;
    fl_decoder_limits limits = limits_for(num_sequences);
    fl_decoder_plan plan;
    FL_TRY(fl_decoder_plan_for(&plan, config, s->model->ops, &s->lora, &limits));
    FL_INFO("model     %lld layers, %.2f M parameters, %.1f MB as stored",
            (long long)config->num_layers, (double)fl_model_parameter_count(s->model) / 1e6,
            megabytes(s->model->weight_bytes));
    if (s->live_adapter)
        FL_INFO("adapter   LoRA r %lld, alpha %g%s, %zu parameters", (long long)s->lora.r,
                s->lora.alpha, s->lora.sizes ? " and others by pattern" : "", s->adapter.count);
    FL_INFO(
        "memory    activations %.1f MB, key/value cache %.1f MB for %lld sequences of %lld tokens",
        megabytes(fl_decoder_plan_total(&plan)),
        megabytes(fl_generator_plan_bytes(config, s->model->ops, num_sequences, capacity)),
        (long long)num_sequences, (long long)capacity);
    return FL_OK;
}

/* ---- one answer ----------------------------------------------------------------------------- */

fl_status fl_answer_add_ids(fl_answer *a, const int32_t *ids, size_t count)
{
    FL_TRY(fl_grow(&a->ids, &a->capacity, a->count + count, sizeof *a->ids));
    memcpy(a->ids + a->count, ids, count * sizeof *ids);
    a->count += count;
    return FL_OK;
}

fl_status fl_answer_begin(fl_answer *a, const fl_session *session, bool drops_space)
{
    int64_t room = session->max_length - (int64_t)a->count;
    a->most_new = session->options->max_new_tokens;
    if (a->most_new > room) a->most_new = room;
    a->prompt_length = a->count;
    a->finish = NULL;
    a->stream.stops = session->stops;
    a->stream.num_stops = session->num_stops;
    return fl_text_stream_start(&a->stream, session->tokenizer, a->ids, a->count, drops_space);
}

/* The draw is keyed by the answer, not by its place in the batch. */
static fl_status next_token(const fl_answer *a, fl_session *session, int64_t s, int32_t *token)
{
    if (!session->sampler) {
        *token = fl_generator_greedy(session->generator, s);
        return FL_OK;
    }
    fl_draw draw = {.sequence = a->number, .position = a->count - a->prompt_length};
    return fl_sampler_next(session->sampler, &session->sampling,
                           fl_generator_logits(session->generator, s), a->ids, (int64_t)a->count,
                           draw, token);
}

fl_status fl_answer_choose(fl_answer *a, fl_session *session, int64_t s)
{
    int32_t token;
    FL_TRY(next_token(a, session, s, &token));
    if (fl_eos_ids_has(&session->eos, token) ||
        fl_text_format_end(&session->format, &token, 1) == 0) {
        a->finish = "stop";
    } else {
        FL_TRY(fl_answer_add_ids(a, &token, 1));
        FL_TRY(fl_text_stream_add(&a->stream, token));
        bool is_full = a->count - a->prompt_length == (size_t)a->most_new;
        a->finish = is_full ? "length" : NULL;
    }
    /* what waited for more tokens may hold a stop string, hence this order */
    if (a->finish) FL_TRY(fl_text_stream_finish(&a->stream));
    if (a->stream.is_stopped) a->finish = "stop";
    return FL_OK;
}

void fl_answer_fini(fl_answer *a)
{
    fl_free(a->ids);
    fl_text_stream_fini(&a->stream);
    *a = (fl_answer){0};
}
