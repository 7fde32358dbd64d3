#include "data/conversation.h"

#include "data/conversation_table.h"

#include <string.h>

const fl_conversation *fl_conversation_find(const char *name)
{
    for (size_t i = 0; i < fl_num_conversation_aliases; i++)
        if (strcmp(fl_conversation_aliases[i].alias, name) == 0)
            name = fl_conversation_aliases[i].name;
    for (size_t i = 0; i < fl_num_conversations; i++)
        if (strcmp(fl_conversations[i].name, name) == 0) return &fl_conversations[i];
    return NULL;
}

const char *fl_conversation_name(size_t i)
{
    if (i < fl_num_conversations) return fl_conversations[i].name;
    i -= fl_num_conversations;
    return i < fl_num_conversation_aliases ? fl_conversation_aliases[i].alias : NULL;
}

typedef struct writer {
    fl_buf *out;
    const fl_conversation *format;
    const char *system;
    size_t system_length;
    size_t num_turns, num_users; /* written so far, without the system text */
} writer;

static fl_status add_joined(fl_buf *out, const char *text, size_t length)
{
    const size_t begin = out->length;
    for (size_t i = 0; i < length; i++)
        if (text[i] != '\r' || i + 1 == length || text[i + 1] != '\n')
            FL_TRY(fl_buf_add(out, text + i, 1));
    size_t to = begin;
    for (size_t from = begin; from < out->length; to++) {
        const char c = out->data[from++];
        if (c == '\n' && from < out->length && out->data[from] == '\n') from++;
        out->data[to] = c;
    }
    if (out->data) out->data[to] = 0;
    out->length = to;
    return FL_OK;
}

/* What a turn says. */
static fl_status add_text(const writer *w, const char *text, size_t length)
{
    if (w->format->joins_lines) return add_joined(w->out, text, length);
    if (w->format->trims) text = fl_trim(text, &length);
    return fl_buf_add(w->out, text, length);
}

static fl_status add_system(const writer *w)
{
    FL_TRY(fl_buf_add_text(w->out, w->format->before_system));
    FL_TRY(fl_buf_add(w->out, w->system, w->system_length));
    return fl_buf_add_text(w->out, w->format->after_system);
}

static fl_status add_user(writer *w, const fl_turn *turn)
{
    const fl_conversation *f = w->format;
    const bool holds_system = f->system_in_user && w->num_users == 0 && w->system_length > 0;
    if (f->rounds)
        FL_TRY(fl_buf_addf(w->out, "[Round %zu]%s", w->num_users + f->first_round, f->rounds));
    w->num_users++;
    FL_TRY(holds_system ? add_system(w) : fl_buf_add_text(w->out, f->user[0]));
    FL_TRY(add_text(w, turn->text, turn->length));
    return fl_buf_add_text(w->out, f->user[1]);
}

static fl_status add_answer(const writer *w, const fl_turn *turn, fl_span *span)
{
    const fl_conversation *f = w->format;
    const size_t begin = w->out->length + strlen(f->open);
    FL_TRY(fl_buf_add_text(w->out, f->answer[0]));
    FL_TRY(add_text(w, turn->text, turn->length));
    FL_TRY(fl_buf_add_text(w->out, f->answer[1]));
    if (turn->trains) *span = (fl_span){(uint32_t)begin, (uint32_t)w->out->length};
    return fl_buf_add_text(w->out, f->answer[2]);
}

static fl_status check_turn(const writer *w, fl_role role)
{
    const fl_conversation *f = w->format;
    FL_CHECK(role == FL_ROLE_USER || role == FL_ROLE_ASSISTANT, FL_ERR_INPUT,
             role == FL_ROLE_TOOL ? "the conversation format %s has no place for a tool's turn"
                                  : "the conversation format %s takes a system turn in front only",
             f->name);
    const fl_role next = w->num_turns % 2 == 0 ? FL_ROLE_USER : FL_ROLE_ASSISTANT;
    FL_CHECK(!f->in_turn || role == next, FL_ERR_INPUT,
             "the conversation format %s wants user and assistant in turn, the user first",
             f->name);
    return FL_OK;
}

static fl_status add_turn(writer *w, const fl_turn *turn, fl_span *span)
{
    FL_TRY(check_turn(w, turn->role));
    FL_TRY(turn->role == FL_ROLE_USER ? add_user(w, turn) : add_answer(w, turn, span));
    w->num_turns++;
    FL_CHECK(w->out->length <= UINT32_MAX, FL_ERR_INPUT, "a conversation of more than 4 GiB");
    return FL_OK;
}

/* Everything in front of the turns that may train. */
static fl_status begin(writer *w, const fl_turn *system)
{
    const fl_conversation *f = w->format;
    FL_CHECK(!f->is_api_only, FL_ERR_UNSUPPORTED,
             "the conversation format %s names the roles of a web service and has no text",
             f->name);
    FL_CHECK(!system || !f->no_system, FL_ERR_INPUT,
             "the conversation format %s has no place for a system turn", f->name);
    w->system = system ? system->text : f->system;
    w->system_length = system ? system->length : strlen(f->system);
    if (system && f->trims) w->system = fl_trim(w->system, &w->system_length);
    if (f->start) FL_TRY(fl_buf_add_text(w->out, f->start));
    const bool is_left_out = f->system_in_user || (f->skips_empty && w->system_length == 0);
    if (!is_left_out) FL_TRY(add_system(w));
    for (size_t i = 0; i < f->num_example; i++)
        FL_TRY(add_turn(w, &f->example[i], NULL));
    return FL_OK;
}

fl_status fl_conversation_render(fl_buf *out, const fl_conversation *format, const fl_turn *turns,
                                 size_t n, bool open_answer, fl_span *spans)
{
    writer w = {.out = out, .format = format};
    const bool has_system = n > 0 && turns[0].role == FL_ROLE_SYSTEM;
    if (spans) memset(spans, 0, n * sizeof *spans);
    FL_TRY(begin(&w, has_system ? turns : NULL));
    for (size_t i = has_system; i < n; i++) {
        fl_span unused;
        FL_TRY(add_turn(&w, &turns[i], spans ? &spans[i] : &unused));
    }
    if (!open_answer) return FL_OK;
    FL_TRY(check_turn(&w, FL_ROLE_ASSISTANT));
    return fl_buf_add_text(out, format->open);
}

bool fl_conversation_drops_space(const fl_conversation *format)
{
    return format->answer[0][strlen(format->open)] == ' ';
}
