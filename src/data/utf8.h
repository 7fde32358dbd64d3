/* The little of UTF-8 that the tokenizer needs. */
#ifndef FL_DATA_UTF8_H
#define FL_DATA_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#define FL_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Bytes of the character at the start of text (length > 0), or, with *valid = false, of the longest
 * invalid part there (Unicode 15, section 3.9, "substitution of maximal subparts"). */
size_t fl_utf8_next(const char *text, size_t length, bool *valid);

bool fl_utf8_is_valid(const char *text, size_t length);

/* Bytes of valid UTF-8 at `text` from its first byte alone. */
static inline size_t fl_utf8_size(char first)
{
    const unsigned char byte = (unsigned char)first;
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/* Bytes of Unicode white space at the start, and at the end, of a text. */
size_t fl_utf8_leading_space(const char *text, size_t length);
size_t fl_utf8_trailing_space(const char *text, size_t length);

#endif
