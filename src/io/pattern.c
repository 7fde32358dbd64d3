#include "io/pattern.h"

#include "base/buf.h"

#include <regex.h>
#include <string.h>

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
