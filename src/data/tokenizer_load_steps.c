/* What stands around the model in a tokenizer.json: normalizer, pre_tokenizer, decoder,
 * post_processor.  Every part is read completely or refused by name. */
#include "data/tokenizer_load.h"

#include <string.h>

static fl_status not_supported(const char *path, const char *part, const char *type)
{
    FL_FAIL(FL_ERR_UNSUPPORTED, "%s: %s %.60s is not supported yet", path, part, type);
}

static fl_status copy_piece(fl_tokenizer *tokenizer, fl_piece *out, const json_t *object,
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

static fl_status read_replace(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                              const char *part, const char *path)
{
    json_t *pattern;
    FL_TRY(fl_json_get_object(&pattern, object, "pattern", path));
    if (!json_object_get(pattern, "String"))
        return not_supported(path, part, "Replace with a pattern that is no String");
    step->kind = FL_STEP_REPLACE;
    FL_TRY(copy_piece(tokenizer, &step->pattern, pattern, "String", path));
    FL_CHECK(step->pattern.length > 0, FL_ERR_UNSUPPORTED,
             "%s: %s Replace of an empty pattern is not supported", path, part);
    return copy_piece(tokenizer, &step->content, object, "content", path);
}

typedef fl_status (*read_step)(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                               const char *type, const char *path);

static fl_status read_normalizer(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                                 const char *type, const char *path)
{
    if (strcmp(type, "Replace") == 0)
        return read_replace(tokenizer, step, object, "normalizer", path);
    if (strcmp(type, "Prepend") != 0) return not_supported(path, "normalizer", type);
    step->kind = FL_STEP_PREPEND;
    return copy_piece(tokenizer, &step->content, object, "prepend", path);
}

static fl_status read_decoder(fl_tokenizer *tokenizer, fl_step *step, const json_t *object,
                              const char *type, const char *path)
{
    if (strcmp(type, "Replace") == 0) return read_replace(tokenizer, step, object, "decoder", path);
    if (strcmp(type, "ByteFallback") == 0) {
        step->kind = FL_STEP_BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        step->kind = FL_STEP_FUSE;
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = FL_STEP_STRIP;
        FL_TRY(copy_piece(tokenizer, &step->content, object, "content", path));
        FL_CHECK(step->content.length > 0, FL_ERR_INPUT,
                 "%s: decoder Strip needs one character as content", path);
        FL_TRY(fl_json_get_int(&step->start, object, "start", 0, INT32_MAX, path));
        FL_TRY(fl_json_get_int(&step->stop, object, "stop", 0, INT32_MAX, path));
    } else {
        return not_supported(path, "decoder", type);
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

/* Defaults and the older key add_prefix_space as the library reads them. */
fl_status fl_load_pre_tokenizer(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *object;
    const char *type, *scheme;
    bool add_prefix_space;
    fl_metaspace *metaspace = &tokenizer->metaspace;
    FL_TRY(fl_json_get_object_or(&object, root, "pre_tokenizer", path));
    if (!object) return FL_OK;
    FL_TRY(fl_json_get_string(&type, object, "type", path));
    if (strcmp(type, "Metaspace") != 0) return not_supported(path, "pre_tokenizer", type);
    FL_TRY(fl_json_get_string_or(&scheme, object, "prepend_scheme", "always", path));
    FL_TRY(fl_json_get_bool_or(&metaspace->split, object, "split", true, path));
    FL_TRY(fl_json_get_bool_or(&add_prefix_space, object, "add_prefix_space", true, path));
    if (strcmp(scheme, "always") == 0)
        metaspace->scheme = FL_PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        metaspace->scheme = FL_PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        metaspace->scheme = FL_PREPEND_NEVER;
    else
        return not_supported(path, "prepend_scheme", scheme);
    FL_CHECK(add_prefix_space || metaspace->scheme == FL_PREPEND_NEVER, FL_ERR_UNSUPPORTED,
             "%s: pre_tokenizer Metaspace has add_prefix_space = false with prepend_scheme = %s",
             path, scheme);
    metaspace->replace.kind = FL_STEP_REPLACE;
    metaspace->replace.pattern = (fl_piece){" ", 1};
    FL_TRY(copy_piece(tokenizer, &metaspace->replace.content, object, "replacement", path));
    FL_CHECK(metaspace->replace.content.length > 0, FL_ERR_INPUT,
             "%s: pre_tokenizer Metaspace needs one character as replacement", path);
    metaspace->is_used = true;
    return FL_OK;
}

/* Adds the ids that a special token of the template stands for.  A template names its tokens by a
 * key of its own; what counts are the ids under that key. */
static fl_status add_around(const fl_tokenizer *tokenizer, fl_around *around, const json_t *piece,
                            const json_t *specials, const char *path)
{
    const char *name;
    json_t *special, *ids;
    FL_TRY(fl_json_get_string(&name, piece, "id", path));
    FL_TRY(fl_json_get_object(&special, specials, name, path));
    FL_TRY(fl_json_get_array(&ids, special, "ids", path));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        FL_CHECK(id >= 0 && id < tokenizer->vocab.size && tokenizer->vocab.entries[id].text,
                 FL_ERR_INPUT, "%s: post_processor: an id of \"%.60s\" is not in the vocabulary",
                 path, name);
        FL_CHECK(around->count < FL_MAX_AROUND, FL_ERR_UNSUPPORTED,
                 "%s: post_processor with more than %d special tokens is not supported", path,
                 FL_MAX_AROUND);
        around->ids[around->count++] = (int32_t)id;
    }
    return FL_OK;
}

/* Only "single" is read: pairs of texts are for models that compare two sentences. */
static fl_status read_template(fl_tokenizer *tokenizer, const json_t *object, const char *path)
{
    json_t *single, *specials;
    FL_TRY(fl_json_get_array(&single, object, "single", path));
    FL_TRY(fl_json_get_object(&specials, object, "special_tokens", path));
    size_t sequences = 0;
    for (size_t i = 0; i < json_array_size(single); i++) {
        json_t *piece, *sequence;
        FL_TRY(fl_json_get_object_or(&sequence, json_array_get(single, i), "Sequence", path));
        if (sequence) {
            sequences++;
            continue;
        }
        FL_TRY(fl_json_get_object(&piece, json_array_get(single, i), "SpecialToken", path));
        FL_TRY(add_around(tokenizer, sequences ? &tokenizer->after : &tokenizer->before, piece,
                          specials, path));
    }
    FL_CHECK(sequences == 1, FL_ERR_INPUT,
             "%s: post_processor must hold the text once, not %zu "
             "times",
             path, sequences);
    return FL_OK;
}

fl_status fl_load_post_processor(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *object;
    const char *type;
    FL_TRY(fl_json_get_object_or(&object, root, "post_processor", path));
    if (!object) return FL_OK;
    FL_TRY(fl_json_get_string(&type, object, "type", path));
    if (strcmp(type, "TemplateProcessing") != 0) return not_supported(path, "post_processor", type);
    return read_template(tokenizer, object, path);
}
