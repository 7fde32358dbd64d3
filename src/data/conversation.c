#include "data/conversation.h"

#include "data/conversation_table.h"
#include "data/utf8.h"

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
    const char *system; /* NULL: none */
    size_t system_length;
    size_t num_turns, num_users; /* written so far, without the system text */
    bool is_last;                /* the turn being written is the last one */
    bool is_final;               /* it stands behind the last user's turn */
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

static const char *trimmed(const char *text, size_t *length)
{
    const size_t leading = fl_utf8_leading_space(text, *length);
    text += leading;
    *length -= leading;
    *length -= fl_utf8_trailing_space(text, *length);
    return text;
}

/* What a turn says. */
static fl_status add_text(const writer *w, const char *text, size_t length, bool trims)
{
    if (w->format->joins_lines) return add_joined(w->out, text, length);
    if (trims) text = trimmed(text, &length);
    return fl_buf_add(w->out, text, length);
}

static fl_status add_system(const writer *w)
{
    FL_TRY(fl_buf_add_text(w->out, w->format->before_system));
    FL_TRY(fl_buf_add(w->out, w->system, w->system_length));
    return fl_buf_add_text(w->out, w->format->after_system);
}

/* System and user's text as one: it begins with before_system, so only its end can be white. */
static fl_status add_both(const writer *w, const fl_turn *turn)
{
    const size_t begin = w->out->length;
    FL_TRY(add_system(w));
    FL_TRY(fl_buf_add(w->out, turn->text, turn->length));
    if (!w->format->trims_user) return FL_OK;
    const char *text = fl_buf_text(w->out) + begin;
    w->out->length -= fl_utf8_trailing_space(text, w->out->length - begin);
    return fl_buf_add_text(w->out, ""); /* closes the text */
}

/* The first or the last place of a text in another, or NULL. */
static const char *find(const char *text, size_t length, const char *wanted, bool last)
{
    const size_t size = strlen(wanted);
    const char *found = NULL;
    for (size_t at = 0; at + size <= length && (last || !found); at++)
        if (memcmp(text + at, wanted, size) == 0) found = text + at;
    return found;
}

/* Qwen3's template would take it for what a tool said. */
static bool is_tool_response(const fl_turn *turn)
{
    static const char begin[] = "<tool_response>", end[] = "</tool_response>";
    if (turn->length < strlen(begin) + strlen(end)) return false;
    return find(turn->text, turn->length, begin, false) == turn->text &&
           find(turn->text, turn->length, end, true) == turn->text + turn->length - strlen(end);
}

static fl_status add_user(writer *w, const fl_turn *turn)
{
    const fl_conversation *f = w->format;
    const bool is_place =
        (f->system_in_user && w->num_users == 0) || (f->system_in_last && w->is_last);
    if (f->rounds)
        FL_TRY(fl_buf_addf(w->out, "[Round %zu]%s", w->num_users + f->first_round, f->rounds));
    FL_CHECK(!f->thinks || !is_tool_response(turn), FL_ERR_INPUT,
             "the conversation format %s has no place for a tool's turn", f->name);
    w->num_users++;
    if (is_place && w->system) {
        FL_TRY(add_both(w, turn));
    } else {
        FL_TRY(fl_buf_add_text(w->out, f->user[0]));
        FL_TRY(add_text(w, turn->text, turn->length, f->trims_user));
    }
    return fl_buf_add_text(w->out, f->user[1]);
}

static const char *without_lines(const char *text, size_t *length, bool at_end)
{
    for (; *length > 0 && *text == '\n'; text++)
        --*length;
    while (at_end && *length > 0 && text[*length - 1] == '\n')
        --*length;
    return text;
}

/* Parts what the model thought from what it said, as Qwen3's template does. */
static fl_status add_thinking(const writer *w, const char *text, size_t length)
{
    static const char begin_mark[] = "<think>", end_mark[] = "</think>";
    const char *thought = text, *end = find(text, length, end_mark, false);
    size_t thought_length = end ? (size_t)(end - text) : 0;
    if (end) {
        while (thought_length > 0 && text[thought_length - 1] == '\n')
            thought_length--;
        const char *begin = find(text, thought_length, begin_mark, true);
        if (begin) thought = begin + strlen(begin_mark);
        thought_length -= (size_t)(thought - text);
        thought = without_lines(thought, &thought_length, true);
        const char *said = find(text, length, end_mark, true) + strlen(end_mark);
        length -= (size_t)(said - text);
        text = without_lines(said, &length, false);
    }
    if (w->is_final && (w->is_last || thought_length > 0)) {
        FL_TRY(fl_buf_addf(w->out, "%s\n", begin_mark));
        FL_TRY(fl_buf_add(w->out, thought, thought_length));
        FL_TRY(fl_buf_addf(w->out, "\n%s\n\n", end_mark));
        text = without_lines(text, &length, false);
    }
    return fl_buf_add(w->out, text, length);
}

static fl_status add_answer(const writer *w, const fl_turn *turn, fl_span *span)
{
    const fl_conversation *f = w->format;
    const size_t begin = w->out->length + strlen(f->open);
    FL_TRY(fl_buf_add_text(w->out, f->answer[0]));
    FL_TRY(f->thinks ? add_thinking(w, turn->text, turn->length)
                     : add_text(w, turn->text, turn->length, f->trims_answer));
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
    w->system_length = system ? system->length : f->system ? strlen(f->system) : 0;
    if (w->system && f->trims_system) w->system = trimmed(w->system, &w->system_length);
    if (f->skips_empty && w->system_length == 0) w->system = NULL;
    if (f->start) FL_TRY(fl_buf_add_text(w->out, f->start));
    if (w->system && !f->system_in_user && !f->system_in_last) FL_TRY(add_system(w));
    for (size_t i = 0; i < f->num_example; i++)
        FL_TRY(add_turn(w, &f->example[i], NULL));
    return FL_OK;
}

fl_status fl_conversation_render(fl_buf *out, const fl_conversation *format, const fl_turn *turns,
                                 size_t n, bool open_answer, fl_span *spans)
{
    writer w = {.out = out, .format = format};
    const bool has_system = n > 0 && turns[0].role == FL_ROLE_SYSTEM;
    bool has_user = false;
    size_t last_user = 0;
    for (size_t i = 0; i < n; i++)
        if (turns[i].role == FL_ROLE_USER) {
            has_user = true;
            last_user = i;
        }
    if (spans) memset(spans, 0, n * sizeof *spans);
    FL_TRY(begin(&w, has_system ? turns : NULL));
    for (size_t i = has_system; i < n; i++) {
        fl_span unused;
        w.is_last = i + 1 == n;
        w.is_final = has_user && i > last_user;
        FL_TRY(add_turn(&w, &turns[i], spans ? &spans[i] : &unused));
    }
    if (!open_answer) return format->finish ? fl_buf_add_text(out, format->finish) : FL_OK;
    FL_TRY(check_turn(&w, FL_ROLE_ASSISTANT));
    return fl_buf_add_text(out, format->open);
}

bool fl_conversation_drops_space(const fl_conversation *format)
{
    return format->answer[0][strlen(format->open)] == ' ';
}
