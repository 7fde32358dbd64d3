/* The alphabet of byte-level vocabularies (GPT-2): every byte as a printable character.  Bytes that
 * are printable in Latin-1 stand for themselves, the other 68 are U+0100 and up, in order. */
#ifndef FL_DATA_ALPHABET_H
#define FL_DATA_ALPHABET_H

#include "base/buf.h"

/* Appends the characters of the bytes; two bytes of UTF-8 each, or one for printable ASCII. */
fl_status fl_alphabet_write(fl_buf *out, const char *bytes, size_t length);

/* The byte for the character at the start of valid UTF-8, or -1. */
int fl_alphabet_byte(const char *text, size_t length);

#endif
