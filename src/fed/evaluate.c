#include "fed/evaluate.h"

#include "fed/agree.h"
#include "fed/placement.h"

#include <string.h>

struct fl_evaluator {
    const fl_eval_set *set;
    const fl_eval_config *config;
    const fl_tokenizer *tokenizer;
    fl_transport *transport;
    fl_generator *generator;  /* NULL on a rank that hosts no client */
    size_t batch;             /* prompts at a time */
    size_t per_rank;          /* answers a rank can have */
    fl_eval_answer *mine;     /* [per_rank] */
    fl_eval_answer *gathered; /* [size * per_rank] rank 0 */
    fl_eval_answer *answers;  /* [count] rank 0, by item */
    int32_t *ids, *pos, *cu;  /* packed prompts */
    int32_t *out;             /* [batch, max_new_tokens] */
    int64_t *counts;          /* [batch] */
    fl_buf text;
    fl_arena *arena;
};

static fl_status allocate(fl_evaluator *e)
{
    size_t count = e->set->count, size = (size_t)fl_transport_size(e->transport);
    size_t tokens = e->batch * (size_t)e->set->longest_prompt;
    size_t root = fl_transport_rank(e->transport) == 0;
    FL_TRY(fl_arena_create(&e->arena));
    FL_TRY(fl_arena_alloc(e->arena, &e->mine, e->per_rank, sizeof *e->mine));
    FL_TRY(fl_arena_alloc(e->arena, &e->gathered, root * size * e->per_rank, sizeof *e->gathered));
    FL_TRY(fl_arena_alloc(e->arena, &e->answers, root * count, sizeof *e->answers));
    FL_TRY(fl_arena_alloc(e->arena, &e->ids, tokens, sizeof *e->ids));
    FL_TRY(fl_arena_alloc(e->arena, &e->pos, tokens, sizeof *e->pos));
    FL_TRY(fl_arena_alloc(e->arena, &e->cu, e->batch + 1, sizeof *e->cu));
    FL_TRY(fl_arena_alloc(e->arena, &e->out, e->batch * (size_t)e->config->max_new_tokens,
                          sizeof *e->out));
    return fl_arena_alloc(e->arena, &e->counts, e->batch, sizeof *e->counts);
}

fl_status fl_evaluator_create(fl_evaluator **out, const fl_eval_set *set,
                              const fl_eval_config *config, const fl_tokenizer *tokenizer,
                              fl_transport *transport, fl_decoder *decoder)
{
    fl_evaluator *e;
    FL_TRY(fl_alloc(&e, 1, sizeof *e));
    size_t hosts = (size_t)fl_placement_hosts(fl_transport_size(transport));
    *e = (fl_evaluator){.set = set,
                        .config = config,
                        .tokenizer = tokenizer,
                        .transport = transport,
                        .batch = (size_t)config->eval_batch,
                        .per_rank = (set->count + hosts - 1) / hosts};
    fl_status status = allocate(e);
    if (status == FL_OK && decoder && set->count)
        status = fl_generator_create(&e->generator, decoder, config->eval_batch,
                                     set->longest_prompt + config->max_new_tokens);
    if (status != FL_OK) {
        fl_evaluator_destroy(e);
        return status;
    }
    *out = e;
    return FL_OK;
}

void fl_evaluator_destroy(fl_evaluator *e)
{
    if (!e) return;
    fl_generator_destroy(e->generator);
    fl_buf_fini(&e->text);
    fl_arena_destroy(e->arena);
    fl_free(e);
}

static fl_eval_answer judge(const fl_eval_set *set, size_t item, fl_buf *decoded)
{
    size_t length = fl_text_format_cut(set->format, fl_buf_text(decoded), decoded->length);
    const char *text = fl_trim(fl_buf_text(decoded), &length),
               *expected = set->items[item].expected;
    fl_eval_answer answer = {.item = (int32_t)item};
    answer.correct = length == strlen(expected) && memcmp(text, expected, length) == 0;
    if (length >= FL_ANSWER_SIZE) { /* cut at a character, not inside one */
        length = FL_ANSWER_SIZE - 1;
        while (length && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(answer.text, text, length);
    return answer;
}

static fl_tokens_view pack_prompts(fl_evaluator *e, const size_t *items, size_t count)
{
    int32_t T = 0;
    for (size_t s = 0; s < count; s++) {
        const fl_eval_item *item = &e->set->items[items[s]];
        e->cu[s] = T;
        for (int32_t p = 0; p < item->prompt_length; p++, T++) {
            e->ids[T] = item->prompt[p];
            e->pos[T] = p;
        }
    }
    e->cu[count] = T;
    return (fl_tokens_view){.ids = e->ids, .pos = e->pos, .cu = e->cu, .S = (int64_t)count, .T = T};
}

static fl_status answer_batch(fl_evaluator *e, const size_t *items, size_t count,
                              fl_eval_answer *answers)
{
    int64_t max_new = e->config->max_new_tokens;
    fl_tokens_view prompts = pack_prompts(e, items, count);
    FL_TRY(fl_generate_greedy(e->generator, &prompts, max_new,
                              fl_tokenizer_special_id(e->tokenizer, FL_SPECIAL_EOS), e->out,
                              e->counts));
    for (size_t s = 0; s < count; s++) {
        fl_buf_clear(&e->text);
        const int32_t *ids = e->out + (int64_t)s * max_new;
        const size_t end = fl_text_format_end(e->set->format, ids, (size_t)e->counts[s]);
        FL_TRY(fl_tokenizer_decode(e->tokenizer, ids, end, true, &e->text));
        answers[s] = judge(e->set, items[s], &e->text);
    }
    return FL_OK;
}

/* Items host, host + hosts, host + 2 hosts ... */
static fl_status answer_mine(fl_evaluator *e)
{
    for (size_t i = 0; i < e->per_rank; i++)
        e->mine[i].item = -1;
    if (!e->generator) return FL_OK;
    int size = fl_transport_size(e->transport), rank = fl_transport_rank(e->transport);
    size_t hosts = (size_t)fl_placement_hosts(size), next = (size_t)(size > 1 ? rank - 1 : 0);
    size_t items[256], done = 0;
    while (next < e->set->count) {
        size_t count = 0;
        for (; next < e->set->count && count < e->batch; next += hosts)
            items[count++] = next;
        FL_TRY(answer_batch(e, items, count, e->mine + done));
        done += count;
    }
    return FL_OK;
}

fl_status fl_evaluate(fl_evaluator *e, const fl_eval_answer **answers)
{
    *answers = NULL;
    if (e->set->count == 0) return FL_OK;
    FL_TRY(fl_agree(e->transport, answer_mine(e)));
    FL_TRY(
        fl_transport_gather(e->transport, 0, e->mine, e->per_rank * sizeof *e->mine, e->gathered));
    if (fl_transport_rank(e->transport) != 0) return FL_OK;
    size_t total = e->per_rank * (size_t)fl_transport_size(e->transport);
    for (size_t i = 0; i < total; i++)
        if (e->gathered[i].item >= 0) e->answers[e->gathered[i].item] = e->gathered[i];
    *answers = e->answers;
    return FL_OK;
}
