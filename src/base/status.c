#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 1024 };

static _Thread_local char error_text[TEXT_SIZE];

const char *fl_status_word(fl_status status)
{
    static const char *const words[] = {
#define X(code, word, exit_code) word,
        FL_STATUS_LIST(X)
#undef X
    };
    return words[status];
}

int fl_status_exit_code(fl_status status)
{
    static const int exit_codes[] = {
#define X(code, word, exit_code) exit_code,
        FL_STATUS_LIST(X)
#undef X
    };
    return exit_codes[status];
}

const char *fl_error_text(void)
{
    return error_text;
}

/* The text is one line for a terminal: bytes of hostile input must not steer it. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

fl_status fl_fail(fl_status status, const char *format, ...)
{
    char text[TEXT_SIZE]; /* the arguments may point into error_text */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    make_printable(text);
    memcpy(error_text, text, sizeof text);
    return status;
}

fl_status fl_fail_context(fl_status status, const char *format, ...)
{
    char context[TEXT_SIZE / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    char old[TEXT_SIZE];
    memcpy(old, error_text, sizeof old);
    return fl_fail(status, "%s: %s", context, old);
}

_Noreturn void fl_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "fedllm: %s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
