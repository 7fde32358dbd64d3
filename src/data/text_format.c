#include "data/text_format.h"

#include "data/chat_template.h"

#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(fl_custom_format, field)

// clang-format off
const fl_conf_row fl_custom_rows[] = {
    {"chat_user", FL_CONF_TEXT, AT(user), "", 0, 0, NULL,
     "template = custom: a user's turn, {} is what is said: \"<|user|>\\n{}<|end|>\\n\""},
    {"chat_assistant", FL_CONF_TEXT, AT(assistant), "", 0, 0, NULL,
     "an answer; what stands behind {} ends it and is learnt: \"<|assistant|>\\n{}<|end|>\\n\""},
    {"chat_system", FL_CONF_TEXT, AT(system), "", 0, 0, NULL,
     "the system text's turn; empty = conversations have none"},
    {"chat_system_text", FL_CONF_TEXT, AT(system_text), "", 0, 0, NULL,
     "the system text where the data has none; empty = no system turn then"},
    {"chat_start", FL_CONF_TEXT, AT(start), "", 0, 0, NULL,
     "in front of everything; if it begins with the bos token, the tokenizer adds none"},
};
// clang-format on
const size_t fl_custom_row_count = sizeof fl_custom_rows / sizeof fl_custom_rows[0];

static const char hole[] = "{}";

/* ---- names ---------------------------------------------------------------------------------- */

static bool is_custom(const char *name)
{
    return strcmp(name, "custom") == 0;
}

static bool is_model_own(const char *name)
{
    return strcmp(name, "chat") == 0;
}

static fl_status check_turn_text(const char *key, const char *text, bool may_be_empty)
{
    const char *at = strstr(text, hole);
    if (may_be_empty && !text[0]) return FL_OK;
    FL_CHECK(at && !strstr(at + 2, hole), FL_ERR_USAGE,
             "%s = \"%s\" must hold {} once, where what is said goes", key, text);
    return FL_OK;
}

static fl_status check_custom(const fl_custom_format *custom)
{
    FL_TRY(check_turn_text("chat_user", custom->user, false));
    FL_TRY(check_turn_text("chat_assistant", custom->assistant, false));
    FL_TRY(check_turn_text("chat_system", custom->system, true));
    FL_CHECK(custom->system[0] || !custom->system_text[0], FL_ERR_USAGE,
             "chat_system_text is set, and chat_system, which says where it stands, is not");
    return FL_OK;
}

fl_status fl_text_format_check(const char *name, const fl_custom_format *custom)
{
    if (is_custom(name)) return check_custom(custom);
    if (is_model_own(name)) return FL_OK;
    const fl_conversation *conversation = fl_conversation_find(name);
    FL_CHECK(!conversation || !conversation->is_api_only, FL_ERR_USAGE,
             "template = %s names the roles of a web service and has no text", name);
    if (conversation) return FL_OK;
    const char *near = fl_conf_nearer(name, fl_conf_nearer(name, NULL, "custom"), "chat");
    for (size_t i = 0; fl_conversation_name(i); i++)
        near = fl_conf_nearer(name, near, fl_conversation_name(i));
    FL_CHECK(!near, FL_ERR_USAGE, "unknown template \"%s\"; did you mean %s?", name, near);
    FL_FAIL(FL_ERR_USAGE, "unknown template \"%s\"; docs/templates.md lists them", name);
}

/* ---- formats -------------------------------------------------------------------------------- */

static fl_status copy_text(fl_text_format *f, const char **out, const char *text, size_t length)
{
    char *copy;
    FL_TRY(fl_arena_text(f->arena, &copy, text, length));
    *out = copy;
    return FL_OK;
}

/* What stands in front of {} and behind it. */
static fl_status cut_turn_text(fl_text_format *f, const char *text, const char **before,
                               const char **after)
{
    const char *at = strstr(text, hole);
    *before = *after = "";
    if (!at) return FL_OK;
    FL_TRY(copy_text(f, before, text, (size_t)(at - text)));
    return copy_text(f, after, at + 2, strlen(at + 2));
}

static size_t trimmed_length(const char *text, const char *blanks)
{
    size_t length = strlen(text);
    while (length > 0 && strchr(blanks, text[length - 1]))
        length--;
    return length;
}

/* A prompt must not end in a space, which the answer's first word brings along; an answer's end is
 * what stands behind it up to its last character that is no white space. */
static fl_status make_custom(fl_text_format *f, const fl_custom_format *custom)
{
    fl_conversation *c = &f->conversation;
    const char *end;
    *c = (fl_conversation){.name = "custom", .start = custom->start, .system = custom->system_text};
    FL_TRY(cut_turn_text(f, custom->system, &c->before_system, &c->after_system));
    FL_TRY(cut_turn_text(f, custom->user, &c->user[0], &c->user[1]));
    FL_TRY(cut_turn_text(f, custom->assistant, &c->answer[0], &end));
    size_t length = trimmed_length(end, " \n\t");
    if (length == 0) length = strlen(end);
    FL_TRY(copy_text(f, &c->answer[1], end, length));
    FL_TRY(copy_text(f, &c->answer[2], end + length, strlen(end + length)));
    FL_TRY(copy_text(f, &c->open, c->answer[0], trimmed_length(c->answer[0], " ")));
    if (!c->system[0]) c->system = NULL;
    c->no_system = !custom->system[0];
    c->has_bos = f->bos[0] && strncmp(c->start, f->bos, strlen(f->bos)) == 0;
    return FL_OK;
}

/* *text with the eos token for every </s>. */
static fl_status put_eos(fl_text_format *f, const char **text)
{
    static const char mark[] = "</s>";
    fl_buf changed = {0};
    const char *from = *text, *at;
    fl_status status = FL_OK;
    while (status == FL_OK && from && (at = strstr(from, mark))) {
        status = fl_buf_add(&changed, from, (size_t)(at - from));
        if (status == FL_OK) status = fl_buf_add_text(&changed, f->eos);
        from = at + sizeof mark - 1;
    }
    if (status == FL_OK && from != *text) status = fl_buf_add_text(&changed, from);
    if (status == FL_OK && from != *text) status = copy_text(f, text, changed.data, changed.length);
    fl_buf_fini(&changed);
    return status;
}

/* The id of a text that is one special token, or -1. */
static fl_status special_id(const fl_text_format *f, const char *text, size_t length, int32_t *id)
{
    fl_tokens tokens = {0};
    fl_buf shown = {0};
    fl_status status = fl_tokenizer_encode(f->tokenizer, text, length, false, &tokens);
    if (status == FL_OK)
        status = fl_tokenizer_decode(f->tokenizer, tokens.ids, tokens.count, true, &shown);
    *id = status == FL_OK && tokens.count == 1 && shown.length == 0 ? tokens.ids[0] : -1;
    fl_tokens_fini(&tokens);
    fl_buf_fini(&shown);
    return status;
}

static fl_status make_built_in(fl_text_format *f, const char *name)
{
    fl_conversation *c = &f->conversation;
    f->template = fl_template_find(name);
    *c = *fl_conversation_find(name);
    int32_t id;
    FL_TRY(special_id(f, "</s>", 4, &id));
    if (id >= 0 || !f->eos[0]) return FL_OK;
    const char **texts[] = {&c->after_system, &c->user[1],  &c->answer[0], &c->answer[1],
                            &c->answer[2],    &c->stops[0], &c->stops[1],  &c->stops[2]};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        FL_TRY(put_eos(f, texts[i]));
    return FL_OK;
}

/* ---- what ends an answer -------------------------------------------------------------------- */

/* The end of an answer is a special token, or a stop string unless it is only white space. */
static fl_status find_stops(fl_text_format *f)
{
    const fl_conversation *c = &f->conversation;
    for (size_t i = 0; i < c->num_stop_ids && i < FL_MAX_STOPS - 1; i++)
        f->stop_ids[f->num_stop_ids++] = c->stop_ids[i];
    for (size_t i = 0; i < FL_CONVERSATION_MAX_STOPS && c->stops[i]; i++)
        f->stops[f->num_stops++] = c->stops[i];
    size_t length = strlen(c->answer[1]);
    const char *end = fl_trim(c->answer[1], &length);
    if (length == 0) return FL_OK;
    int32_t id;
    FL_TRY(special_id(f, end, length, &id));
    if (id >= 0) f->stop_ids[f->num_stop_ids++] = id;
    return id >= 0 ? FL_OK : copy_text(f, &f->stops[f->num_stops++], end, length);
}

fl_status fl_text_format_open(fl_text_format *out, const char *name, const fl_custom_format *custom,
                              const fl_tokenizer *tokenizer, const char *model_dir)
{
    const char *eos = fl_tokenizer_special_text(tokenizer, FL_SPECIAL_EOS);
    const char *bos = fl_tokenizer_special_text(tokenizer, FL_SPECIAL_BOS);
    *out = (fl_text_format){.tokenizer = tokenizer, .eos = eos ? eos : "", .bos = bos ? bos : ""};
    FL_TRY(fl_text_format_check(name, custom));
    FL_TRY(fl_arena_create(&out->arena));
    if (is_custom(name))
        FL_TRY(make_custom(out, custom));
    else if (is_model_own(name))
        FL_TRY(fl_chat_template_load(&out->conversation, out->arena, tokenizer, model_dir));
    else
        FL_TRY(make_built_in(out, name));
    return find_stops(out);
}

void fl_text_format_fini(fl_text_format *format)
{
    fl_arena_destroy(format->arena);
    *format = (fl_text_format){0};
}

size_t fl_text_format_end(const fl_text_format *f, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < f->num_stop_ids; k++)
            if (ids[i] == f->stop_ids[k]) return i;
    return count;
}

size_t fl_text_format_cut(const fl_text_format *f, const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++)
        for (size_t i = 0; i < f->num_stops; i++) {
            const size_t stop = strlen(f->stops[i]);
            if (stop <= length - at && memcmp(text + at, f->stops[i], stop) == 0) return at;
        }
    return length;
}

/* ---- prompts -------------------------------------------------------------------------------- */

fl_status fl_text_format_prompt(const fl_text_format *f, fl_buf *out, const char *instruction,
                                size_t length)
{
    if (f->template) return fl_template_render_prompt(out, f->template, instruction, length);
    const fl_turn turn = {.role = FL_ROLE_USER, .text = instruction, .length = length};
    return fl_conversation_render(out, &f->conversation, &turn, 1, true, NULL);
}

bool fl_text_format_adds_special(const fl_text_format *f)
{
    return f->template || !f->conversation.has_bos;
}

bool fl_text_format_drops_space(const fl_text_format *f)
{
    return f->template || fl_conversation_drops_space(&f->conversation);
}
