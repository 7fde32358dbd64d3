#include "io/pattern.h"

#include "base/buf.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

/* regcomp recurses into brackets and copies what is repeated, so that a short text could ask for
 * any amount of stack, time and memory. */
enum { MAX_LENGTH = 1000, MAX_COPIES = 256 };

/* How often what a '+' or "{1,9}" stands behind is copied. */
static size_t copies_of(const char *at)
{
    if (*at == '+') return 2;
    size_t most = 1;
    for (; *at && *at != '}'; at++) {
        unsigned long number = strtoul(at + 1, NULL, 10);
        if (number > most) most = number < MAX_COPIES ? number : MAX_COPIES;
    }
    return most + 1;
}

static bool is_small(const char *expression)
{
    size_t copies = 1;
    for (const char *at = expression; *at; at++) {
        if (*at == '\\' && at[1])
            at++;
        else if (*at == '+' || *at == '{')
            copies *= copies_of(at);
        if (copies > MAX_COPIES || at - expression >= MAX_LENGTH) return false;
    }
    return true;
}

/* true where Python and POSIX agree about it */
static bool is_common(const char *expression)
{
    bool bracket = false;
    for (const char *at = expression; *at; at++) {
        if (*at == '\\') {
            at++; /* an escaped sign is itself; an escaped letter or digit is a class of Python's */
            if (bracket || !*at || !strchr("\\.^$*+?()[]{}|-_/", *at)) return false;
        } else if (bracket) {
            /* [[:alpha:]] and the like are POSIX's */
            if (*at == '[') return false;
            bracket = *at != ']';
        } else if (*at == '[') {
            bracket = true;
            at += at[1] == '^';
            at += at[1] == ']'; /* the first one is a member */
        } else if (*at == '(' && at[1] == '?') {
            return false;
        }
    }
    return true;
}

static fl_status compile(regex_t *out, const char *expression)
{
    FL_CHECK(*expression && is_common(expression), FL_ERR_UNSUPPORTED,
             "\"%.160s\" is not an expression that Python and POSIX read in the same way",
             expression);
    FL_CHECK(is_small(expression), FL_ERR_UNSUPPORTED,
             "\"%.160s\" is longer than %d bytes or repeats repetitions", expression, MAX_LENGTH);
    fl_buf whole = {0};
    FL_TRY(fl_buf_addf(&whole, "^(.*\\.)?(%s)$", expression));
    int error = regcomp(out, fl_buf_text(&whole), REG_EXTENDED | REG_NOSUB);
    fl_buf_fini(&whole);
    FL_CHECK(error == 0, FL_ERR_UNSUPPORTED, "\"%.160s\" is not an extended regular expression",
             expression);
    return FL_OK;
}

fl_status fl_pattern_check(const char *expression)
{
    regex_t compiled;
    FL_TRY(compile(&compiled, expression));
    regfree(&compiled);
    return FL_OK;
}

fl_status fl_patterns_find(const fl_patterns *patterns, const char *path, const fl_pattern **found)
{
    *found = NULL;
    for (size_t i = 0; i < patterns->count && !*found; i++) {
        regex_t compiled;
        FL_TRY(compile(&compiled, patterns->items[i].expression));
        if (regexec(&compiled, path, 0, NULL, 0) == 0) *found = &patterns->items[i];
        regfree(&compiled);
    }
    return FL_OK;
}
