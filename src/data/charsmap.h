/* SentencePiece's character map ("precompiled_charsmap"): pieces of text and what they become, such
 * as NFKC with a few changes.  A double-array trie (Aoe 1989, in darts-clone's form) behind its
 * size in bytes, then the replacements, each closed with a zero byte.
 *
 * Every index into the map is checked when it is used, since the map comes from a file. */
#ifndef FL_DATA_CHARSMAP_H
#define FL_DATA_CHARSMAP_H

#include "base/buf.h"

#include <stdint.h>

typedef struct fl_charsmap {
    const unsigned char *units; /* [num_units] of 32 bits, low byte first; borrowed */
    size_t num_units;
    const char *strings; /* [strings_length], the last one a zero byte */
    size_t strings_length;
} fl_charsmap;

/* Borrows the blob.  Errors: FL_ERR_INPUT. */
fl_status fl_charsmap_open(fl_charsmap *out, const char *blob, size_t length, const char *path);

/* Bytes of the longest (or shortest) entry that the text starts with, and its replacement; 0 when
 * there is none.  Only whole characters and valid replacements count. */
size_t fl_charsmap_find(const fl_charsmap *map, const char *text, size_t length, bool shortest,
                        const char **replacement);

/* Appends what base64 text stands for; false when it is no such text or *status is an error. */
bool fl_base64_decode(fl_buf *out, const char *text, size_t length, fl_status *status);
int fl_base64_value(char c); /* or -1 */

#endif
