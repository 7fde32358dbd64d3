/* What fedllm_generate prints on standard output. */
#include "app/session.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Bytes of a control character at text[0] (C0 but for line break and tabulator, DEL, C1 in UTF-8),
 * or 0. */
static size_t control_bytes(const unsigned char *text, size_t length)
{
    if ((text[0] < 0x20 && text[0] != '\n' && text[0] != '\t') || text[0] == 0x7f) return 1;
    return length > 1 && text[0] == 0xc2 && text[1] < 0xa0 ? 2 : 0;
}

static void print_guarded(const char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size ? size : 1) {
        size = control_bytes((const unsigned char *)text + i, length - i);
        putchar(size ? '?' : text[i]);
    }
}

/* Flushed at once: the reader watches the answer grow, also through a pipe. */
void fl_answer_show(const fl_answer *a, size_t *printed)
{
    size_t end = a->stream.safe;
    if (end <= *printed) return;
    const char *text = a->stream.text.data + *printed;
    if (isatty(STDOUT_FILENO))
        print_guarded(text, end - *printed);
    else
        fwrite(text, 1, end - *printed, stdout);
    fflush(stdout);
    *printed = end;
}

static json_t *tokens_of(const fl_answer *a)
{
    json_t *tokens = json_array();
    for (size_t i = a->prompt_length; i < a->count; i++)
        json_array_append_new(tokens, json_integer(a->ids[i]));
    return tokens;
}

fl_status fl_answer_print_json(const fl_answer *a, const char *prompt, size_t length)
{
    json_t *asked = json_stringn(prompt, length);
    FL_CHECK(asked, FL_ERR_INPUT, "a prompt is not UTF-8, which JSON cannot hold");
    json_t *line = json_object();
    json_object_set_new(line, "prompt", asked);
    json_object_set_new(line, "text",
                        json_stringn(fl_buf_text(&a->stream.text), a->stream.text.length));
    json_object_set_new(line, "tokens", tokens_of(a));
    json_object_set_new(line, "finish_reason", json_string(a->finish));
    int result = json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(line);
    FL_CHECK(result == 0, FL_ERR_IO, "cannot write to standard output");
    return FL_OK;
}

fl_status fl_output_check(void)
{
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    FL_CHECK(!failed, FL_ERR_IO, "cannot write to standard output: %s", strerror(errno));
    return FL_OK;
}
