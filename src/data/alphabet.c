/* The code points follow from the order in which GPT-2's script goes through the bytes: first those
 * that Latin-1 prints, then the rest, numbered from U+0100. */
#include "data/alphabet.h"
#include "data/utf8.h"

enum {
    NUM_LOW = 0x21,          /* 0x00 to 0x20 */
    NUM_MIDDLE = 0xa1 - 0x7f /* 0x7f to 0xa0; and 0xad after them */
};

static unsigned code_of(unsigned char byte)
{
    if (byte < 0x21) return 0x100u + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x100u + NUM_LOW + (byte - 0x7fu);
    if (byte == 0xad) return 0x100u + NUM_LOW + NUM_MIDDLE;
    return byte;
}

fl_status fl_alphabet_write(fl_buf *out, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const unsigned code = code_of((unsigned char)bytes[i]);
        const char text[2] = {(char)(code < 0x80 ? code : 0xc0 | code >> 6),
                              (char)(0x80 | (code & 0x3f))};
        FL_TRY(fl_buf_add(out, text, code < 0x80 ? 1 : 2));
    }
    return FL_OK;
}

int fl_alphabet_byte(const char *text, size_t length)
{
    const unsigned char first = (unsigned char)text[0];
    unsigned code = first;
    if (first >= 0x80) {
        if (length < 2 || fl_utf8_size(text[0]) != 2) return -1;
        code = (first & 0x1fu) << 6 | ((unsigned char)text[1] & 0x3fu);
    }
    if (code >= 0x100) {
        const unsigned rank = code - 0x100;
        if (rank < NUM_LOW) return (int)rank;
        if (rank < NUM_LOW + NUM_MIDDLE) return (int)(rank - NUM_LOW + 0x7f);
        return rank == NUM_LOW + NUM_MIDDLE ? 0xad : -1;
    }
    return code_of((unsigned char)code) == code ? (int)code : -1;
}
