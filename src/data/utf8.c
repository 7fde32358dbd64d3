#include "data/utf8.h"

#include <stdint.h>

/* Lead bytes, the bytes of their characters, and the range of the second byte (Unicode 15, table
 * 3-7); every further byte is 0x80 to 0xbf. */
typedef struct lead {
    unsigned char first, last, size, minimum, maximum;
} lead;
static const lead leads[] = {
    {0x00, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

size_t fl_utf8_next(const char *text, size_t length, bool *valid)
{
    const unsigned char *bytes = (const unsigned char *)text;
    *valid = true;
    if (bytes[0] < 0x80) return 1;
    *valid = false;
    for (size_t i = 1; i < sizeof leads / sizeof *leads; i++) {
        if (bytes[0] < leads[i].first || bytes[0] > leads[i].last) continue;
        if (length < 2 || bytes[1] < leads[i].minimum || bytes[1] > leads[i].maximum) return 1;
        size_t size = 2;
        while (size < leads[i].size && size < length && (bytes[size] & 0xc0) == 0x80)
            size++;
        *valid = size == leads[i].size;
        return size;
    }
    return 1;
}

bool fl_utf8_is_valid(const char *text, size_t length)
{
    bool valid = true;
    for (size_t at = 0; at < length && valid;)
        at += fl_utf8_next(text + at, length - at, &valid);
    return valid;
}

static bool is_space(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    if (size == 1) return bytes[0] == ' ' || (bytes[0] >= '\t' && bytes[0] <= '\r');
    if (size == 2) return bytes[0] == 0xc2 && (bytes[1] == 0x85 || bytes[1] == 0xa0);
    if (size != 3) return false;
    const uint32_t code = (bytes[0] & 0x0fu) << 12 | (bytes[1] & 0x3fu) << 6 | (bytes[2] & 0x3fu);
    return code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

size_t fl_utf8_leading_space(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        bool valid;
        const size_t size = fl_utf8_next(text + at, length - at, &valid);
        if (!valid || !is_space(text + at, size)) break;
        at += size;
    }
    return at;
}

size_t fl_utf8_trailing_space(const char *text, size_t length)
{
    size_t end = length;
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && end - start < 4 && ((unsigned char)text[start] & 0xc0) == 0x80)
            start--;
        bool valid;
        const size_t size = fl_utf8_next(text + start, end - start, &valid);
        if (!valid || size != end - start || !is_space(text + start, size)) break;
        end = start;
    }
    return length - end;
}
