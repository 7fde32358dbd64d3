#include "data/chat_template.h"

#include "base/file.h"
#include "base/json.h"
#include "data/chat_template_table.h"
#include "data/jinja_form.h"
#include "data/utf8.h"

#include <string.h>

enum { MAX_SOURCE = 1 << 20, MAX_CONFIG = 1 << 26 };

/* ---- a format of a row ---------------------------------------------------------------------- */

typedef struct maker {
    const fl_jinja_form *form;
    const fl_known_template *known;
    const char *bos, *eos;
    fl_arena *arena;
} maker;

/* What the name in braces at `at` stands for; *length = bytes of it with its braces.  NULL: other
 * braces. */
static const char *lookup(const maker *m, const char *at, size_t *length)
{
    *length = 5;
    if (strncmp(at, "{bos}", 5) == 0) return m->bos;
    if (strncmp(at, "{eos}", 5) == 0) return m->eos;
    *length = 3;
    if (at[0] != '{' || at[1] < '1' || at[1] > '0' + FL_FORM_MAX_FREE || at[2] != '}') return NULL;
    return fl_jinja_form_text(m->form, m->known->free[at[1] - '1']);
}

static fl_status expand(const maker *m, const char **text)
{
    if (!*text || !strchr(*text, '{')) return FL_OK;
    fl_buf out = {0};
    fl_status status = FL_OK;
    for (const char *at = *text; *at && status == FL_OK;) {
        size_t length;
        const char *value = lookup(m, at, &length);
        status = value ? fl_buf_add_text(&out, value) : fl_buf_add(&out, at, 1);
        at += value ? length : 1;
    }
    char *copy;
    if (status == FL_OK) status = fl_arena_text(m->arena, &copy, fl_buf_text(&out), out.length);
    if (status == FL_OK) *text = copy;
    fl_buf_fini(&out);
    return status;
}

/* The default system turn as a whole -> the text in it; false when the turn looks otherwise. */
static bool cut_system(const maker *m, fl_conversation *c, fl_status *status)
{
    const size_t before = strlen(c->before_system), after = strlen(c->after_system);
    const size_t length = strlen(c->system);
    char *copy;
    if (length < before + after || strncmp(c->system, c->before_system, before) != 0 ||
        strcmp(c->system + length - after, c->after_system) != 0)
        return false;
    *status = fl_arena_text(m->arena, &copy, c->system + before, length - before - after);
    if (*status == FL_OK) c->system = copy;
    return true;
}

/* *fits = false: the free texts are not as the row needs them. */
static fl_status make(const maker *m, fl_conversation *out, bool *fits)
{
    fl_status status = FL_OK;
    fl_conversation *c = out;
    *c = m->known->format;
    c->has_bos = true;
    const char **texts[] = {&c->start,     &c->before_system, &c->after_system, &c->system,
                            &c->user[0],   &c->user[1],       &c->answer[0],    &c->answer[1],
                            &c->answer[2], &c->open,          &c->finish};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        FL_TRY(expand(m, texts[i]));
    *fits = !m->known->system_is_turn || cut_system(m, c, &status);
    *fits = *fits && strncmp(c->answer[0], c->open, strlen(c->open)) == 0;
    return status;
}

static fl_status find_form(fl_conversation *out, maker *m, const char *path)
{
    for (size_t i = 0; i < fl_num_known_templates; i++) {
        bool fits;
        m->known = &fl_known_templates[i];
        if (fl_jinja_form_hash(m->form, m->known->free) != m->known->form) continue;
        FL_TRY(make(m, out, &fits));
        if (fits) return FL_OK;
    }
    FL_FAIL(FL_ERR_UNSUPPORTED,
            "%s: a chat template of no known form (%016llx); set template to the name of a format, "
            "or to custom with the keys chat_... (docs/templates.md)",
            path, (unsigned long long)fl_jinja_form_hash(m->form, NULL));
}

fl_status fl_chat_template_read(fl_conversation *out, fl_arena *arena, const char *source,
                                size_t length, const char *bos, const char *eos, const char *path)
{
    fl_jinja_form form;
    FL_CHECK(length <= MAX_SOURCE, FL_ERR_INPUT, "%s: a chat template of more than 1 MiB", path);
    FL_CHECK(fl_utf8_is_valid(source, length), FL_ERR_INPUT, "%s: a chat template is not UTF-8",
             path);
    maker m = {.form = &form, .bos = bos, .eos = eos, .arena = arena};
    fl_status status = fl_jinja_form_read(&form, arena, source, length, path);
    if (status == FL_OK) status = find_form(out, &m, path);
    fl_jinja_form_fini(&form);
    return status;
}

/* ---- the files ------------------------------------------------------------------------------ */

static const char source_name[] = "chat_template.jinja", config_name[] = "tokenizer_config.json";

/* The text, or that of the entry called "default" in a list; NULL where there is none. */
static fl_status find_source(const char **out, const json_t *root, const char *path)
{
    const json_t *value = json_object_get(root, "chat_template"), *entry;
    size_t i;
    *out = json_string_value(value);
    if (*out || !value || json_is_null(value)) return FL_OK;
    FL_CHECK(json_is_array(value), FL_ERR_INPUT,
             "%s: chat_template must be a text or a list of named ones", path);
    json_array_foreach(value, i, entry)
    {
        const char *name, *text;
        FL_TRY(fl_json_get_string(&name, entry, "name", path));
        FL_TRY(fl_json_get_string(&text, entry, "template", path));
        if (strcmp(name, "default") == 0) *out = text;
    }
    return FL_OK;
}

static fl_status load_config(json_t **root, const char **source, const char *path)
{
    fl_buf text = {0};
    *source = NULL;
    fl_status status = fl_file_read(&text, path, MAX_CONFIG);
    if (status == FL_OK) status = fl_json_parse(root, fl_buf_text(&text), text.length, path, 1);
    if (status == FL_OK && !json_is_object(*root))
        status = fl_fail(FL_ERR_INPUT, "%s: must hold an object", path);
    if (status == FL_OK) status = find_source(source, *root, path);
    fl_buf_fini(&text);
    return status;
}

bool fl_chat_template_exists(const char *model_dir)
{
    fl_buf path = {0};
    json_t *root = NULL;
    const char *source = NULL;
    bool exists = fl_path_join(&path, model_dir, source_name) == FL_OK && fl_path_exists(path.data);
    if (!exists && fl_path_join(&path, model_dir, config_name) == FL_OK &&
        fl_path_exists(path.data))
        exists = load_config(&root, &source, path.data) != FL_OK || source;
    json_decref(root);
    fl_buf_fini(&path);
    return exists;
}

static const char *special(const fl_tokenizer *tokenizer, fl_special_kind kind)
{
    const char *text = fl_tokenizer_special_text(tokenizer, kind);
    return text ? text : "";
}

fl_status fl_chat_template_load(fl_conversation *out, fl_arena *arena,
                                const fl_tokenizer *tokenizer, const char *model_dir)
{
    fl_buf path = {0}, file = {0};
    json_t *root = NULL;
    const char *source = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, model_dir, source_name), out);
    if (fl_path_exists(path.data)) {
        FL_TRY_GOTO(fl_file_read(&file, path.data, MAX_SOURCE), out);
        source = fl_buf_text(&file);
    } else {
        FL_TRY_GOTO(fl_path_join(&path, model_dir, config_name), out);
        if (fl_path_exists(path.data)) FL_TRY_GOTO(load_config(&root, &source, path.data), out);
    }
    FL_CHECK_GOTO(source, out, FL_ERR_UNSUPPORTED,
                  "%s: the model has no chat_template; set template to the name of a format",
                  path.data);
    status = fl_chat_template_read(out, arena, source, file.length ? file.length : strlen(source),
                                   special(tokenizer, FL_SPECIAL_BOS),
                                   special(tokenizer, FL_SPECIAL_EOS), path.data);
out:
    json_decref(root);
    fl_buf_fini(&file);
    fl_buf_fini(&path);
    return status;
}
