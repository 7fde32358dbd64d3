/* Unigram (Kudo 2018, "Subword Regularization"): of all ways to write a word as pieces the one with
 * the largest sum of scores, found from left to right (Viterbi).  Of equal sums the one found first
 * counts, and sums are formed in the order and precision of the implementation that the file comes
 * from: rounding decides between ways that are equal on paper. */
#include "data/tokenizer_load.h"
#include "data/utf8.h"

#include <math.h>

/* A way to `end` whose last piece has this score. */
static void offer(const fl_tokenizer *tokenizer, fl_way *ways, size_t begin, size_t end, int32_t id,
                  double score)
{
    double sum = ways[begin].score + score;
    if (tokenizer->is_float) sum = (double)(float)sum;
    fl_way *way = &ways[end];
    if (way->id < 0 || sum > way->score) *way = (fl_way){sum, (uint32_t)begin, id};
}

/* All pieces that start at `begin`. */
static void extend(const fl_tokenizer *tokenizer, fl_way *ways, fl_slice word, size_t begin)
{
    const size_t size = fl_utf8_size(word.text[begin]);
    bool has_char = false;
    uint32_t node = 0;
    for (size_t end = begin; end < word.length;) {
        node = fl_trie_step(&tokenizer->pieces, node, word.text[end++]);
        if (node == 0) break;
        const int32_t id = tokenizer->pieces.values[node];
        if (id < 0) continue;
        offer(tokenizer, ways, begin, end, id, tokenizer->scores[id]);
        has_char = has_char || end == begin + size;
    }
    if (!has_char)
        offer(tokenizer, ways, begin, begin + size, tokenizer->model_unk, tokenizer->unk_score);
}

/* A piece of the best way; unknown characters as bytes where there are byte tokens. */
static fl_status add_piece(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word,
                           fl_symbol symbol)
{
    const fl_span span = symbol.span;
    if (symbol.id != tokenizer->model_unk || !tokenizer->byte_fallback)
        return fl_symbol_add(work, symbol.id, span.begin, span.end);
    for (size_t at = span.begin; at < span.end; at++)
        FL_TRY(fl_symbol_add(work, tokenizer->bytes[(unsigned char)word.text[at]], at, at + 1));
    return FL_OK;
}

/* The way back from the end, each piece put behind the ones of the word's end; then turned round.
 */
static fl_status walk_back(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word)
{
    size_t num_pieces = 0;
    for (size_t end = word.length; end > 0; end = work->ways[end].begin)
        num_pieces++;
    // The pieces are noted in the part of `ways` that the walk has left behind: piece k from the
    // end lies at or behind byte length - k.
    size_t at = word.length;
    for (size_t end = word.length; end > 0;) {
        const fl_way way = work->ways[end];
        work->ways[at--] = (fl_way){.begin = way.begin, .id = way.id, .score = (double)end};
        end = way.begin;
    }
    for (size_t i = word.length + 1 - num_pieces; i <= word.length;) {
        const fl_way *way = &work->ways[i++];
        fl_symbol symbol = {.id = way->id, .span = {way->begin, (uint32_t)way->score}};
        // Unknown characters beside each other are one piece.
        while (symbol.id == tokenizer->model_unk && i <= word.length &&
               work->ways[i].id == symbol.id)
            symbol.span.end = (uint32_t)work->ways[i++].score;
        FL_TRY(add_piece(tokenizer, work, word, symbol));
    }
    return FL_OK;
}

fl_status fl_unigram_word(const fl_tokenizer *tokenizer, fl_encode_work *work, fl_slice word)
{
    FL_TRY(fl_grow(&work->ways, &work->way_capacity, word.length + 1, sizeof *work->ways));
    fl_way *const ways = work->ways;
    for (size_t i = 0; i <= word.length; i++)
        ways[i] = (fl_way){.id = -1};
    for (size_t at = 0; at < word.length; at += fl_utf8_size(word.text[at]))
        extend(tokenizer, ways, word, at);
    return walk_back(tokenizer, work, word);
}

fl_status fl_unigram_init(fl_tokenizer *tokenizer)
{
    tokenizer->unk_score = INFINITY;
    return fl_arena_alloc(tokenizer->arena, &tokenizer->scores, (size_t)tokenizer->vocab.size,
                          sizeof *tokenizer->scores);
}

/* An unknown character costs more than the worst piece by this much, in both libraries. */
static const double unk_penalty = 10.0;

fl_status fl_unigram_put(fl_tokenizer *tokenizer, int32_t id, double score, const char *path)
{
    const fl_vocab_entry *entry = &tokenizer->vocab.entries[id];
    FL_CHECK(entry->length <= FL_MAX_TOKEN, FL_ERR_UNSUPPORTED,
             "%s: a piece of %u bytes is not supported", path, (unsigned)entry->length);
    FL_CHECK(isfinite(score), FL_ERR_INPUT, "%s: the score of \"%.60s\" is not a number", path,
             entry->text);
    tokenizer->scores[id] = score;
    if (score - unk_penalty < tokenizer->unk_score) tokenizer->unk_score = score - unk_penalty;
    return entry->length > 0 ? fl_trie_put(&tokenizer->pieces, entry->text, entry->length, id)
                             : FL_OK;
}
