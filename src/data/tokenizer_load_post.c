/* The post-processor of a tokenizer.json: what stands around a text. */
#include "data/tokenizer_load.h"

#include <string.h>

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
    json_t *list = NULL;
    if (strcmp(type, "Sequence") == 0) FL_TRY(fl_json_get_array(&list, object, "processors", path));
    size_t templates = 0;
    for (size_t i = 0; i < (list ? json_array_size(list) : 1); i++) {
        const json_t *item = list ? json_array_get(list, i) : object;
        FL_TRY(fl_json_get_string(&type, item, "type", path));
        if (strcmp(type, "ByteLevel") == 0) continue; // changes offsets only; ours stay whole
        if (strcmp(type, "TemplateProcessing") != 0 || templates++ > 0)
            return fl_not_supported(path, "post_processor", type);
        FL_TRY(read_template(tokenizer, item, path));
    }
    return FL_OK;
}
