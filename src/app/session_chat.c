/* A conversation: the model has seen everything up to the last token, so a turn only puts the new
 * message through it. */
#include "app/session.h"
#include "data/conversation.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct chat {
    fl_session *session;
    const fl_conversation *conversation;
    fl_answer answer; /* ids hold the whole conversation */
    uint64_t turns;
    fl_buf line, text;
    fl_tokens tokens;
} chat;

/* The cache keeps its memory. */
static void forget(chat *c)
{
    c->answer.count = 0;
    fl_generator_reset(c->session->generator);
}

/* Appends the tokens of the message and of what stands around it. */
static fl_status add_message(chat *c, const char *message, size_t length)
{
    fl_session *s = c->session;
    bool is_first = c->answer.count == 0;
    const char *eos = fl_tokenizer_special_text(s->tokenizer, FL_SPECIAL_EOS);
    fl_buf_clear(&c->text);
    /* the eos token stays in the text, so that the pieces behind it come out as they do when the
     * whole conversation is encoded */
    if (!is_first && eos) FL_TRY(fl_buf_add_text(&c->text, eos));
    FL_TRY(fl_conversation_turn(&c->text, c->conversation, is_first, message, length));
    FL_TRY(fl_tokenizer_encode(s->tokenizer, fl_buf_text(&c->text), c->text.length, is_first,
                               &c->tokens));
    return fl_answer_add_ids(&c->answer, c->tokens.ids, c->tokens.count);
}

/* Puts what the model has not seen yet through it. */
static fl_status feed(chat *c)
{
    fl_generator *g = c->session->generator;
    fl_answer *a = &c->answer;
    if (fl_generator_count(g) > 0) {
        int64_t seen = fl_generator_length(g, 0);
        return fl_generator_extend(g, 0, a->ids + seen, (int64_t)a->count - seen);
    }
    const int32_t cu[] = {0, (int32_t)a->count};
    fl_tokens_view prompt = {.ids = a->ids, .cu = cu, .S = 1, .T = (int64_t)a->count};
    return fl_generator_add(g, &prompt);
}

/* An answer that a stop string ended goes on in the model's tokens; the conversation keeps those
 * whose text was shown. */
static fl_status cut_tokens(chat *c)
{
    fl_answer *a = &c->answer;
    fl_text_stream again = {0};
    size_t kept = a->prompt_length, shown = a->stream.text.length;
    bool drops_space = true;
    fl_status status =
        fl_text_stream_start(&again, c->session->tokenizer, a->ids, a->prompt_length, drops_space);
    for (; status == FL_OK && kept < a->count; kept++) {
        status = fl_text_stream_add(&again, a->ids[kept]);
        if (again.text.length > shown) break;
    }
    fl_text_stream_fini(&again);
    a->count = kept;
    fl_generator *g = c->session->generator;
    if (fl_generator_length(g, 0) > (int64_t)kept) fl_generator_rewind(g, 0, (int64_t)kept);
    return status;
}

/* The last token is not put through the model: the next turn brings it along. */
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
    return a->stream.is_stopped ? cut_tokens(c) : FL_OK;
}

/* A message that does not fit leaves the conversation as it was. */
static fl_status take_turn(chat *c, const char *message, size_t length)
{
    fl_session *s = c->session;
    fl_answer *a = &c->answer;
    size_t before = a->count;
    FL_TRY(add_message(c, message, length));
    if ((int64_t)a->count >= s->max_length) {
        fprintf(stderr,
                "the conversation would have %zu tokens, with an answer more than the %lld there "
                "is room for; /reset begins a new one\n",
                a->count, (long long)s->max_length);
        a->count = before;
        return FL_OK;
    }
    FL_TRY(feed(c));
    a->number = c->turns++;
    FL_TRY(fl_answer_begin(a, s, true));
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
        printf("\n%s: ", c->conversation->user);
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
    for (;;) {
        bool found;
        FL_TRY(read_line(c, &found));
        const char *line = fl_buf_text(&c->line);
        if (!found || strcmp(line, "/quit") == 0) return FL_OK;
        if (strcmp(line, "/reset") == 0)
            forget(c);
        else if (line[0])
            FL_TRY(take_turn(c, line, c->line.length));
    }
}

fl_status fl_session_chat(fl_session *session)
{
    chat c = {.session = session, .conversation = fl_conversation_find(session->options->template)};
    FL_ASSERT(c.conversation);
    fl_status status = converse(&c);
    fl_answer_fini(&c.answer);
    fl_buf_fini(&c.line);
    fl_tokens_fini(&c.tokens);
    fl_buf_fini(&c.text);
    return status;
}
