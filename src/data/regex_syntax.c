/* Oniguruma's pattern syntax to PCRE2's.  Classes agree with what Hugging Face's library finds for
 * every code point that both know (tests/golden/make_tokenizer_golden.py asks it). */
#include "data/regex.h"
#include "data/utf8.h"

#include <stdio.h>
#include <string.h>

/* Unicode's White_Space.  PCRE2's \s has U+180E besides. */
#define SPACE                                                                                   \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{" \
    "205f}"                                                                                     \
    "\\x{3000}"
#define NOT_SPACE                                                                            \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}" \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"           \
    "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}"
/* Alphabetic characters, marks, digits, connectors, and by chance the six other numbers of
 * Latin-1. */
#define WORD "\\p{Alphabetic}\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX  "0-9a-fA-F"

typedef struct reader {
    const char *text;
    size_t length, at;
    fl_buf *out;
    const char *path;
    bool in_class, class_start; /* class_start: nothing of the class was read yet */
} reader;

static fl_status unsupported(const reader *in, const char *what)
{
    FL_FAIL(FL_ERR_UNSUPPORTED, "%s: %s in the pattern \"%.*s\" is not supported", in->path, what,
            in->length < 60 ? (int)in->length : 60, in->text);
}

static char peek(const reader *in, size_t ahead)
{
    return in->at + ahead < in->length ? in->text[in->at + ahead] : 0;
}

static bool is_at(const reader *in, const char *text)
{
    const size_t length = strlen(text);
    return in->length - in->at >= length && memcmp(in->text + in->at, text, length) == 0;
}

/* A set of characters, as a class of its own or within one.  There a '-' beside a set is itself,
 * and would make a range with the set's first or last character. */
static fl_status add_set(reader *in, const char *set)
{
    fl_buf *out = in->out;
    if (!in->in_class) {
        FL_TRY(fl_buf_add_text(out, "["));
        FL_TRY(fl_buf_add_text(out, set));
        return fl_buf_add_text(out, "]");
    }
    if (!in->class_start && out->length > 0 && out->data[out->length - 1] == '-') {
        out->length--;
        FL_TRY(fl_buf_add_text(out, "\\-"));
    }
    FL_TRY(fl_buf_add_text(out, set));
    if (peek(in, 0) != '-') return FL_OK;
    in->at++;
    return fl_buf_add_text(out, "\\-");
}

/* General categories by their long names; other names are a script or a binary property. */
static const char *const categories[][2] = {
    {"Letter", "L"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Nonspacing_Mark", "Mn"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"Format", "Cf"},
    {"Any", "Any"},
    {"Alphabetic", "Alphabetic"},
    {"White_Space", "White_Space"},
    {"Uppercase", "Uppercase"},
    {"Lowercase", "Lowercase"},
    {"Ideographic", "Ideographic"},
    {"Emoji", "Emoji"},
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* \p{Name}, \P{Name}, \p{^Name}; `at` is behind the p. */
static fl_status read_property(reader *in, char p)
{
    if (peek(in, 0) != '{') return unsupported(in, "\\p without braces");
    in->at++;
    const bool negated = peek(in, 0) == '^';
    in->at += negated;
    char name[64] = {0};
    size_t length = 0;
    for (; is_letter(peek(in, 0)) || peek(in, 0) == '_' || peek(in, 0) == ' '; in->at++)
        if (length < sizeof name - 1) name[length++] = peek(in, 0) == ' ' ? '_' : peek(in, 0);
    if (peek(in, 0) != '}' || length == 0 || length == sizeof name - 1)
        return unsupported(in, "such a name in \\p{}");
    in->at++;
    const char *shown = name, *prefix = length > 2 ? "sc:" : "";
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (strcmp(name, categories[i][0]) == 0) {
            shown = categories[i][1];
            prefix = "";
        }
    char set[96];
    snprintf(set, sizeof set, "\\%c{%s%s}", (p == 'P') != negated ? 'P' : 'p', prefix, shown);
    return add_set(in, set);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \uHHHH, \xHH and \x{H...}; `at` is behind the letter. */
static fl_status read_code(reader *in, char letter)
{
    const bool braces = letter == 'x' && peek(in, 0) == '{';
    in->at += braces;
    const size_t most = braces ? 6 : letter == 'u' ? 4 : 2;
    size_t count = 0;
    FL_TRY(fl_buf_add_text(in->out, "\\x{"));
    for (; count < most && is_hex(peek(in, 0)); count++, in->at++)
        FL_TRY(fl_buf_add(in->out, in->text + in->at, 1));
    if (count == 0 || (letter == 'u' && count != 4) || (braces && peek(in, 0) != '}'))
        return unsupported(in, "such a character code");
    in->at += braces;
    return fl_buf_add_text(in->out, "}");
}

static fl_status read_letter(reader *in, char c)
{
    const bool in_class = in->in_class;
    switch (c) {
    case 's':
        return add_set(in, SPACE);
    case 'S':
        return add_set(in, NOT_SPACE);
    case 'w':
        return add_set(in, WORD);
    case 'd':
        return add_set(in, "\\p{Nd}");
    case 'D':
        return add_set(in, "\\P{Nd}");
    case 'h':
        return add_set(in, HEX);
    case 'W':
        return in_class ? unsupported(in, "\\W within a class") : add_set(in, "^" WORD);
    case 'v':
        return fl_buf_add_text(in->out, "\\x0b");
    case 'p':
    case 'P':
        return read_property(in, c);
    case 'u':
    case 'x':
        return read_code(in, c);
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e':
        return fl_buf_addf(in->out, "\\%c", c);
    case 'b':
        if (in_class) return fl_buf_add_text(in->out, "\\x08");
        return fl_buf_add_text(in->out,
                               "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))");
    case 'A':
    case 'z':
    case 'Z':
        if (!in_class) return fl_buf_addf(in->out, "\\%c", c);
        break;
    default:
        break;
    }
    const char what[] = {'\\', c, 0};
    return unsupported(in, what);
}

static fl_status read_escape(reader *in)
{
    in->at++;
    if (in->at == in->length) return unsupported(in, "a backslash at the end");
    const char c = peek(in, 0);
    if (is_letter(c)) {
        in->at++;
        return read_letter(in, c);
    }
    if (c >= '0' && c <= '9') return unsupported(in, "a back reference");
    // Any other character stands for itself; those beyond ASCII need no backslash.
    const size_t size = fl_utf8_size(c);
    if (size == 1) FL_TRY(fl_buf_add_text(in->out, "\\"));
    FL_TRY(fl_buf_add(in->out, in->text + in->at, size));
    in->at += size;
    return FL_OK;
}

static fl_status read_in_class(reader *in)
{
    const char c = peek(in, 0);
    const bool start = in->class_start;
    if (c == '\\') {
        FL_TRY(read_escape(in));
        in->class_start = false;
        return FL_OK;
    }
    if (c == '[') return unsupported(in, "a class within a class");
    if (is_at(in, "&&")) return unsupported(in, "&& within a class");
    if (c == ']' && start) return unsupported(in, "an empty class");
    in->in_class = c != ']';
    in->class_start = false;
    in->at++;
    return fl_buf_add(in->out, &c, 1);
}

/* What follows "(": groups of no capture, looks around, atomic ones, and the options i and m. */
static fl_status read_group(reader *in)
{
    static const char *const plain[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    if (peek(in, 1) == '*') return unsupported(in, "(*");
    if (peek(in, 1) != '?') {
        in->at++;
        return fl_buf_add_text(in->out, "(?:"); // nothing refers to a capture
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (is_at(in, plain[i])) {
            in->at += strlen(plain[i]);
            return fl_buf_add_text(in->out, plain[i]);
        }
    FL_TRY(fl_buf_add_text(in->out, "(?"));
    for (in->at += 2; peek(in, 0) == 'i' || peek(in, 0) == 'm' || peek(in, 0) == '-'; in->at++) {
        const char option = peek(in, 0) == 'm' ? 's' : peek(in, 0); // Ruby's name of it
        FL_TRY(fl_buf_add(in->out, &option, 1));
    }
    const char end = peek(in, 0);
    if (end != ':' && end != ')') return unsupported(in, "such a group");
    in->at++;
    return fl_buf_add(in->out, &end, 1);
}

static fl_status read_plain(reader *in)
{
    const char c = peek(in, 0);
    if (c == '\\') return read_escape(in);
    if (c == '(') return read_group(in);
    if (is_at(in, "{,")) return unsupported(in, "{,");
    in->at++;
    FL_TRY(fl_buf_add(in->out, &c, 1));
    if (c != '[') return FL_OK;
    in->in_class = in->class_start = true;
    if (peek(in, 0) != '^') return FL_OK;
    in->at++;
    return fl_buf_add_text(in->out, "^");
}

fl_status fl_regex_translate(fl_buf *out, const char *pattern, size_t length, const char *path)
{
    reader in = {.text = pattern, .length = length, .out = out, .path = path};
    while (in.at < length)
        FL_TRY(in.in_class ? read_in_class(&in) : read_plain(&in));
    return in.in_class ? unsupported(&in, "a class without end") : FL_OK;
}
