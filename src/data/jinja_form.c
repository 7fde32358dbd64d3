#include "data/jinja_form.h"

#include "base/buf.h"

#include <ctype.h>
#include <string.h>

typedef struct reader {
    fl_jinja_form *form;
    const char *at, *end, *path;
    bool begins_line; /* what was read last ended a line */
} reader;

void fl_jinja_form_fini(fl_jinja_form *form)
{
    fl_free(form->tokens);
    *form = (fl_jinja_form){0};
}

static fl_status push(fl_jinja_form *form, int kind, const char *text, size_t length)
{
    char *copy;
    FL_TRY(fl_arena_text(form->arena, &copy, text, length));
    FL_TRY(fl_grow(&form->tokens, &form->capacity, form->count + 1, sizeof *form->tokens));
    form->tokens[form->count++] = (fl_jinja_token){.kind = kind, .text = copy};
    return FL_OK;
}

static bool starts(const reader *r, const char *text)
{
    const size_t length = strlen(text);
    return (size_t)(r->end - r->at) >= length && memcmp(r->at, text, length) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* ---- text between tags ---------------------------------------------------------------------- */

static const char *find_tag(const reader *r)
{
    for (const char *at = r->at; at + 1 < r->end; at++)
        if (*at == '{' && (at[1] == '{' || at[1] == '%' || at[1] == '#')) return at;
    return r->end;
}

/* Where the text in front of a tag ends: a minus takes the white space in front, a statement or a
 * comment that of its own line when nothing else stands there. */
static const char *text_end(const reader *r, const char *tag)
{
    const char *end = tag;
    if (tag + 2 < r->end && tag[2] == '-') {
        while (end > r->at && is_blank(end[-1]))
            end--;
        return end;
    }
    if (tag == r->end || tag[1] == '{' || (tag + 2 < r->end && tag[2] == '+')) return tag;
    while (end > r->at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    const bool is_line = end > r->at ? end[-1] == '\n' : r->begins_line;
    return is_line ? end : tag;
}

/* Text between tags writes itself, as {{ "text" }} does. */
static fl_status read_text(reader *r)
{
    const char *tag = find_tag(r), *end = text_end(r, tag);
    if (end > r->at) {
        FL_TRY(push(r->form, FL_JINJA_TAG, "{{", 2));
        FL_TRY(push(r->form, FL_JINJA_TEXT, r->at, (size_t)(end - r->at)));
        FL_TRY(push(r->form, FL_JINJA_TAG, "}}", 2));
    }
    r->at = tag;
    return FL_OK;
}

/* Behind a tag: a minus takes all white space that follows, a statement or comment one line end
 * unless it keeps that. */
static void skip_behind(reader *r, bool has_minus, bool keeps_line)
{
    const char *from = r->at;
    if (has_minus)
        while (r->at < r->end && is_blank(*r->at))
            r->at++;
    else if (!keeps_line && r->at < r->end && *r->at == '\n')
        r->at++;
    r->begins_line = r->at > from && r->at[-1] == '\n';
}

/* ---- inside a tag --------------------------------------------------------------------------- */

static fl_status read_string(reader *r)
{
    const char quote = *r->at++;
    fl_buf text = {0};
    fl_status status = FL_OK;
    for (; status == FL_OK && r->at < r->end && *r->at != quote; r->at++) {
        char c = *r->at;
        if (c == '\\') {
            static const char from[] = "nt\\'\"", to[] = "\n\t\\'\"";
            const char *which = ++r->at < r->end ? strchr(from, *r->at) : NULL;
            if (!which || !*which) {
                status =
                    fl_fail(FL_ERR_UNSUPPORTED, "%s: a string with an unusual escape", r->path);
                break;
            }
            c = to[which - from];
        }
        status = fl_buf_add(&text, &c, 1);
    }
    if (status == FL_OK && r->at >= r->end)
        status = fl_fail(FL_ERR_INPUT, "%s: a string does not end", r->path);
    if (status == FL_OK) status = push(r->form, FL_JINJA_TEXT, fl_buf_text(&text), text.length);
    fl_buf_fini(&text);
    r->at++;
    return status;
}

/* x['role'] and x["role"] become x.role. */
static void join_subscript(fl_jinja_form *form)
{
    if (form->count < 4) return;
    fl_jinja_token *t = form->tokens + form->count - 3;
    if (strcmp(t[0].text, "[") != 0 || t[0].kind != FL_JINJA_MARK || t[1].kind != FL_JINJA_TEXT)
        return;
    if (strcmp(t[1].text, "role") != 0 && strcmp(t[1].text, "content") != 0) return;
    if (t[-1].kind != FL_JINJA_WORD && strcmp(t[-1].text, "]") != 0) return;
    t[0].text = ".";
    t[1].kind = FL_JINJA_WORD;
    form->count--;
}

static fl_status read_inside(reader *r)
{
    const char *from = r->at;
    if (*r->at == '\'' || *r->at == '"') return read_string(r);
    while (r->at < r->end && (isalnum((unsigned char)*r->at) || *r->at == '_'))
        r->at++;
    if (r->at > from) return push(r->form, FL_JINJA_WORD, from, (size_t)(r->at - from));
    FL_TRY(push(r->form, FL_JINJA_MARK, r->at++, 1));
    if (*from == ']') join_subscript(r->form);
    return FL_OK;
}

static fl_status read_tag(reader *r)
{
    const bool is_output = r->at[1] == '{';
    const char *close = is_output ? "}}" : "%}", *dashed = is_output ? "-}}" : "-%}";
    FL_TRY(push(r->form, FL_JINJA_TAG, r->at, 2));
    const size_t first = r->form->count;
    r->at += 2;
    if (r->at < r->end && (*r->at == '-' || *r->at == '+')) r->at++;
    while (r->at < r->end && !starts(r, close) && !starts(r, dashed)) {
        if (is_blank(*r->at))
            r->at++;
        else
            FL_TRY(read_inside(r));
    }
    FL_CHECK(r->at < r->end, FL_ERR_INPUT, "%s: a tag does not end", r->path);
    FL_CHECK(is_output || r->form->count == first ||
                 strcmp(r->form->tokens[first].text, "raw") != 0,
             FL_ERR_UNSUPPORTED, "%s: a raw block", r->path);
    const bool has_minus = *r->at == '-';
    r->at += 2 + has_minus;
    skip_behind(r, has_minus, is_output);
    return push(r->form, FL_JINJA_TAG, close, 2);
}

static fl_status skip_comment(reader *r)
{
    r->at += 2;
    if (r->at < r->end && (*r->at == '-' || *r->at == '+')) r->at++;
    const char *first = r->at;
    while (r->at < r->end && !starts(r, "#}"))
        r->at++;
    FL_CHECK(r->at < r->end, FL_ERR_INPUT, "%s: a comment does not end", r->path);
    const char last = r->at > first ? r->at[-1] : 0;
    r->at += 2;
    skip_behind(r, last == '-', last == '+');
    return FL_OK;
}

fl_status fl_jinja_form_read(fl_jinja_form *out, fl_arena *arena, const char *source, size_t length,
                             const char *path)
{
    *out = (fl_jinja_form){.arena = arena};
    FL_CHECK(!memchr(source, 0, length) && !memchr(source, '\r', length), FL_ERR_UNSUPPORTED,
             "%s: zero bytes or carriage returns in a template", path);
    if (length > 0 && source[length - 1] == '\n') length--; /* Jinja drops the last line end */
    reader r = {out, source, source + length, path, true};
    while (r.at < r.end) {
        FL_TRY(read_text(&r));
        if (r.at == r.end) break;
        FL_TRY(r.at[1] == '#' ? skip_comment(&r) : read_tag(&r));
    }
    return FL_OK;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static uint64_t add_bytes(uint64_t hash, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash;
}

uint64_t fl_jinja_form_hash(const fl_jinja_form *form, const unsigned char *left_out)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t number = 0;
    for (size_t i = 0; i < form->count; i++) {
        const fl_jinja_token *t = &form->tokens[i];
        const char kind = (char)('0' + (int)t->kind);
        number += t->kind == FL_JINJA_TEXT;
        hash = add_bytes(hash, &kind, 1);
        const bool is_left_out = t->kind == FL_JINJA_TEXT && left_out && *left_out == number;
        if (is_left_out)
            left_out++;
        else
            hash = add_bytes(hash, t->text, strlen(t->text) + 1);
    }
    return hash;
}

const char *fl_jinja_form_text(const fl_jinja_form *form, size_t number)
{
    for (size_t i = 0; i < form->count; i++)
        if (form->tokens[i].kind == FL_JINJA_TEXT && --number == 0) return form->tokens[i].text;
    return NULL;
}
