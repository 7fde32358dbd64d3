/* A walk is cut at MAX_ENTRY bytes: a damaged array may lead in circles, which would make the time
 * quadratic in the length of the text. */
#include "data/charsmap.h"
#include "data/utf8.h"

#include <string.h>

enum { MAX_ENTRY = 128 }; /* bytes; published maps stay below 20 */

fl_status fl_charsmap_open(fl_charsmap *out, const char *blob, size_t length, const char *path)
{
    const unsigned char *bytes = (const unsigned char *)blob;
    uint32_t size = 0;
    for (size_t i = 0; i < 4 && length >= 4; i++)
        size |= (uint32_t)bytes[i] << 8 * i;
    FL_CHECK(length > 4 && size >= 4 && size % 4 == 0 && size < length - 4 && blob[length - 1] == 0,
             FL_ERR_INPUT, "%s: the character map of the normaliser is damaged", path);
    *out = (fl_charsmap){.units = bytes + 4,
                         .num_units = size / 4,
                         .strings = blob + 4 + size,
                         .strings_length = length - 4 - size};
    return FL_OK;
}

static uint32_t unit_at(const fl_charsmap *map, size_t at)
{
    const unsigned char *unit = map->units + 4 * at;
    return unit[0] | (uint32_t)unit[1] << 8 | (uint32_t)unit[2] << 16 | (uint32_t)unit[3] << 24;
}

/* The bits of a unit: 0-7 and 31 label, 8 has a leaf, 9 and 10-30 offset; of a leaf all but 31 are
 * the value. */
static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Does the entry end with a character, and is its replacement one? */
static bool is_entry(const fl_charsmap *map, const char *text, size_t length, size_t end,
                     uint32_t value)
{
    if (end < length && ((unsigned char)text[end] & 0xc0) == 0x80) return false;
    if (value >= map->strings_length) return false;
    const char *string = map->strings + value;
    return fl_utf8_is_valid(string, strlen(string));
}

size_t fl_charsmap_find(const fl_charsmap *map, const char *text, size_t length, bool shortest,
                        const char **replacement)
{
    size_t found = 0;
    size_t at = offset_of(unit_at(map, 0));
    if (length > MAX_ENTRY) length = MAX_ENTRY;
    for (size_t i = 0; i < length; i++) {
        const unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= map->num_units) break;
        const uint32_t unit = unit_at(map, at);
        if ((unit & (1u << 31 | 0xff)) != byte) break;
        at ^= offset_of(unit);
        if (at >= map->num_units) break;
        const uint32_t value = unit_at(map, at) & ~(1u << 31);
        if (!(unit & 1u << 8) || !is_entry(map, text, length, i + 1, value)) continue;
        found = i + 1;
        *replacement = map->strings + value;
        if (shortest) break;
    }
    return found;
}

int fl_base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool fl_base64_decode(fl_buf *out, const char *text, size_t length, fl_status *status)
{
    uint32_t bits = 0;
    int count = 0;
    size_t at = 0;
    *status = FL_OK;
    for (; at < length && fl_base64_value(text[at]) >= 0; at++) {
        bits = bits << 6 | (uint32_t)fl_base64_value(text[at]);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        const char byte = (char)(bits >> count);
        *status = fl_buf_add(out, &byte, 1);
        if (*status != FL_OK) return false;
    }
    while (at < length && text[at] == '=')
        at++;
    return at == length;
}
