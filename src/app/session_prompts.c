/* Reading of prompts: all at once, since a batch and its cache are planned from the longest. */
#include "app/session.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PROMPTS_BYTES = 1 << 30 };

static fl_status add_text(fl_prompts *p, const char *text, size_t length)
{
    char *copy;
    FL_TRY(fl_grow(&p->texts, &p->capacity, p->count + 1, sizeof *p->texts));
    FL_TRY(fl_arena_text(p->arena, &copy, text, length));
    p->texts[p->count++] = copy;
    return FL_OK;
}

/* {"prompt": ...} or a record of a data set, {"instruction": ..., "input": ...}, whose texts are
 * joined as in training. */
static fl_status add_object(fl_prompts *p, const json_t *object, const char *where)
{
    const char *prompt, *instruction, *input;
    FL_TRY(fl_json_get_string_or(&prompt, object, "prompt", NULL, where));
    if (prompt) return add_text(p, prompt, strlen(prompt));
    FL_TRY(fl_json_get_string_or(&instruction, object, "instruction", NULL, where));
    FL_CHECK(instruction, FL_ERR_INPUT, "%s: there is neither prompt nor instruction", where);
    FL_TRY(fl_json_get_string_or(&input, object, "input", "", where));
    fl_buf joined = {0};
    fl_status status = fl_buf_addf(&joined, "%s%s%s", instruction, input[0] ? " " : "", input);
    if (status == FL_OK) status = add_text(p, fl_buf_text(&joined), joined.length);
    fl_buf_fini(&joined);
    return status;
}

static fl_status add_json_line(fl_prompts *p, const char *line, size_t length, const char *path,
                               size_t number)
{
    json_t *object;
    fl_buf where = {0};
    FL_TRY(fl_json_parse(&object, line, length, path, number));
    fl_status status = fl_buf_addf(&where, "%s:%zu", path, number);
    if (status == FL_OK) status = add_object(p, object, fl_buf_text(&where));
    fl_buf_fini(&where);
    json_decref(object);
    return status;
}

/* The first byte that is no white space decides for the whole file, as with data sets. */
static fl_status split(fl_prompts *p, const fl_buf *text, const char *path)
{
    const char *at = fl_buf_text(text), *end = at + text->length;
    bool is_json = at[strspn(at, " \t\r\n")] == '{';
    for (size_t number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        if (length && at[length - 1] == '\r') length--;
        bool is_blank = true;
        for (size_t i = 0; i < length && is_blank; i++)
            is_blank = strchr(" \t\r", at[i]) && at[i];
        if (!is_blank)
            FL_TRY(is_json ? add_json_line(p, at, length, path, number) : add_text(p, at, length));
        at = stop ? stop + 1 : end;
    }
    FL_CHECK(p->count, FL_ERR_INPUT, "%s: holds no prompt", path);
    return FL_OK;
}

/* Not /dev/stdin, which cannot be opened when it is a socket. */
static fl_status read_input(fl_buf *out)
{
    char chunk[4096];
    for (size_t length; (length = fread(chunk, 1, sizeof chunk, stdin)) > 0;) {
        FL_TRY(fl_buf_add(out, chunk, length));
        FL_CHECK(out->length <= MAX_PROMPTS_BYTES, FL_ERR_INPUT,
                 "standard input holds more than %d bytes", MAX_PROMPTS_BYTES);
    }
    FL_CHECK(!ferror(stdin), FL_ERR_IO, "cannot read standard input: %s", strerror(errno));
    return FL_OK;
}

fl_status fl_prompts_read(fl_prompts *out, const fl_generate_options *o)
{
    *out = (fl_prompts){0};
    fl_buf text = {0};
    fl_status status;
    FL_TRY_GOTO(fl_arena_create(&out->arena), out);
    if (fl_conf_is_set(o->conf, "prompt")) {
        status = add_text(out, o->prompt, strlen(o->prompt));
        goto out;
    }
    FL_TRY_GOTO(o->file[0] ? fl_file_read(&text, o->file, MAX_PROMPTS_BYTES) : read_input(&text),
                out);
    status = split(out, &text, o->file[0] ? o->file : "standard input");
out:
    fl_buf_fini(&text);
    return status;
}

void fl_prompts_fini(fl_prompts *prompts)
{
    fl_free(prompts->texts);
    fl_arena_destroy(prompts->arena);
    *prompts = (fl_prompts){0};
}
