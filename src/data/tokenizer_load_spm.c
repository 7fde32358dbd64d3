/* SentencePiece's tokenizer.model, a protocol-buffer message (sentencepiece_model.proto): pieces
 * with scores and types, the kind of model, the normaliser.
 *
 * Ids are those of Hugging Face's conversion of such a model: control tokens are found in a text,
 * and every part of a text between two of them gets the word-boundary mark in front. */
#include "data/tokenizer_load.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

static const char mark[] = "\xe2\x96\x81"; // U+2581

/* One field of a message.  Every length is checked against what is left of the message. */
typedef struct field {
    uint32_t number;
    uint64_t value;    /* integers, and floats as their bits */
    const char *bytes; /* texts and messages, NULL for other kinds */
    size_t length;
} field;

typedef struct message {
    const char *data;
    size_t length, at;
} message;

static bool read_varint(message *m, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && m->at < m->length; shift += 7) {
        const unsigned char byte = (unsigned char)m->data[m->at++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool read_fixed(message *m, size_t size, uint64_t *out)
{
    if (m->length - m->at < size) return false;
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out |= (uint64_t)(unsigned char)m->data[m->at++] << 8 * i;
    return true;
}

/* The next field; FL_ERR_INPUT where there is none but bytes are left. */
static fl_status read_field(message *m, field *out, const char *path)
{
    const size_t start = m->at;
    uint64_t tag = 0;
    bool fine = read_varint(m, &tag) && tag >> 3 <= UINT32_MAX;
    *out = (field){.number = (uint32_t)(tag >> 3)};
    switch (fine ? tag & 7 : 7) {
    case 0:
        fine = read_varint(m, &out->value);
        break;
    case 1:
        fine = read_fixed(m, 8, &out->value);
        break;
    case 5:
        fine = read_fixed(m, 4, &out->value);
        break;
    case 2:
        fine = read_varint(m, &out->value) && out->value <= m->length - m->at;
        if (!fine) break;
        out->bytes = m->data + m->at;
        out->length = (size_t)out->value;
        m->at += out->length;
        break;
    default:
        fine = false;
    }
    FL_CHECK(fine, FL_ERR_INPUT,
             "%s: not a SentencePiece model, or damaged, at byte %zu of a message of %zu", path,
             start, m->length);
    return FL_OK;
}

typedef enum piece_type {
    NORMAL = 1,
    UNKNOWN = 2,
    CONTROL = 3,
    USER_DEFINED = 4,
    UNUSED = 5,
    BYTE = 6
} piece_type;

typedef struct spm_piece {
    const char *text; /* borrowed from the file */
    size_t length;
    float score;
    uint64_t type;
} spm_piece;

enum { UNIGRAM = 1, BPE = 2 };

typedef struct spm_model {
    spm_piece *pieces;
    size_t count, capacity;
    uint64_t type;
    bool byte_fallback, is_suffix; /* is_suffix: the mark stands behind words */
    int64_t ids[FL_NUM_SPECIALS];
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    fl_piece charsmap; /* borrowed from the file */
} spm_model;

static fl_status read_piece(spm_model *model, message m, const char *path)
{
    spm_piece piece = {.type = NORMAL};
    field f;
    while (m.at < m.length) {
        FL_TRY(read_field(&m, &f, path));
        const uint32_t bits = (uint32_t)f.value;
        if (f.number == 1 && f.bytes) {
            piece.text = f.bytes;
            piece.length = f.length;
        } else if (f.number == 2) {
            memcpy(&piece.score, &bits, sizeof piece.score);
        } else if (f.number == 3) {
            piece.type = f.value;
        }
    }
    FL_CHECK(piece.length > 0 && piece.length <= FL_MAX_TOKEN &&
                 !memchr(piece.text, 0, piece.length) && fl_utf8_is_valid(piece.text, piece.length),
             FL_ERR_INPUT, "%s: piece %zu is empty, no UTF-8, or longer than %d bytes", path,
             model->count, FL_MAX_TOKEN);
    FL_CHECK(model->count < FL_MAX_VOCAB, FL_ERR_INPUT, "%s: too many pieces", path);
    FL_TRY(fl_grow(&model->pieces, &model->capacity, model->count + 1, sizeof *model->pieces));
    model->pieces[model->count++] = piece;
    return FL_OK;
}

static fl_status read_trainer(spm_model *model, message m, const char *path)
{
    field f;
    while (m.at < m.length) {
        FL_TRY(read_field(&m, &f, path));
        const int64_t id = (int32_t)(uint32_t)f.value; // negative ones have ten bytes
        switch (f.number) {
        case 3:
            model->type = f.value;
            break;
        case 24:
            model->is_suffix = f.value;
            break;
        case 35:
            model->byte_fallback = f.value;
            break;
        case 40:
            model->ids[FL_SPECIAL_UNK] = id;
            break;
        case 41:
            model->ids[FL_SPECIAL_BOS] = id;
            break;
        case 42:
            model->ids[FL_SPECIAL_EOS] = id;
            break;
        case 43:
            model->ids[FL_SPECIAL_PAD] = id;
            break;
        default:
            break;
        }
    }
    return FL_OK;
}

static fl_status read_normalizer(spm_model *model, message m, const char *path)
{
    field f;
    while (m.at < m.length) {
        FL_TRY(read_field(&m, &f, path));
        switch (f.number) {
        case 2:
            model->charsmap = (fl_piece){f.bytes, f.length};
            break;
        case 3:
            model->add_dummy_prefix = f.value;
            break;
        case 4:
            model->remove_extra_whitespaces = f.value;
            break;
        case 5:
            model->escape_whitespaces = f.value;
            break;
        default:
            break;
        }
    }
    return FL_OK;
}

static fl_status read_model(spm_model *model, message m, const char *path)
{
    field f;
    while (m.at < m.length) {
        FL_TRY(read_field(&m, &f, path));
        const message inner = {f.bytes, f.length, 0};
        if (!f.bytes) continue;
        if (f.number == 1) FL_TRY(read_piece(model, inner, path));
        if (f.number == 2) FL_TRY(read_trainer(model, inner, path));
        if (f.number == 3) FL_TRY(read_normalizer(model, inner, path));
    }
    FL_CHECK(model->count > 0, FL_ERR_INPUT, "%s: not a SentencePiece model: it has no pieces",
             path);
    FL_CHECK(model->type == UNIGRAM || model->type == BPE, FL_ERR_UNSUPPORTED,
             "%s: SentencePiece model type %llu is not supported (1 unigram and 2 BPE are)", path,
             (unsigned long long)model->type);
    FL_CHECK(!model->is_suffix, FL_ERR_UNSUPPORTED,
             "%s: treat_whitespace_as_suffix is not supported", path);
    return FL_OK;
}

static fl_status put_pieces(fl_tokenizer *tokenizer, const spm_model *model, const char *path)
{
    FL_TRY(fl_vocab_init(&tokenizer->vocab, tokenizer->arena, (int32_t)model->count, model->count));
    FL_TRY(fl_added_sets_init(tokenizer, model->count));
    if (model->type == UNIGRAM) FL_TRY(fl_unigram_init(tokenizer));
    for (size_t i = 0; i < model->count; i++) {
        const spm_piece *piece = &model->pieces[i];
        const int32_t id = (int32_t)i;
        FL_CHECK(fl_vocab_find(&tokenizer->vocab, piece->text, piece->length) < 0, FL_ERR_INPUT,
                 "%s: piece %zu \"%.*s\" is listed twice", path, i,
                 piece->length < 60 ? (int)piece->length : 60, piece->text);
        FL_TRY(fl_vocab_put(&tokenizer->vocab, tokenizer->arena, id, piece->text, piece->length,
                            piece->type == NORMAL));
        switch (piece->type) {
        case NORMAL:
            if (model->type == UNIGRAM)
                FL_TRY(fl_unigram_put(tokenizer, id, (double)piece->score, path));
            break;
        case UNKNOWN:
        case CONTROL:
            fl_add_special(tokenizer, id);
            break;
        case USER_DEFINED:
            fl_add_normal(tokenizer, id);
            break;
        case BYTE:
            break;
        default:
            FL_FAIL(FL_ERR_UNSUPPORTED, "%s: piece %zu of type %llu is not supported", path, i,
                    (unsigned long long)piece->type);
        }
        tokenizer->vocab.entries[i].is_added = piece->type != NORMAL && piece->type != BYTE;
    }
    return FL_OK;
}

static int compare_scores(const void *a, const void *b)
{
    const float left = *(const float *)a, right = *(const float *)b;
    return (left < right) - (left > right); // largest first
}

/* Pieces with larger scores are joined first; those with equal ones from left to right. */
static fl_status rank_pieces(fl_tokenizer *tokenizer, const spm_model *model, const char *path)
{
    float *scores = NULL;
    uint32_t *ranks = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_alloc(&scores, model->count, sizeof *scores), out);
    FL_TRY_GOTO(fl_alloc(&ranks, model->count, sizeof *ranks), out);
    for (size_t i = 0; i < model->count; i++) {
        scores[i] = model->pieces[i].score;
        FL_CHECK_GOTO(scores[i] == scores[i], out, FL_ERR_INPUT,
                      "%s: the score of piece %zu is not a number", path, i);
    }
    qsort(scores, model->count, sizeof *scores, compare_scores);
    for (size_t i = 0; i < model->count; i++) {
        size_t low = 0, high = model->count; // the first place that is not larger
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (scores[middle] > model->pieces[i].score)
                low = middle + 1;
            else
                high = middle;
        }
        ranks[i] = model->pieces[i].type == NORMAL ? (uint32_t)low : UINT32_MAX;
    }
    status = fl_imply_merges(tokenizer, ranks);
out:
    fl_free(scores);
    fl_free(ranks);
    return status;
}

static fl_step *add_step(fl_steps *steps, fl_step_kind kind, const char *pattern,
                         const char *content)
{
    fl_step *step = &steps->step[steps->count++];
    *step = (fl_step){
        .kind = kind, .pattern = {pattern, strlen(pattern)}, .content = {content, strlen(content)}};
    return step;
}

/* The steps that stand for the flags, and the decoder that takes them back. */
static fl_status add_steps(fl_tokenizer *tokenizer, const spm_model *model, const char *path)
{
    fl_steps *steps = &tokenizer->normalizer, *decoder = &tokenizer->decoder;
    const char *space = model->escape_whitespaces ? mark : " ";
    if (model->charsmap.length > 0) {
        char *blob;
        fl_step *step = add_step(steps, FL_STEP_CHARSMAP, "", "");
        FL_TRY(
            fl_arena_text(tokenizer->arena, &blob, model->charsmap.text, model->charsmap.length));
        FL_TRY(fl_charsmap_open(&step->map, blob, model->charsmap.length, path));
    }
    if (model->remove_extra_whitespaces) {
        // A mark that ends the text is taken for a space there, but not elsewhere.
        const char *ends = model->escape_whitespaces ? "\\A +|[ \xe2\x96\x81]+\\z" : "\\A +| +\\z";
        fl_step *step = add_step(steps, FL_STEP_REPLACE_REGEX, "", "");
        FL_TRY(fl_add_regex(tokenizer, &step->regex, ends, path));
        step = add_step(steps, FL_STEP_REPLACE_REGEX, "", " ");
        FL_TRY(fl_add_regex(tokenizer, &step->regex, " {2,}", path));
    }
    if (model->add_dummy_prefix) add_step(steps, FL_STEP_PREPEND, "", space);
    if (model->escape_whitespaces) {
        add_step(steps, FL_STEP_REPLACE, " ", mark);
        add_step(decoder, FL_STEP_REPLACE, mark, " ");
    }
    if (tokenizer->byte_fallback) add_step(decoder, FL_STEP_BYTE_FALLBACK, "", "");
    add_step(decoder, FL_STEP_FUSE, "", "");
    if (model->add_dummy_prefix) add_step(decoder, FL_STEP_STRIP, "", " ")->start = 1;
    tokenizer->has_decoder = true;
    return FL_OK;
}

static fl_status build(fl_tokenizer *tokenizer, const spm_model *model, const char *path)
{
    FL_TRY(put_pieces(tokenizer, model, path));
    for (size_t i = 0; i < FL_NUM_SPECIALS; i++) {
        const int64_t id = model->ids[i];
        const bool is_special =
            id >= 0 && (size_t)id < model->count &&
            (model->pieces[id].type == CONTROL || model->pieces[id].type == UNKNOWN);
        tokenizer->special[i] = is_special ? (int32_t)id : -1;
    }
    tokenizer->model_unk = tokenizer->special[FL_SPECIAL_UNK];
    FL_CHECK(tokenizer->model_unk >= 0, FL_ERR_INPUT, "%s: unk_id = %lld is no unknown piece", path,
             (long long)model->ids[FL_SPECIAL_UNK]);
    tokenizer->fuse_unk = true;
    if (model->byte_fallback) FL_TRY(fl_load_byte_tokens(tokenizer, path));
    if (model->type == BPE) {
        FL_TRY(rank_pieces(tokenizer, model, path));
        FL_TRY(fl_bpe_prepare(tokenizer, path));
    } else {
        tokenizer->model = FL_MODEL_UNIGRAM;
        tokenizer->is_float = true;
        tokenizer->unk_score = (double)(float)tokenizer->unk_score;
    }
    // The file does not say what stands around a text.  Models with a bos have it in front (Llama,
    // Mistral, Gemma), those without one have eos at the end (T5); tokenizer_config.json wins.
    if (tokenizer->special[FL_SPECIAL_BOS] >= 0)
        tokenizer->before = (fl_around){{tokenizer->special[FL_SPECIAL_BOS]}, 1};
    else if (tokenizer->special[FL_SPECIAL_EOS] >= 0)
        tokenizer->after = (fl_around){{tokenizer->special[FL_SPECIAL_EOS]}, 1};
    return add_steps(tokenizer, model, path);
}

fl_status fl_load_sentencepiece(fl_tokenizer *tokenizer, const char *data, size_t length,
                                const char *path)
{
    // Defaults as in the message's definition.
    spm_model model = {.type = UNIGRAM,
                       .ids = {1, 2, 0, -1},
                       .add_dummy_prefix = true,
                       .remove_extra_whitespaces = true,
                       .escape_whitespaces = true};
    fl_status status = read_model(&model, (message){data, length, 0}, path);
    if (status == FL_OK) status = build(tokenizer, &model, path);
    fl_free(model.pieces);
    return status;
}
