/* What libconfig lets pass silently.
 *
 * libconfig before 1.6 reads 3000000000 as a negative number, drops \x00 from strings, and takes an
 * unclosed comment for the end of the file.  None of these is what its author meant.  This walks
 * over text that libconfig has accepted, so tokens are known to be well formed. */
#include "base/conf_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scanner {
    fl_conf *conf;
    const char *path;
    const char *next;
    unsigned line;
} scanner;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool starts_with(const scanner *s, const char *text)
{
    return strncmp(s->next, text, strlen(text)) == 0;
}

/* Steps over `count` bytes and counts their lines. */
static void skip(scanner *s, size_t count)
{
    for (; count > 0; count--)
        s->line += *s->next++ == '\n';
}

static fl_status scan_string(scanner *s)
{
    unsigned line = s->line;
    bool has_zero = false;
    for (skip(s, 1); *s->next && *s->next != '"';) {
        has_zero = has_zero || starts_with(s, "\\x00");
        skip(s, s->next[0] == '\\' && s->next[1] ? 2 : 1);
    }
    if (*s->next) skip(s, 1);
    if (!has_zero) return FL_OK;
    return conf_complain(s->conf, "%s:%u: a string contains a zero byte", s->path, line);
}

static fl_status scan_comment(scanner *s)
{
    const char *end = strstr(s->next + 2, "*/");
    if (!end) {
        unsigned line = s->line;
        skip(s, strlen(s->next));
        return conf_complain(s->conf, "%s:%u: the comment has no end", s->path, line);
    }
    skip(s, (size_t)(end + 2 - s->next));
    return FL_OK;
}

/* Length of the number that begins here: digits, letters, and a sign behind an exponent's e. */
static size_t number_length(const char *text, bool is_hex)
{
    size_t i = 1; /* the sign or the first digit */
    for (;; i++) {
        bool is_sign = text[i] == '-' || text[i] == '+';
        bool in_exponent = !is_hex && (text[i - 1] == 'e' || text[i - 1] == 'E');
        if (is_sign ? !in_exponent : !is_digit(text[i]) && !is_letter(text[i]) && text[i] != '.')
            return i;
    }
}

static fl_status scan_number(scanner *s)
{
    bool is_hex = starts_with(s, "0x") || starts_with(s, "0X");
    size_t length = number_length(s->next, is_hex);
    const char *text = s->next;
    skip(s, length);
    bool is_float = memchr(text, '.', length) != NULL;
    if (!is_hex) is_float = is_float || memchr(text, 'e', length) || memchr(text, 'E', length);
    if (is_float) return FL_OK; /* infinity is seen with the value */
    bool is_long = text[length - 1] == 'L';
    errno = 0;
    long long number = strtoll(text, NULL, is_hex ? 16 : 10);
    if (errno == ERANGE)
        return conf_complain(s->conf, "%s:%u: %.*s does not fit in 64 bits", s->path, s->line,
                             (int)length, text);
    if (is_long || (number >= INT32_MIN && number <= INT32_MAX)) return FL_OK;
    return conf_complain(s->conf, "%s:%u: %.*s needs an L behind it: %.*sL", s->path, s->line,
                         (int)length, text, (int)length, text);
}

static size_t name_length(const char *text)
{
    size_t i = 0;
    while (is_digit(text[i]) || is_letter(text[i]) || (text[i] && strchr("-_*", text[i])))
        i++;
    return i;
}

fl_status conf_scan(fl_conf *conf, const char *path, const char *text)
{
    scanner s = {.conf = conf, .path = path, .next = text, .line = 1};
    while (*s.next) {
        char c = *s.next;
        bool is_sign = c == '-' || c == '+';
        if (c == '#' || starts_with(&s, "//"))
            skip(&s, strcspn(s.next, "\n"));
        else if (starts_with(&s, "/*"))
            FL_TRY(scan_comment(&s));
        else if (c == '"')
            FL_TRY(scan_string(&s));
        else if (is_letter(c) || c == '*')
            skip(&s, name_length(s.next));
        else if (is_digit(c) || (is_sign && is_digit(s.next[1])))
            FL_TRY(scan_number(&s));
        else
            skip(&s, 1);
    }
    return FL_OK;
}
