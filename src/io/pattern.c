#include "io/pattern.h"

#include "base/buf.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* The longest expression, and what a hostile one may take to match: steps, and KiB. */
enum { MAX_LENGTH = 1000, MAX_STEPS = 1000000, MAX_HEAP = 20000 };

/* true where Python reads it as PCRE does */
static bool is_common(const char *expression)
{
    bool bracket = false;
    for (const char *at = expression; *at; at++) {
        if (*at == '\\') {
            at++; /* an escaped sign is itself; an escaped letter or digit is a class of Python's */
            if (bracket || !*at || !strchr("\\.^$*+?()[]{}|-_/", *at)) return false;
        } else if (bracket) {
            /* [[:alpha:]] and the like are not Python's */
            if (*at == '[') return false;
            bracket = *at != ']';
        } else if (*at == '[') {
            bracket = true;
            at += at[1] == '^';
            at += at[1] == ']'; /* the first one is a member */
        } else if (*at == '(' && (at[1] == '?' || at[1] == '*')) {
            return false;
        } else if (*at == '{' && at[1] == ',') {
            return false;
        }
    }
    return true;
}

static fl_status not_usable(const char *expression, const char *reason)
{
    return fl_fail(FL_ERR_UNSUPPORTED, "\"%.160s\" %s", expression, reason);
}

static fl_status compile(pcre2_code **out, const char *expression, const char *in_front)
{
    if (strlen(expression) > MAX_LENGTH)
        return not_usable(expression, "is longer than an expression may be");
    if (!*expression || !is_common(expression))
        return not_usable(expression, "is not an expression that is read as Python reads it");
    fl_buf whole = {0};
    FL_TRY(fl_buf_addf(&whole, "%s(?:%s)", in_front, expression));
    int code;
    size_t at;
    *out = pcre2_compile((PCRE2_SPTR)fl_buf_text(&whole), whole.length,
                         PCRE2_ANCHORED | PCRE2_ENDANCHORED, &code, &at, NULL);
    fl_buf_fini(&whole);
    return *out ? FL_OK : not_usable(expression, "is not a regular expression, or too large a one");
}

fl_status fl_pattern_check(const char *expression)
{
    pcre2_code *compiled;
    FL_TRY(compile(&compiled, expression, ""));
    pcre2_code_free(compiled);
    return FL_OK;
}

/* *code = what pcre2_match returns. */
static fl_status match(int *code, const pcre2_code *compiled, const char *path)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(compiled, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    bool got_all = data && limits;
    if (got_all) {
        pcre2_set_match_limit(limits, MAX_STEPS);
        pcre2_set_heap_limit(limits, MAX_HEAP);
        *code = pcre2_match(compiled, (PCRE2_SPTR)path, strlen(path), 0, 0, data, limits);
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    FL_CHECK(got_all, FL_ERR_MEMORY, "out of memory while matching %s", path);
    return FL_OK;
}

fl_status fl_pattern_matches(bool *out, const char *expression, bool at_end, const char *path)
{
    pcre2_code *compiled;
    FL_TRY(compile(&compiled, expression, at_end ? "(?:.*\\.)?" : ""));
    int code = PCRE2_ERROR_NOMATCH;
    fl_status status = match(&code, compiled, path);
    pcre2_code_free(compiled);
    FL_TRY(status);
    *out = code >= 0;
    return code >= 0 || code == PCRE2_ERROR_NOMATCH ? FL_OK
                                                    : not_usable(expression, "takes too long");
}

fl_status fl_patterns_find(const fl_patterns *patterns, const char *path, const fl_pattern **found)
{
    *found = NULL;
    for (size_t i = 0; i < patterns->count && !*found; i++) {
        bool matches;
        FL_TRY(fl_pattern_matches(&matches, patterns->items[i].expression, true, path));
        if (matches) *found = &patterns->items[i];
    }
    return FL_OK;
}
