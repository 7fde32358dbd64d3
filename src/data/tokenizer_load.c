/* Opening a tokenizer: tokenizer.json, then tokenizer_config.json, which names bos, eos, unk and
 * pad and may overrule what is put around a text. */
#include "data/tokenizer_load.h"
#include "base/file.h"

#include <string.h>

enum { MAX_FILE = 1 << 28 };

static fl_status load_tokenizer(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    FL_TRY(fl_load_model(tokenizer, root, path));
    FL_TRY(fl_load_normalizer(tokenizer, root, path));
    FL_TRY(fl_load_pre_tokenizer(tokenizer, root, path));
    FL_TRY(fl_load_decoder(tokenizer, root, path));
    FL_TRY(fl_load_post_processor(tokenizer, root, path));
    return fl_load_added(tokenizer, root, path);
}

static const struct {
    fl_special_kind kind;
    const char *key;
} special_keys[FL_NUM_SPECIALS] = {
    {FL_SPECIAL_BOS, "bos_token"},
    {FL_SPECIAL_EOS, "eos_token"},
    {FL_SPECIAL_UNK, "unk_token"},
    {FL_SPECIAL_PAD, "pad_token"},
};

/* A token is named by its text or by an object with its text as "content". */
static fl_status load_special(fl_tokenizer *tokenizer, const json_t *config, size_t which,
                              const char *path)
{
    const char *key = special_keys[which].key, *text;
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value))
        FL_TRY(fl_json_get_string(&text, value, "content", path));
    else
        FL_TRY(fl_json_get_string_or(&text, config, key, NULL, path));
    if (!text) return FL_OK;
    const int32_t id = fl_vocab_find(&tokenizer->vocab, text, strlen(text));
    FL_CHECK(id >= 0 && *text, FL_ERR_INPUT, "%s: %s \"%.60s\" is not in the vocabulary", path, key,
             text);
    tokenizer->special[special_keys[which].kind] = id;
    fl_add_special(tokenizer, id);
    return FL_OK;
}

/* add_bos_token and add_eos_token, where they are given, decide what stands around a text. */
static fl_status load_add(fl_tokenizer *tokenizer, const json_t *config, const char *key,
                          fl_special_kind kind, fl_around *around, const char *path)
{
    bool add;
    if (!json_object_get(config, key) || json_is_null(json_object_get(config, key))) return FL_OK;
    FL_TRY(fl_json_get_bool(&add, config, key, path));
    const int32_t id = tokenizer->special[kind];
    FL_CHECK(!add || id >= 0, FL_ERR_INPUT, "%s: %s is true, but no such token is named", path,
             key);
    around->count = add;
    around->ids[0] = id;
    return FL_OK;
}

static fl_status load_config(fl_tokenizer *tokenizer, const json_t *config, const char *path)
{
    FL_CHECK(json_is_object(config), FL_ERR_INPUT, "%s: must hold an object", path);
    for (size_t i = 0; i < FL_NUM_SPECIALS; i++)
        FL_TRY(load_special(tokenizer, config, i, path));
    FL_TRY(load_add(tokenizer, config, "add_bos_token", FL_SPECIAL_BOS, &tokenizer->before, path));
    return load_add(tokenizer, config, "add_eos_token", FL_SPECIAL_EOS, &tokenizer->after, path);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts_fraction(char c)
{
    return c == '.' || c == 'e' || c == 'E';
}

/* Writes integers beyond 64 bits as numbers with a fraction.  Hugging Face's "no limit" is one:
 * "model_max_length": 1000000000000000019884624838656; a strict reader refuses it. */
static fl_status widen_integers(fl_buf *out, const char *text, size_t length)
{
    enum { SAFE_DIGITS = 18 };
    bool in_string = false, in_fraction = false;
    size_t copied = 0, digits = 0;
    for (size_t at = 0; at < length; at++) {
        const char c = text[at], next = at + 1 < length ? text[at + 1] : 0;
        if (c == '"') in_string = !in_string;
        if (in_string) {
            at += c == '\\';
            continue;
        }
        if (starts_fraction(c))
            in_fraction = true;
        else if (!is_digit(c) && c != '+' && c != '-')
            in_fraction = false;
        digits = is_digit(c) ? digits + 1 : 0;
        if (digits <= SAFE_DIGITS || in_fraction || is_digit(next) || starts_fraction(next))
            continue;
        FL_TRY(fl_buf_add(out, text + copied, at + 1 - copied));
        FL_TRY(fl_buf_add_text(out, ".0"));
        copied = at + 1;
    }
    return fl_buf_add(out, text + copied, length - copied);
}

static fl_status load_json(fl_tokenizer *tokenizer, const char *path,
                           fl_status (*load)(fl_tokenizer *, const json_t *, const char *))
{
    fl_buf text = {0}, wide = {0};
    json_t *root = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_file_read(&text, path, MAX_FILE), out);
    FL_TRY_GOTO(widen_integers(&wide, fl_buf_text(&text), text.length), out);
    FL_TRY_GOTO(fl_json_parse(&root, fl_buf_text(&wide), wide.length, path, 1), out);
    status = load(tokenizer, root, path);
out:
    json_decref(root);
    fl_buf_fini(&wide);
    fl_buf_fini(&text);
    return status;
}

static fl_status open_dir(fl_tokenizer *tokenizer, const char *dir, fl_buf *path)
{
    FL_TRY(fl_path_join(path, dir, "tokenizer.model"));
    const bool has_model = fl_path_exists(path->data);
    FL_TRY(fl_path_join(path, dir, "tokenizer.json"));
    FL_CHECK(fl_path_exists(path->data) || !has_model, FL_ERR_UNSUPPORTED,
             "%s has a tokenizer.model but no tokenizer.json; make one with Transformers: "
             "AutoTokenizer.from_pretrained(\"%s\").save_pretrained(\"%s\")",
             dir, dir, dir);
    FL_TRY(load_json(tokenizer, path->data, load_tokenizer));
    FL_TRY(fl_path_join(path, dir, "tokenizer_config.json"));
    if (fl_path_exists(path->data)) FL_TRY(load_json(tokenizer, path->data, load_config));

    int32_t *const special = tokenizer->special;
    if (special[FL_SPECIAL_UNK] < 0) special[FL_SPECIAL_UNK] = tokenizer->model_unk;
    // As the reference system does for Llama, which has no pad token.
    if (special[FL_SPECIAL_PAD] < 0) special[FL_SPECIAL_PAD] = special[FL_SPECIAL_UNK];
    fl_added_set_sort(&tokenizer->raw);
    fl_added_set_sort(&tokenizer->normal);
    return FL_OK;
}

fl_status fl_tokenizer_open(fl_tokenizer **out, const char *dir)
{
    fl_tokenizer *tokenizer;
    fl_buf path = {0};
    fl_status status;
    FL_TRY(fl_alloc(&tokenizer, 1, sizeof *tokenizer));
    for (size_t i = 0; i < FL_NUM_SPECIALS; i++)
        tokenizer->special[i] = -1;
    FL_TRY_GOTO(fl_arena_create(&tokenizer->arena), out);
    FL_TRY_GOTO(open_dir(tokenizer, dir, &path), out);
    *out = tokenizer;
    tokenizer = NULL;
out:
    fl_buf_fini(&path);
    fl_tokenizer_close(tokenizer);
    return status;
}

void fl_tokenizer_close(fl_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    fl_arena_destroy(tokenizer->arena);
    fl_free(tokenizer);
}
