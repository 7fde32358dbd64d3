/* The normalizer and the decoder of a tokenizer.json.  As with the other parts, each is read
 * completely or refused by name. */
#include "data/tokenizer_load.h"

#include <string.h>

fl_status fl_not_supported(const char *path, const char *part, const char *type)
{
    FL_FAIL(FL_ERR_UNSUPPORTED, "%s: %s %.60s is not supported yet", path, part, type);
}

fl_status fl_load_piece(fl_tokenizer *tokenizer, fl_piece *out, const json_t *object,
                        const char *key, const char *path)
{
    const char *text;
    char *copy;
    FL_TRY(fl_json_get_string(&text, object, key, path));
    out->length = strlen(text);
    FL_TRY(fl_arena_text(tokenizer->arena, &copy, text, out->length));
    out->text = copy;
    return FL_OK;
}

fl_status fl_add_regex(fl_tokenizer *tokenizer, const fl_regex **out, const char *pattern,
                       const char *path)
{
    FL_CHECK(tokenizer->num_regexes < FL_MAX_REGEXES, FL_ERR_UNSUPPORTED,
             "%s: more than %d patterns are not supported", path, FL_MAX_REGEXES);
    fl_regex **const regex = &tokenizer->regexes[tokenizer->num_regexes];
    FL_TRY(fl_regex_compile(regex, pattern, strlen(pattern), path));
    tokenizer->num_regexes++;
    *out = *regex;
    return FL_OK;
}

static fl_status read_replace(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                              const char *part, const char *path)
{
    json_t *pattern;
    const char *regex;
    FL_TRY(fl_json_get_object(&pattern, object, "pattern", path));
    FL_TRY(fl_load_piece(tokenizer, &step->content, object, "content", path));
    FL_TRY(fl_json_get_string_or(&regex, pattern, "Regex", NULL, path));
    if (regex) {
        if (strcmp(part, "decoder") == 0) return fl_not_supported(path, part, "Replace of a Regex");
        step->kind = FL_STEP_REPLACE_REGEX;
        return fl_add_regex(tokenizer, &step->regex, regex, path);
    }
    step->kind = FL_STEP_REPLACE;
    FL_TRY(fl_load_piece(tokenizer, &step->pattern, pattern, "String", path));
    FL_CHECK(step->pattern.length > 0, FL_ERR_UNSUPPORTED,
             "%s: %s Replace of an empty pattern is not supported", path, part);
    return FL_OK;
}

typedef fl_status (*read_step)(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                               const char *type, const char *path);

/* SentencePiece's map of characters, in base64. */
static fl_status read_charsmap(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                               const char *path)
{
    const char *text;
    char *blob = NULL;
    fl_buf bytes = {0};
    fl_status status;
    step->kind = FL_STEP_CHARSMAP;
    step->start = true;
    FL_TRY(fl_json_get_string(&text, object, "precompiled_charsmap", path));
    const bool is_base64 = fl_base64_decode(&bytes, text, strlen(text), &status);
    if (status == FL_OK && !is_base64)
        status = FL_FAIL_VALUE(FL_ERR_INPUT, "%s: precompiled_charsmap is not base64", path);
    if (status == FL_OK)
        status = fl_arena_text(tokenizer->arena, &blob, fl_buf_text(&bytes), bytes.length);
    if (status == FL_OK) status = fl_charsmap_open(&step->map, blob, bytes.length, path);
    fl_buf_fini(&bytes);
    return status;
}

static const struct {
    const char *type;
    fl_step_kind kind;
} plain_normalizers[] = {
    {"NFC", FL_STEP_NFC},
    {"NFD", FL_STEP_NFD},
    {"NFKC", FL_STEP_NFKC},
    {"NFKD", FL_STEP_NFKD},
    {"Lowercase", FL_STEP_LOWERCASE},
};

static fl_status read_normalizer(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                                 const char *type, const char *path)
{
    for (size_t i = 0; i < sizeof plain_normalizers / sizeof *plain_normalizers; i++)
        if (strcmp(type, plain_normalizers[i].type) == 0) {
            step->kind = plain_normalizers[i].kind;
            return FL_OK;
        }
    if (strcmp(type, "Replace") == 0)
        return read_replace(tokenizer, step, object, "normalizer", path);
    if (strcmp(type, "Precompiled") == 0) return read_charsmap(tokenizer, step, object, path);
    if (strcmp(type, "Strip") == 0) {
        bool left, right;
        FL_TRY(fl_json_get_bool(&left, object, "strip_left", path));
        FL_TRY(fl_json_get_bool(&right, object, "strip_right", path));
        *step = (fl_step){.kind = FL_STEP_TRIM, .start = left, .stop = right};
        return FL_OK;
    }
    if (strcmp(type, "Prepend") != 0) return fl_not_supported(path, "normalizer", type);
    step->kind = FL_STEP_PREPEND;
    return fl_load_piece(tokenizer, &step->content, object, "prepend", path);
}

/* prepend_scheme, or the older key add_prefix_space, as the library reads them. */
fl_status fl_load_scheme(fl_prepend_scheme *out, const json_t *object, const char *path)
{
    const char *scheme;
    bool add_prefix_space;
    FL_TRY(fl_json_get_string_or(&scheme, object, "prepend_scheme", "always", path));
    FL_TRY(fl_json_get_bool_or(&add_prefix_space, object, "add_prefix_space", true, path));
    if (strcmp(scheme, "always") == 0)
        *out = FL_PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        *out = FL_PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        *out = FL_PREPEND_NEVER;
    else
        return fl_not_supported(path, "prepend_scheme", scheme);
    FL_CHECK(add_prefix_space || *out == FL_PREPEND_NEVER, FL_ERR_UNSUPPORTED,
             "%s: Metaspace has add_prefix_space = false with prepend_scheme = %s", path, scheme);
    return FL_OK;
}

static fl_status read_decoder(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                              const char *type, const char *path)
{
    if (strcmp(type, "Replace") == 0) return read_replace(tokenizer, step, object, "decoder", path);
    if (strcmp(type, "ByteFallback") == 0) {
        step->kind = FL_STEP_BYTE_FALLBACK;
    } else if (strcmp(type, "ByteLevel") == 0) {
        step->kind = FL_STEP_BYTE_LEVEL;
    } else if (strcmp(type, "Metaspace") == 0) {
        fl_prepend_scheme scheme;
        FL_TRY(fl_load_scheme(&scheme, object, path));
        FL_TRY(fl_load_piece(tokenizer, &step->pattern, object, "replacement", path));
        FL_CHECK(step->pattern.length > 0, FL_ERR_INPUT,
                 "%s: decoder Metaspace needs one character as replacement", path);
        step->kind = FL_STEP_METASPACE;
        step->start = scheme != FL_PREPEND_NEVER;
    } else if (strcmp(type, "Fuse") == 0) {
        step->kind = FL_STEP_FUSE;
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = FL_STEP_STRIP;
        FL_TRY(fl_load_piece(tokenizer, &step->content, object, "content", path));
        FL_CHECK(step->content.length > 0, FL_ERR_INPUT,
                 "%s: decoder Strip needs one character as content", path);
        FL_TRY(fl_json_get_int(&step->start, object, "start", 0, INT32_MAX, path));
        FL_TRY(fl_json_get_int(&step->stop, object, "stop", 0, INT32_MAX, path));
    } else {
        return fl_not_supported(path, "decoder", type);
    }
    return FL_OK;
}

/* One object, or a Sequence of them under `list`.  A Sequence in a Sequence would need recursion
 * on what stands in the file; no exporter writes one, so it is refused like an unknown step. */
static fl_status read_steps(fl_tokenizer *tokenizer, fl_steps *steps, const json_t *object,
                            const char *list, read_step read, const char *path)
{
    const char *type;
    FL_TRY(fl_json_get_string(&type, object, "type", path));
    if (strcmp(type, "Sequence") != 0) {
        steps->count = 1;
        return read(tokenizer, &steps->step[0], object, type, path);
    }
    json_t *array;
    FL_TRY(fl_json_get_array(&array, object, list, path));
    FL_CHECK(json_array_size(array) <= FL_MAX_STEPS, FL_ERR_UNSUPPORTED,
             "%s: more than %d %s are not supported", path, FL_MAX_STEPS, list);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        FL_TRY(fl_json_get_string(&type, item, "type", path));
        FL_TRY(read(tokenizer, &steps->step[i], item, type, path));
        steps->count++;
    }
    return FL_OK;
}

fl_status fl_load_normalizer(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *object;
    FL_TRY(fl_json_get_object_or(&object, root, "normalizer", path));
    if (!object) return FL_OK;
    return read_steps(tokenizer, &tokenizer->normalizer, object, "normalizers", read_normalizer,
                      path);
}

fl_status fl_load_decoder(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *object;
    FL_TRY(fl_json_get_object_or(&object, root, "decoder", path));
    if (!object) return FL_OK;
    tokenizer->has_decoder = true;
    return read_steps(tokenizer, &tokenizer->decoder, object, "decoders", read_decoder, path);
}
