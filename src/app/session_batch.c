/* All prompts, several at a time: when an answer is finished, the next prompt takes its place. */
#include "app/session.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BATCH = 256 };

typedef struct batch {
    fl_session *session;
    const fl_prompts *prompts;
    fl_answer *answers;      /* [count] */
    size_t owner[MAX_BATCH]; /* the answer that sequence s makes */
    size_t started;          /* answers that have been begun */
    size_t shown, printed;   /* answers that are printed; bytes of the next one */
    bool is_headed;          /* the next one's prompt stands above it */
    fl_buf text;
    fl_tokens tokens;
    int32_t *ids, *pos; /* packed prompts */
    size_t id_capacity, pos_capacity;
} batch;

/* ---- prompts -------------------------------------------------------------------------------- */

/* The template ends without the space that the first word brings; it is not part of the answer. */
static fl_status encode(batch *b, size_t i)
{
    const char *prompt = b->prompts->texts[i];
    size_t length = strlen(prompt);
    fl_buf_clear(&b->text);
    const fl_session *s = b->session;
    const bool adds_special = s->is_plain || fl_text_format_adds_special(&s->format);
    FL_TRY(s->is_plain ? fl_buf_add(&b->text, prompt, length)
                       : fl_text_format_prompt(&s->format, &b->text, prompt, length));
    FL_TRY(fl_tokenizer_encode(s->tokenizer, fl_buf_text(&b->text), b->text.length, adds_special,
                               &b->tokens));
    fl_answer *answer = &b->answers[i];
    answer->number = i;
    FL_TRY(fl_answer_add_ids(answer, b->tokens.ids, b->tokens.count));
    FL_CHECK(answer->count > 0, FL_ERR_INPUT, "prompt %zu has no tokens", i + 1);
    FL_CHECK((int64_t)answer->count < s->max_length, FL_ERR_INPUT,
             "prompt %zu has %zu tokens: there is no room for an answer within %lld", i + 1,
             answer->count, (long long)s->max_length);
    return fl_answer_begin(answer, s, !s->is_plain && fl_text_format_drops_space(&s->format));
}

/* *capacity = the longest that a prompt with its answer can become. */
static fl_status encode_all(batch *b, int64_t *capacity)
{
    *capacity = 0;
    for (size_t i = 0; i < b->prompts->count; i++) {
        FL_TRY(encode(b, i));
        int64_t longest = (int64_t)b->answers[i].count + b->answers[i].most_new;
        if (longest > *capacity) *capacity = longest;
    }
    return FL_OK;
}

/* ---- printing ------------------------------------------------------------------------------- */

static void print_plain(batch *b, const fl_answer *answer)
{
    bool has_heading = b->prompts->count > 1;
    if (has_heading && !b->is_headed) printf("> %s\n", b->prompts->texts[b->shown]);
    b->is_headed = true;
    fl_answer_show(answer, &b->printed);
    if (answer->finish) fputs(has_heading ? "\n\n" : "\n", stdout);
}

/* Answers come out in the order of the prompts: the first open one as it grows, the others when
 * their turn comes. */
static fl_status print_ready(batch *b)
{
    while (b->shown < b->started) {
        fl_answer *answer = &b->answers[b->shown];
        const char *prompt = b->prompts->texts[b->shown];
        if (!b->session->options->json)
            print_plain(b, answer);
        else if (answer->finish)
            FL_TRY(fl_answer_print_json(answer, prompt, strlen(prompt)));
        if (!answer->finish) return FL_OK;
        fl_answer_fini(answer);
        b->shown++;
        b->printed = 0;
        b->is_headed = false;
    }
    return fl_output_check();
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* Puts waiting prompts into the free places. */
static fl_status refill(batch *b, int64_t places)
{
    int32_t cu[MAX_BATCH + 1] = {0};
    fl_generator *g = b->session->generator;
    int64_t running = fl_generator_count(g);
    fl_tokens_view view = {.cu = cu};
    for (; running + view.S < places && b->started < b->prompts->count; view.S++) {
        const fl_answer *answer = &b->answers[b->started];
        size_t length = answer->prompt_length, T = (size_t)view.T;
        FL_TRY(fl_grow(&b->ids, &b->id_capacity, T + length, sizeof *b->ids));
        FL_TRY(fl_grow(&b->pos, &b->pos_capacity, T + length, sizeof *b->pos));
        memcpy(b->ids + T, answer->ids, length * sizeof *b->ids);
        for (size_t p = 0; p < length; p++)
            b->pos[T + p] = (int32_t)p;
        view.T += (int64_t)length;
        cu[view.S + 1] = (int32_t)view.T;
        b->owner[running + view.S] = b->started++;
    }
    view.ids = b->ids;
    view.pos = b->pos;
    return view.S ? fl_generator_add(g, &view) : FL_OK;
}

/* The next token of every sequence; those whose answer is finished leave. */
static fl_status choose_all(batch *b, int32_t *next)
{
    fl_generator *g = b->session->generator;
    /* from the last one down: whoever takes the place of a dropped one has had its turn */
    for (int64_t s = fl_generator_count(g); s-- > 0;) {
        fl_answer *answer = &b->answers[b->owner[s]];
        FL_TRY(fl_answer_choose(answer, b->session, s));
        if (!answer->finish) {
            next[s] = answer->ids[answer->count - 1];
            continue;
        }
        int64_t last = fl_generator_count(g) - 1;
        b->owner[s] = b->owner[last];
        next[s] = next[last];
        fl_generator_drop(g, s);
    }
    return FL_OK;
}

/* New prompts come in before a choice, so that every sequence has fresh logits then. */
static fl_status run(batch *b)
{
    int64_t capacity, places = b->session->options->batch_size;
    int32_t next[MAX_BATCH];
    FL_TRY(fl_alloc(&b->answers, b->prompts->count, sizeof *b->answers));
    FL_TRY(encode_all(b, &capacity));
    if (places > (int64_t)b->prompts->count) places = (int64_t)b->prompts->count;
    FL_TRY(fl_session_prepare(b->session, places, capacity));
    for (;;) {
        FL_TRY(refill(b, places));
        if (fl_generator_count(b->session->generator) == 0) return FL_OK;
        FL_TRY(choose_all(b, next));
        FL_TRY(print_ready(b));
        FL_TRY(fl_generator_step(b->session->generator, next));
    }
}

fl_status fl_session_answer_all(fl_session *session, const fl_prompts *prompts)
{
    batch b = {.session = session, .prompts = prompts};
    fl_status status = run(&b);
    for (size_t i = 0; b.answers && i < prompts->count; i++)
        fl_answer_fini(&b.answers[i]);
    fl_free(b.answers);
    fl_free(b.ids);
    fl_free(b.pos);
    fl_tokens_fini(&b.tokens);
    fl_buf_fini(&b.text);
    return status;
}
