/* The steps of a decoder, for whole texts and for streams; for the files tokenizer*.c only. */
#ifndef FL_DATA_TOKENIZER_DECODE_H
#define FL_DATA_TOKENIZER_DECODE_H

#include "data/tokenizer_impl.h"

/* Piece i is text[ends[i - 1], ends[i]). */
typedef struct fl_pieces {
    fl_buf text;
    size_t *ends;
    size_t count, capacity;
} fl_pieces;

void fl_pieces_fini(fl_pieces *list);
fl_status fl_pieces_add(fl_pieces *list, const char *text, size_t length);

/* Replaces the content of `out`.  at_start: the first piece is the first of the whole text. */
fl_status fl_decode_step(fl_pieces *out, const fl_pieces *in, const fl_step *step, bool at_start);

int fl_byte_token_value(const fl_piece *piece); /* of "<0xNN>", or -1 */
/* Appends the bytes of a byte-level token, or its text where that is not of the alphabet. */
fl_status fl_byte_level_add(fl_buf *out, const fl_piece *piece);

#endif
