/* Opening a tokenizer: the file that holds it, then tokenizer_config.json, which names bos, eos,
 * unk and pad and may overrule what is put around a text. */
#include "data/tokenizer_load.h"
#include "base/file.h"

#include <dirent.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_FILE = 1 << 28 };

static fl_status load_tokenizer(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    FL_TRY(fl_load_model(tokenizer, root, path));
    FL_TRY(fl_load_normalizer(tokenizer, root, path));
    FL_TRY(fl_load_pre_tokenizer(tokenizer, root, path));
    FL_CHECK(!tokenizer->byte_level || tokenizer->model == FL_MODEL_BPE, FL_ERR_UNSUPPORTED,
             "%s: a Unigram model with the pre_tokenizer ByteLevel is not supported", path);
    if (tokenizer->model == FL_MODEL_BPE) FL_TRY(fl_bpe_prepare(tokenizer, path));
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

static fl_status parse_json(json_t **out, const char *data, size_t length, const char *path)
{
    fl_buf wide = {0};
    fl_status status = widen_integers(&wide, data, length);
    if (status == FL_OK) status = fl_json_parse(out, fl_buf_text(&wide), wide.length, path, 1);
    fl_buf_fini(&wide);
    return status;
}

/* vocab.json, with merges.txt beside it. */
static fl_status load_vocab_and_merges(fl_tokenizer *tokenizer, const json_t *vocab,
                                       const char *path)
{
    fl_buf merges_path = {0}, merges = {0};
    fl_status status;
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash + 1 - path) : 0;
    FL_TRY_GOTO(fl_buf_add(&merges_path, path, length), out);
    FL_TRY_GOTO(fl_buf_add_text(&merges_path, "merges.txt"), out);
    FL_TRY_GOTO(fl_file_read(&merges, merges_path.data, MAX_FILE), out);
    FL_CHECK_GOTO(strlen(fl_buf_text(&merges)) == merges.length, out, FL_ERR_INPUT,
                  "%s: has a zero byte", merges_path.data);
    status = fl_load_gpt2(tokenizer, vocab, fl_buf_text(&merges), merges_path.data);
out:
    fl_buf_fini(&merges_path);
    fl_buf_fini(&merges);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* Any of the kinds, told apart by what is in the file; of JSON files vocab.json is one by name. */
static fl_status load_data(fl_tokenizer *tokenizer, const fl_buf *data, const char *path)
{
    const char *text = fl_buf_text(data);
    if (fl_is_tiktoken(text, data->length))
        return fl_load_tiktoken(tokenizer, text, data->length, path);
    if (!ends_with(path, ".json") && text[0] != '{')
        return fl_load_sentencepiece(tokenizer, text, data->length, path);
    json_t *root = NULL;
    FL_TRY(parse_json(&root, text, data->length, path));
    const fl_status status = ends_with(path, "vocab.json")
                                 ? load_vocab_and_merges(tokenizer, root, path)
                                 : load_tokenizer(tokenizer, root, path);
    json_decref(root);
    return status;
}

static fl_status load_file(fl_tokenizer *tokenizer, const char *path)
{
    fl_buf data = {0};
    fl_status status = fl_file_read(&data, path, MAX_FILE);
    if (status == FL_OK) status = load_data(tokenizer, &data, path);
    fl_buf_fini(&data);
    return status;
}

static fl_status load_config_file(fl_tokenizer *tokenizer, const char *path)
{
    fl_buf data = {0};
    json_t *root = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_file_read(&data, path, MAX_FILE), out);
    FL_TRY_GOTO(parse_json(&root, fl_buf_text(&data), data.length, path), out);
    status = load_config(tokenizer, root, path);
out:
    json_decref(root);
    fl_buf_fini(&data);
    return status;
}

/* The one file of a folder whose name ends with .tiktoken; *path stays empty when there is none. */
static fl_status find_tiktoken(const char *dir, fl_buf *path)
{
    fl_status status = FL_OK;
    DIR *folder = opendir(dir);
    fl_buf_clear(path);
    if (!folder) return FL_OK; // said later, about the file that is looked for first
    for (const struct dirent *entry; status == FL_OK && (entry = readdir(folder));) {
        if (!ends_with(entry->d_name, ".tiktoken")) continue;
        status = path->length > 0 ? FL_FAIL_VALUE(FL_ERR_INPUT, "%s: more than one *.tiktoken", dir)
                                  : fl_path_join(path, dir, entry->d_name);
    }
    closedir(folder);
    return status;
}

/* *path = the file of a folder that is read. */
static fl_status find_file(const char *dir, fl_buf *path)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        FL_TRY(fl_path_join(path, dir, names[i]));
        if (fl_path_exists(path->data)) return FL_OK;
    }
    FL_TRY(find_tiktoken(dir, path));
    if (path->length > 0) return FL_OK;
    FL_TRY(fl_path_join(path, dir, "merges.txt"));
    const bool has_merges = fl_path_exists(path->data);
    FL_TRY(fl_path_join(path, dir, "vocab.json"));
    if (has_merges && fl_path_exists(path->data)) return FL_OK;
    return fl_path_join(path, dir, names[0]);
}

/* *path = the tokenizer_config.json beside `file`. */
static fl_status find_config(const char *file, fl_buf *path)
{
    const char *slash = strrchr(file, '/');
    fl_buf_clear(path);
    FL_TRY(fl_buf_add(path, file, slash ? (size_t)(slash + 1 - file) : 0));
    return fl_buf_add_text(path, "tokenizer_config.json");
}

static fl_status finish(fl_tokenizer *tokenizer)
{
    int32_t *const special = tokenizer->special;
    if (special[FL_SPECIAL_UNK] < 0) special[FL_SPECIAL_UNK] = tokenizer->model_unk;
    // As the reference system does for Llama, which has no pad token.
    if (special[FL_SPECIAL_PAD] < 0) special[FL_SPECIAL_PAD] = special[FL_SPECIAL_UNK];
    FL_TRY(fl_added_set_prepare(&tokenizer->raw));
    return fl_added_set_prepare(&tokenizer->normal);
}

static fl_status create(fl_tokenizer **out)
{
    static atomic_uint_fast64_t num_created;
    fl_tokenizer *tokenizer;
    FL_TRY(fl_alloc(&tokenizer, 1, sizeof *tokenizer));
    tokenizer->serial = atomic_fetch_add(&num_created, 1) + 1;
    for (size_t i = 0; i < FL_NUM_SPECIALS; i++)
        tokenizer->special[i] = -1;
    const fl_status status = fl_arena_create(&tokenizer->arena);
    if (status != FL_OK)
        fl_tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

static fl_status open_path(fl_tokenizer *tokenizer, const char *path, fl_buf *file, fl_buf *config)
{
    if (fl_path_is_dir(path) || !fl_path_exists(path))
        FL_TRY(find_file(path, file));
    else
        FL_TRY(fl_buf_add_text(file, path));
    FL_TRY(load_file(tokenizer, file->data));
    FL_TRY(find_config(file->data, config));
    if (fl_path_exists(config->data)) FL_TRY(load_config_file(tokenizer, config->data));
    return finish(tokenizer);
}

fl_status fl_tokenizer_open(fl_tokenizer **out, const char *path)
{
    fl_tokenizer *tokenizer;
    fl_buf file = {0}, config = {0};
    FL_TRY(create(&tokenizer));
    const fl_status status = open_path(tokenizer, path, &file, &config);
    fl_buf_fini(&file);
    fl_buf_fini(&config);
    if (status != FL_OK)
        fl_tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

fl_status fl_tokenizer_open_memory(fl_tokenizer **out, const char *data, size_t length,
                                   const char *path)
{
    fl_tokenizer *tokenizer;
    fl_buf copy = {0};
    FL_TRY(create(&tokenizer));
    fl_status status = fl_buf_add(&copy, data, length);
    if (status == FL_OK) status = load_data(tokenizer, &copy, path);
    if (status == FL_OK) status = finish(tokenizer);
    fl_buf_fini(&copy);
    if (status != FL_OK)
        fl_tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

void fl_tokenizer_close(fl_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    for (size_t i = 0; i < tokenizer->num_regexes; i++)
        fl_regex_destroy(tokenizer->regexes[i]);
    fl_trie_fini(&tokenizer->pieces);
    fl_added_set_fini(&tokenizer->raw);
    fl_added_set_fini(&tokenizer->normal);
    fl_arena_destroy(tokenizer->arena);
    fl_free(tokenizer);
}
