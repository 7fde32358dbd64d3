/* Only this file knows PCRE2.  Captures are turned off by the translation, so a match is two
 * numbers and the ovector has one pair. */
#include "data/regex.h"
#include "base/mem.h"
#include "data/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Steps of one search.  The patterns of published tokenizers need a few per character, and the
 * limit grows with the text, so that only a pattern that backtracks exponentially meets it. */
enum { BASE_STEPS = 2000000, STEPS_PER_BYTE = 16, JIT_STACK = 1 << 20, MAX_PATTERN = 1 << 16 };

struct fl_regex {
    pcre2_code *code;
    char *path; /* for errors of matching */
};

struct fl_regex_work {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static fl_status compile(fl_regex *regex, const fl_buf *pattern, const char *path)
{
    int error;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    FL_CHECK(context, FL_ERR_MEMORY, "out of memory for a pattern");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_max_pattern_length(context, 4 * MAX_PATTERN);
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    regex->code = pcre2_compile((PCRE2_SPTR)fl_buf_text(pattern), pattern->length, options, &error,
                                &at, context);
    pcre2_compile_context_free(context);
    if (!regex->code) {
        PCRE2_UCHAR reason[128] = {0};
        pcre2_get_error_message(error, reason, sizeof reason);
        FL_FAIL(FL_ERR_INPUT, "%s: bad pattern \"%.60s\" at byte %zu: %s", path,
                fl_buf_text(pattern), (size_t)at, (const char *)reason);
    }
    // Where there is no compiler for this machine, the interpreter gives the same matches.
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return FL_OK;
}

fl_status fl_regex_compile(fl_regex **out, const char *pattern, size_t length, const char *path)
{
    FL_CHECK(length <= MAX_PATTERN, FL_ERR_UNSUPPORTED, "%s: a pattern of %zu bytes is too long",
             path, length);
    fl_regex *regex = NULL;
    fl_buf text = {0}, name = {0};
    fl_status status;
    FL_TRY_GOTO(fl_alloc(&regex, 1, sizeof *regex), out);
    FL_TRY_GOTO(fl_buf_add_text(&name, path), out);
    regex->path = name.data;
    name.data = NULL;
    FL_TRY_GOTO(fl_regex_translate(&text, pattern, length, path), out);
    FL_TRY_GOTO(compile(regex, &text, path), out);
    *out = regex;
    regex = NULL;
out:
    fl_buf_fini(&text);
    fl_buf_fini(&name);
    fl_regex_destroy(regex);
    return status;
}

void fl_regex_destroy(fl_regex *regex)
{
    if (!regex) return;
    pcre2_code_free(regex->code);
    fl_free(regex->path);
    fl_free(regex);
}

fl_status fl_regex_work_create(fl_regex_work **out)
{
    fl_regex_work *work;
    FL_TRY(fl_alloc(&work, 1, sizeof *work));
    work->data = pcre2_match_data_create(1, NULL); // only the whole match is of interest
    work->context = pcre2_match_context_create(NULL);
    work->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK, NULL); // NULL without a compiler
    if (!work->data || !work->context) {
        fl_regex_work_destroy(work);
        FL_FAIL(FL_ERR_MEMORY, "out of memory for matching");
    }
    if (work->stack) pcre2_jit_stack_assign(work->context, NULL, work->stack);
    *out = work;
    return FL_OK;
}

void fl_regex_work_destroy(fl_regex_work *work)
{
    if (!work) return;
    pcre2_match_data_free(work->data);
    pcre2_match_context_free(work->context);
    pcre2_jit_stack_free(work->stack);
    fl_free(work);
}

/* One search.  The text is known to be valid, and no UTF check may make each of the many searches
 * in a long text look at all of it. */
static int search(const fl_regex *regex, fl_regex_work *work, const char *text, size_t length,
                  size_t from)
{
    const size_t steps = BASE_STEPS + STEPS_PER_BYTE * (length - from);
    pcre2_set_match_limit(work->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    int count = pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK,
                            work->data, work->context);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) // the interpreter has no such limit
        count = pcre2_match(regex->code, (PCRE2_SPTR)text, length, from,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, work->data, work->context);
    return count;
}

fl_status fl_regex_next(const fl_regex *regex, fl_regex_work *work, const char *text, size_t length,
                        fl_regex_match *match)
{
    const bool after_match = match->found;
    const size_t last = match->end;
    match->found = false;
    while (match->from <= length) {
        const int count = search(regex, work, text, length, match->from);
        if (count == PCRE2_ERROR_NOMATCH) return FL_OK;
        FL_CHECK(count != PCRE2_ERROR_NOMEMORY, FL_ERR_MEMORY, "%s: out of memory for matching",
                 regex->path);
        FL_CHECK(count >= 0, FL_ERR_INPUT,
                 "%s: a pattern takes too many steps from byte %zu of a piece of text (PCRE2 "
                 "error %d)",
                 regex->path, match->from, count);
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(work->data);
        FL_CHECK(ends[0] <= ends[1] && ends[1] <= length, FL_ERR_UNSUPPORTED,
                 "%s: a pattern moves its own start behind its end", regex->path);
        if (ends[0] != ends[1] || !after_match || ends[0] != last) {
            *match = (fl_regex_match){true, ends[0], ends[1], ends[1]};
            return FL_OK;
        }
        match->from += match->from < length ? fl_utf8_size(text[match->from]) : 1;
    }
    return FL_OK;
}
