/* A conversation: every turn writes the whole of it as text and tokens, as training does, and puts
 * through the model what the cache does not hold yet. */
#include "app/session.h"
#include "data/conversation.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct chat {
    fl_session *session;
    const fl_conversation *format;
    fl_turn *turns; /* [num_turns], texts in the arena */
    size_t num_turns, turn_capacity;
    fl_arena *arena;
    fl_answer answer; /* ids hold the whole conversation */
    uint64_t num_answers;
    fl_buf line, text;
    fl_tokens tokens;
} chat;

/* The cache keeps its memory. */
static fl_status forget(chat *c)
{
    c->num_turns = 0;
    c->answer.count = 0;
    fl_generator_reset(c->session->generator);
    fl_arena_destroy(c->arena);
    c->arena = NULL;
    return fl_arena_create(&c->arena);
}

static fl_status add_turn(chat *c, fl_role role, const char *text, size_t length)
{
    char *copy;
    FL_TRY(fl_arena_text(c->arena, &copy, text, length));
    FL_TRY(fl_grow(&c->turns, &c->turn_capacity, c->num_turns + 1, sizeof *c->turns));
    c->turns[c->num_turns++] = (fl_turn){.role = role, .text = copy, .length = length};
    return FL_OK;
}

/* c->tokens = the conversation up to where the next answer begins. */
static fl_status encode(chat *c)
{
    fl_buf_clear(&c->text);
    FL_TRY(fl_conversation_render(&c->text, c->format, c->turns, c->num_turns, true, NULL));
    return fl_tokenizer_encode(c->session->tokenizer, fl_buf_text(&c->text), c->text.length,
                               !c->format->has_bos, &c->tokens);
}

/* How many tokens in front are in the cache.  An answer may come back from its text as other
 * tokens, a stop string may have cut it, and its last token was never put through the model. */
static size_t count_seen(const chat *c)
{
    const fl_generator *g = c->session->generator;
    const fl_answer *a = &c->answer;
    if (fl_generator_count(g) == 0) return 0;
    size_t limit = (size_t)fl_generator_length(g, 0), seen = 0;
    if (limit > c->tokens.count - 1) limit = c->tokens.count - 1; /* one has to give logits */
    while (seen < limit && a->ids[seen] == c->tokens.ids[seen])
        seen++;
    return seen;
}

/* Puts what the model has not seen yet through it. */
static fl_status feed(chat *c)
{
    fl_generator *g = c->session->generator;
    fl_answer *a = &c->answer;
    const size_t seen = count_seen(c);
    a->count = 0;
    FL_TRY(fl_answer_add_ids(a, c->tokens.ids, c->tokens.count));
    if (seen > 0) {
        if (fl_generator_length(g, 0) > (int64_t)seen) fl_generator_rewind(g, 0, (int64_t)seen);
        return fl_generator_extend(g, 0, a->ids + seen, (int64_t)(a->count - seen));
    }
    fl_generator_reset(g);
    const int32_t cu[] = {0, (int32_t)a->count};
    fl_tokens_view prompt = {.ids = a->ids, .cu = cu, .S = 1, .T = (int64_t)a->count};
    return fl_generator_add(g, &prompt);
}

static fl_status make_answer(chat *c)
{
    fl_session *s = c->session;
    fl_answer *a = &c->answer;
    size_t printed = 0;
    for (;;) {
        FL_TRY(fl_answer_choose(a, s, 0));
        if (!s->options->json) fl_answer_show(a, &printed);
        FL_TRY(fl_output_check());
        if (a->finish) break;
        FL_TRY(fl_generator_step(s->generator, &a->ids[a->count - 1]));
    }
    return add_turn(c, FL_ROLE_ASSISTANT, a->stream.text.data, a->stream.text.length);
}

/* A message that does not fit leaves the conversation as it was. */
static fl_status take_turn(chat *c, const char *message, size_t length)
{
    fl_session *s = c->session;
    fl_answer *a = &c->answer;
    FL_TRY(add_turn(c, FL_ROLE_USER, message, length));
    FL_TRY(encode(c));
    if ((int64_t)c->tokens.count >= s->max_length) {
        fprintf(stderr,
                "the conversation would have %zu tokens, with an answer more than the %lld there "
                "is room for; /reset begins a new one\n",
                c->tokens.count, (long long)s->max_length);
        c->num_turns--;
        return FL_OK;
    }
    FL_TRY(feed(c));
    a->number = c->num_answers++;
    FL_TRY(fl_answer_begin(a, s, fl_conversation_drops_space(c->format)));
    FL_TRY(make_answer(c));
    if (s->options->json) return fl_answer_print_json(a, message, length);
    putchar('\n');
    return fl_output_check();
}

/* c->line = the next line without its end; *found = false at the end of the input. */
static fl_status read_line(chat *c, bool *found)
{
    char piece[1024];
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        fputs("\n> ", stdout);
        fflush(stdout);
    }
    fl_buf_clear(&c->line);
    *found = false;
    while (fgets(piece, sizeof piece, stdin)) {
        *found = true;
        FL_TRY(fl_buf_add_text(&c->line, piece));
        if (strchr(piece, '\n')) break;
    }
    while (c->line.length && strchr("\r\n", c->line.data[c->line.length - 1]))
        c->line.data[--c->line.length] = 0;
    return FL_OK;
}

static fl_status converse(chat *c)
{
    FL_TRY(fl_session_prepare(c->session, 1, c->session->max_length));
    FL_TRY(forget(c));
    for (;;) {
        bool found;
        FL_TRY(read_line(c, &found));
        const char *line = fl_buf_text(&c->line);
        if (!found || strcmp(line, "/quit") == 0) return FL_OK;
        if (strcmp(line, "/reset") == 0)
            FL_TRY(forget(c));
        else if (line[0])
            FL_TRY(take_turn(c, line, c->line.length));
    }
}

fl_status fl_session_chat(fl_session *session)
{
    chat c = {.session = session, .format = &session->format.conversation};
    fl_status status = converse(&c);
    fl_answer_fini(&c.answer);
    fl_buf_fini(&c.line);
    fl_buf_fini(&c.text);
    fl_tokens_fini(&c.tokens);
    fl_free(c.turns);
    fl_arena_destroy(c.arena);
    return status;
}
