/* The added tokens of a tokenizer.json, and tokens that are added from elsewhere. */
#include "data/tokenizer_load.h"

#include <string.h>

/* Two texts with one id would decode to whichever came last; Hugging Face does not notice. */
fl_status fl_load_token(fl_tokenizer *tokenizer, int64_t id, const char *text, bool in_model,
                        const char *path)
{
    const char *other = tokenizer->vocab.entries[id].text;
    FL_CHECK(!other, FL_ERR_INPUT, "%s: \"%.60s\" and \"%.60s\" both have the id %lld", path, other,
             text, (long long)id);
    return fl_vocab_put(&tokenizer->vocab, tokenizer->arena, (int32_t)id, text, strlen(text),
                        in_model);
}

/* The sets were allocated for all tokens that can come. */
static void append(fl_added_set *set, const fl_added *added)
{
    set->items[set->count++] = *added;
}

void fl_add_normal(fl_tokenizer *tokenizer, int32_t id)
{
    const fl_vocab_entry *entry = &tokenizer->vocab.entries[id];
    append(&tokenizer->normal, &(fl_added){.text = {entry->text, entry->length}, .id = id});
}

void fl_add_special(fl_tokenizer *tokenizer, int32_t id)
{
    fl_vocab_entry *entry = &tokenizer->vocab.entries[id];
    if (entry->is_special) return;
    entry->is_special = true;
    for (size_t i = 0; i < tokenizer->raw.count; i++)
        if (tokenizer->raw.items[i].id == id) return;
    append(&tokenizer->raw, &(fl_added){.text = {entry->text, entry->length}, .id = id});
}

/* The pattern of a token that is looked for after normalisation is its normalised text. */
static fl_status append_normal(fl_tokenizer *tokenizer, fl_added added, fl_encode_work *work)
{
    const fl_norm *norm;
    FL_TRY(
        fl_normalize(work, &tokenizer->normalizer, added.text.text, 0, added.text.length, &norm));
    char *copy;
    FL_TRY(fl_arena_text(tokenizer->arena, &copy, norm->length ? norm->text : "", norm->length));
    added.text = (fl_piece){copy, norm->length};
    if (norm->length > 0) append(&tokenizer->normal, &added);
    return FL_OK;
}

static fl_status add_token(fl_tokenizer *tokenizer, const json_t *token, fl_encode_work *work,
                           const char *path)
{
    int64_t id;
    const char *text;
    bool normalized, special;
    fl_added added = {0};
    FL_TRY(fl_json_get_int(&id, token, "id", 0, FL_MAX_VOCAB - 1, path));
    FL_TRY(fl_json_get_string(&text, token, "content", path));
    FL_TRY(fl_json_get_bool_or(&added.single_word, token, "single_word", false, path));
    FL_TRY(fl_json_get_bool_or(&added.lstrip, token, "lstrip", false, path));
    FL_TRY(fl_json_get_bool_or(&added.rstrip, token, "rstrip", false, path));
    FL_TRY(fl_json_get_bool_or(&normalized, token, "normalized", false, path));
    FL_TRY(fl_json_get_bool_or(&special, token, "special", false, path));
    if (!*text) return FL_OK;
    const int32_t present = fl_vocab_find(&tokenizer->vocab, text, strlen(text));
    FL_CHECK(present < 0 || present == id, FL_ERR_INPUT,
             "%s: added token \"%.60s\" has the id %lld, but %d in the vocabulary", path, text,
             (long long)id, (int)present);
    if (present < 0) FL_TRY(fl_load_token(tokenizer, id, text, false, path));

    // Hugging Face gives an added token the next free id, whatever the file says; we take the
    // file's, which is what the model was trained with.
    fl_vocab_entry *entry = &tokenizer->vocab.entries[id];
    FL_CHECK(!entry->is_added, FL_ERR_INPUT, "%s: added token \"%.60s\" is listed twice", path,
             text);
    entry->is_added = true;
    entry->is_special = special;
    added.id = (int32_t)id;
    added.text = (fl_piece){entry->text, entry->length};
    if (normalized && !special) return append_normal(tokenizer, added, work);
    append(&tokenizer->raw, &added);
    return FL_OK;
}

fl_status fl_added_sets_init(fl_tokenizer *tokenizer, size_t count)
{
    FL_TRY(fl_arena_alloc(tokenizer->arena, &tokenizer->raw.items, count + FL_NUM_SPECIALS,
                          sizeof *tokenizer->raw.items));
    return fl_arena_alloc(tokenizer->arena, &tokenizer->normal.items, count,
                          sizeof *tokenizer->normal.items);
}

fl_status fl_load_added(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *array;
    FL_TRY(fl_json_get_array_or(&array, root, "added_tokens", path));
    const size_t count = json_array_size(array);
    FL_TRY(fl_added_sets_init(tokenizer, count));
    fl_encode_work *work;
    FL_TRY(fl_encode_work_create(&work));
    fl_status status = FL_OK;
    for (size_t i = 0; i < count && status == FL_OK; i++)
        status = add_token(tokenizer, json_array_get(array, i), work, path);
    fl_encode_work_destroy(work);
    return status;
}
