/* The model of a tokenizer.json: vocabulary, merges, options. */
#include "data/tokenizer_load.h"

#include <string.h>

/* The table of ids is as long as the largest id, so its size is known and limited before anything
 * is allocated: both scans run first, over the model's tokens and over the added ones.  Gaps
 * between ids are fine, since models are padded to round sizes.  Raises *largest. */
static fl_status scan_vocab(const json_t *vocab, const char *path, int64_t *largest)
{
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)vocab, text, value)
    {
        FL_CHECK(json_is_integer(value), FL_ERR_INPUT, "%s: the id of \"%.60s\" must be an integer",
                 path, text);
        const json_int_t id = json_integer_value(value);
        FL_CHECK(id >= 0 && id < FL_MAX_VOCAB, FL_ERR_INPUT,
                 "%s: id %lld of \"%.60s\" is outside [0, %d]", path, (long long)id, text,
                 FL_MAX_VOCAB - 1);
        if (id > *largest) *largest = id;
    }
    return FL_OK;
}

static fl_status scan_added(const json_t *added, const char *path, int64_t *largest)
{
    for (size_t i = 0; i < json_array_size(added); i++) {
        int64_t id;
        FL_TRY(fl_json_get_int(&id, json_array_get(added, i), "id", 0, FL_MAX_VOCAB - 1, path));
        if (id > *largest) *largest = id;
    }
    return FL_OK;
}

fl_status fl_load_vocab(fl_tokenizer *tokenizer, const json_t *vocab, const json_t *added,
                        const char *path)
{
    int64_t largest = -1;
    FL_TRY(scan_vocab(vocab, path, &largest));
    FL_TRY(scan_added(added, path, &largest));
    FL_CHECK(json_object_size(vocab) > 0, FL_ERR_INPUT, "%s: vocab is empty", path);
    FL_TRY(fl_vocab_init(&tokenizer->vocab, tokenizer->arena, (int32_t)(largest + 1),
                         json_object_size(vocab) + json_array_size(added)));
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)vocab, text, value)
        FL_TRY(fl_load_token(tokenizer, json_integer_value(value), text, true, path));
    return FL_OK;
}

/* Ids of two parts and of what they join to; false when one of the three is no token, or when
 * *status has become an error.  A part must not be empty: it would join with anything. */
bool fl_load_find_merge(const fl_vocab *vocab, fl_piece left, fl_piece right, fl_buf *scratch,
                        fl_merge *merge, fl_status *status)
{
    merge->left = fl_vocab_find(vocab, left.text, left.length);
    merge->right = fl_vocab_find(vocab, right.text, right.length);
    if (left.length == 0 || right.length == 0 || merge->left < 0 || merge->right < 0) return false;
    fl_buf_clear(scratch);
    *status = fl_buf_add(scratch, left.text, left.length);
    if (*status == FL_OK) *status = fl_buf_add(scratch, right.text, right.length);
    if (*status != FL_OK) return false;
    merge->id = fl_vocab_find(vocab, scratch->data, scratch->length);
    return merge->id >= 0;
}

/* A merge written as ["a", "b"] or "a b".  Tokens may hold spaces themselves; then the string is
 * parted at the one space that leaves two tokens. */
static fl_status read_merge(const fl_vocab *vocab, const json_t *value, fl_buf *scratch,
                            const char *path, fl_merge *merge)
{
    fl_status status = FL_OK;
    const size_t rank = merge->rank;
    if (json_is_array(value)) {
        const json_t *first = json_array_get(value, 0), *second = json_array_get(value, 1);
        FL_CHECK(json_array_size(value) == 2 && json_is_string(first) && json_is_string(second),
                 FL_ERR_INPUT, "%s: merges[%zu] must be two strings", path, rank);
        const fl_piece left = {json_string_value(first), json_string_length(first)};
        const fl_piece right = {json_string_value(second), json_string_length(second)};
        if (fl_load_find_merge(vocab, left, right, scratch, merge, &status)) return FL_OK;
    } else {
        FL_CHECK(json_is_string(value), FL_ERR_INPUT,
                 "%s: merges[%zu] must be a string or two strings", path, rank);
        const char *text = json_string_value(value);
        const size_t length = json_string_length(value);
        for (const char *space = strchr(text, ' '); space && status == FL_OK;
             space = strchr(space + 1, ' ')) {
            const size_t at = (size_t)(space - text);
            if (fl_load_find_merge(vocab, (fl_piece){text, at},
                                   (fl_piece){space + 1, length - at - 1}, scratch, merge, &status))
                return FL_OK;
        }
    }
    FL_TRY(status);
    FL_FAIL(FL_ERR_INPUT, "%s: merges[%zu] names a token that is not in the vocabulary", path,
            rank);
}

static fl_status load_merges(fl_tokenizer *tokenizer, const json_t *merges, const char *path)
{
    const size_t count = json_array_size(merges);
    FL_CHECK(count < INT32_MAX, FL_ERR_INPUT, "%s: too many merges", path);
    FL_TRY(fl_merges_init(&tokenizer->merges, tokenizer->arena, count));
    fl_buf scratch = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < count && status == FL_OK; i++) {
        fl_merge merge = {.rank = (uint32_t)i};
        status = read_merge(&tokenizer->vocab, json_array_get(merges, i), &scratch, path, &merge);
        if (status == FL_OK) fl_merges_put(&tokenizer->merges, merge);
    }
    fl_buf_fini(&scratch);
    return status;
}

/* Finds <0x00> to <0xFF>.  A vocabulary with none of them has no byte fallback.  With some of them
 * Hugging Face puts unk tokens behind bytes that they stand in front of; nobody needs that. */
fl_status fl_load_byte_tokens(fl_tokenizer *tokenizer, const char *path)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[] = "<0x00>";
    size_t found = 0;
    for (size_t i = 0; i < 256; i++) {
        text[3] = digits[i / 16];
        text[4] = digits[i % 16];
        tokenizer->bytes[i] = fl_vocab_find(&tokenizer->vocab, text, strlen(text));
        found += tokenizer->bytes[i] >= 0;
    }
    FL_CHECK(found == 0 || found == 256, FL_ERR_UNSUPPORTED,
             "%s: byte_fallback with %zu of the 256 byte tokens is not supported", path, found);
    tokenizer->byte_fallback = found == 256;
    return FL_OK;
}

static fl_status load_options(fl_tokenizer *tokenizer, const json_t *model, const char *path)
{
    double dropout;
    const char *prefix, *suffix, *unk;
    bool byte_fallback;
    FL_TRY(fl_json_get_number_or(&dropout, model, "dropout", 0.0, path));
    FL_TRY(fl_json_get_string_or(&prefix, model, "continuing_subword_prefix", "", path));
    FL_TRY(fl_json_get_string_or(&suffix, model, "end_of_word_suffix", "", path));
    FL_CHECK(dropout <= 0.0, FL_ERR_UNSUPPORTED, "%s: dropout is not supported", path);
    FL_CHECK(!*prefix && !*suffix, FL_ERR_UNSUPPORTED,
             "%s: continuing_subword_prefix and end_of_word_suffix are not supported yet", path);
    FL_TRY(fl_json_get_bool_or(&tokenizer->fuse_unk, model, "fuse_unk", false, path));
    FL_TRY(fl_json_get_bool_or(&tokenizer->ignore_merges, model, "ignore_merges", false, path));
    FL_TRY(fl_json_get_bool_or(&byte_fallback, model, "byte_fallback", false, path));
    if (byte_fallback) FL_TRY(fl_load_byte_tokens(tokenizer, path));
    FL_TRY(fl_json_get_string_or(&unk, model, "unk_token", NULL, path));
    tokenizer->model_unk = unk ? fl_vocab_find(&tokenizer->vocab, unk, strlen(unk)) : -1;
    FL_CHECK(!unk || tokenizer->model_unk >= 0, FL_ERR_INPUT,
             "%s: unk_token \"%.60s\" is not in the vocabulary", path, unk);
    return FL_OK;
}

static fl_status load_bpe(fl_tokenizer *tokenizer, const json_t *model, const json_t *added,
                          const char *path)
{
    json_t *vocab, *merges;
    FL_TRY(fl_json_get_object(&vocab, model, "vocab", path));
    FL_TRY(fl_json_get_array(&merges, model, "merges", path));
    FL_TRY(fl_load_vocab(tokenizer, vocab, added, path));
    FL_TRY(load_merges(tokenizer, merges, path));
    return load_options(tokenizer, model, path);
}

/* One piece of a Unigram model, [text, score]. */
static fl_status load_scored(fl_tokenizer *tokenizer, const json_t *piece, size_t id,
                             const char *path)
{
    const json_t *text = json_array_get(piece, 0), *score = json_array_get(piece, 1);
    FL_CHECK(json_array_size(piece) == 2 && json_is_string(text) && json_is_number(score),
             FL_ERR_INPUT, "%s: vocab[%zu] must be a string and a number", path, id);
    const char *other =
        fl_tokenizer_token(tokenizer, fl_vocab_find(&tokenizer->vocab, json_string_value(text),
                                                    json_string_length(text)));
    FL_CHECK(!other, FL_ERR_INPUT, "%s: vocab[%zu] \"%.60s\" is listed twice", path, id, other);
    FL_TRY(fl_load_token(tokenizer, (int64_t)id, json_string_value(text), true, path));
    return fl_unigram_put(tokenizer, (int32_t)id, json_number_value(score), path);
}

static fl_status load_unigram(fl_tokenizer *tokenizer, const json_t *model, const json_t *added,
                              const char *path)
{
    json_t *vocab;
    int64_t unk, largest;
    bool byte_fallback;
    FL_TRY(fl_json_get_array(&vocab, model, "vocab", path));
    const size_t count = json_array_size(vocab);
    FL_CHECK(count > 0 && count <= FL_MAX_VOCAB, FL_ERR_INPUT, "%s: vocab has %zu pieces", path,
             count);
    largest = (int64_t)count - 1;
    FL_CHECK(json_is_integer(json_object_get(model, "unk_id")), FL_ERR_UNSUPPORTED,
             "%s: a Unigram model without unk_id is not supported", path);
    FL_TRY(fl_json_get_int(&unk, model, "unk_id", 0, largest, path));
    FL_TRY(scan_added(added, path, &largest));
    FL_TRY(fl_vocab_init(&tokenizer->vocab, tokenizer->arena, (int32_t)(largest + 1),
                         count + json_array_size(added)));
    tokenizer->model = FL_MODEL_UNIGRAM;
    tokenizer->model_unk = (int32_t)unk;
    FL_TRY(fl_unigram_init(tokenizer));
    for (size_t i = 0; i < count; i++)
        FL_TRY(load_scored(tokenizer, json_array_get(vocab, i), i, path));
    FL_TRY(fl_json_get_bool_or(&byte_fallback, model, "byte_fallback", false, path));
    return byte_fallback ? fl_load_byte_tokens(tokenizer, path) : FL_OK;
}

/* The model's name may be missing in files of older versions; they held BPE. */
fl_status fl_load_model(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *model, *added;
    const char *type;
    FL_TRY(fl_json_get_object(&model, root, "model", path));
    FL_TRY(fl_json_get_string_or(&type, model, "type", "BPE", path));
    FL_TRY(fl_json_get_array_or(&added, root, "added_tokens", path));
    if (strcmp(type, "BPE") == 0) return load_bpe(tokenizer, model, added, path);
    if (strcmp(type, "Unigram") == 0) return load_unigram(tokenizer, model, added, path);
    FL_FAIL(FL_ERR_UNSUPPORTED, "%s: model %.60s is not supported yet", path, type);
}
