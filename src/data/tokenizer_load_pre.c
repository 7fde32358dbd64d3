/* The pre-tokenizer of a tokenizer.json: every kind becomes a split by a pattern, marks at word
 * boundaries, or both. */
#include "data/tokenizer_load.h"

#include <string.h>

/* What Hugging Face's library looks for where the file names no pattern.  Those of Digits,
 * Punctuation and Whitespace are sets of characters or Rust patterns there. */
static const char gpt2_pattern[] = FL_PATTERN_GPT2;
static const char word_pattern[] = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]+|"
                                   "[^\\s\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]+";
static const char punctuation_pattern[] = "[\\p{P}!-/:-@\\[-`{-~]";

static fl_status next_step(fl_tokenizer *tokenizer, fl_pre_step **out, const char *path)
{
    fl_pre_steps *pre = &tokenizer->pre;
    FL_CHECK(pre->count < FL_MAX_STEPS, FL_ERR_UNSUPPORTED,
             "%s: more than %d pretokenizers are not supported", path, FL_MAX_STEPS);
    *out = &pre->step[pre->count++];
    return FL_OK;
}

fl_status fl_add_split(fl_tokenizer *tokenizer, const char *pattern, fl_split_kind split,
                       bool invert, const char *path)
{
    fl_pre_step *step;
    FL_TRY(next_step(tokenizer, &step, path));
    step->split = split;
    step->invert = invert;
    return fl_add_regex(tokenizer, &step->regex, pattern, path);
}

/* A pattern that matches just this text. */
static fl_status add_literal(fl_tokenizer *tokenizer, const char *text, fl_split_kind split,
                             bool invert, const char *path)
{
    fl_buf pattern = {0};
    fl_status status = FL_OK;
    FL_CHECK(*text, FL_ERR_UNSUPPORTED, "%s: a Split at an empty text is not supported", path);
    for (size_t i = 0; text[i] && status == FL_OK; i++) {
        const unsigned char c = (unsigned char)text[i];
        const bool is_plain = c >= 0x80 || c <= ' ' || (c >= '0' && c <= '9') ||
                              (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        status = fl_buf_addf(&pattern, is_plain ? "%c" : "\\%c", c);
    }
    if (status == FL_OK)
        status = fl_add_split(tokenizer, fl_buf_text(&pattern), split, invert, path);
    fl_buf_fini(&pattern);
    return status;
}

static fl_status add_marks(fl_tokenizer *tokenizer, fl_piece mark, fl_prepend_scheme scheme,
                           const char *path)
{
    fl_pre_step *step;
    FL_TRY(next_step(tokenizer, &step, path));
    step->scheme = scheme;
    step->mark.content = mark;
    return FL_OK;
}

static fl_status read_metaspace(fl_tokenizer *tokenizer, const json_t *object, const char *path)
{
    bool split;
    fl_prepend_scheme scheme;
    fl_piece mark;
    FL_TRY(fl_json_get_bool_or(&split, object, "split", true, path));
    FL_TRY(fl_load_scheme(&scheme, object, path));
    FL_TRY(fl_load_piece(tokenizer, &mark, object, "replacement", path));
    FL_CHECK(mark.length > 0, FL_ERR_INPUT,
             "%s: pre_tokenizer Metaspace needs one character as replacement", path);
    FL_TRY(add_marks(tokenizer, mark, scheme, path));
    if (!split) return FL_OK;
    return add_literal(tokenizer, mark.text, FL_SPLIT_MERGED_WITH_NEXT, false, path);
}

static fl_status read_byte_level(fl_tokenizer *tokenizer, const json_t *object, const char *path)
{
    bool add_prefix_space, use_regex;
    FL_TRY(fl_json_get_bool_or(&add_prefix_space, object, "add_prefix_space", true, path));
    FL_TRY(fl_json_get_bool_or(&use_regex, object, "use_regex", true, path));
    if (add_prefix_space) FL_TRY(add_marks(tokenizer, (fl_piece){" ", 1}, FL_PREPEND_ALWAYS, path));
    tokenizer->byte_level = true;
    if (!use_regex) return FL_OK;
    return fl_add_split(tokenizer, gpt2_pattern, FL_SPLIT_ISOLATED, false, path);
}

static fl_status read_behavior(fl_split_kind *out, const json_t *object, const char *fallback,
                               const char *path)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name;
    FL_TRY(fl_json_get_string_or(&name, object, "behavior", fallback, path));
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (fl_split_kind)i;
            return FL_OK;
        }
    return fl_not_supported(path, "behavior", name ? name : "(none)");
}

static fl_status read_split(fl_tokenizer *tokenizer, const json_t *object, const char *path)
{
    json_t *pattern;
    const char *text;
    fl_split_kind split;
    bool invert;
    FL_TRY(fl_json_get_object(&pattern, object, "pattern", path));
    FL_TRY(read_behavior(&split, object, NULL, path));
    FL_TRY(fl_json_get_bool_or(&invert, object, "invert", false, path));
    FL_TRY(fl_json_get_string_or(&text, pattern, "Regex", NULL, path));
    if (text) return fl_add_split(tokenizer, text, split, invert, path);
    FL_TRY(fl_json_get_string(&text, pattern, "String", path));
    return add_literal(tokenizer, text, split, invert, path);
}

static fl_status read_one(fl_tokenizer *tokenizer, const json_t *object, const char *path)
{
    const char *type;
    FL_TRY(fl_json_get_string(&type, object, "type", path));
    FL_CHECK(!tokenizer->byte_level, FL_ERR_UNSUPPORTED,
             "%s: pre_tokenizer %.60s behind ByteLevel is not supported", path, type);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(tokenizer, object, path);
    if (strcmp(type, "Split") == 0) return read_split(tokenizer, object, path);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(tokenizer, object, path);
    if (strcmp(type, "Whitespace") == 0)
        return fl_add_split(tokenizer, word_pattern, FL_SPLIT_REMOVED, true, path);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return fl_add_split(tokenizer, "\\s", FL_SPLIT_REMOVED, false, path);
    if (strcmp(type, "Digits") == 0) {
        bool individual;
        FL_TRY(fl_json_get_bool_or(&individual, object, "individual_digits", false, path));
        return fl_add_split(tokenizer, "\\p{N}",
                            individual ? FL_SPLIT_ISOLATED : FL_SPLIT_CONTIGUOUS, false, path);
    }
    if (strcmp(type, "Punctuation") == 0) {
        fl_split_kind split;
        FL_TRY(read_behavior(&split, object, "Isolated", path));
        return fl_add_split(tokenizer, punctuation_pattern, split, false, path);
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        FL_TRY(fl_add_split(tokenizer, "\\s", FL_SPLIT_REMOVED, false, path));
        return fl_add_split(tokenizer, punctuation_pattern, FL_SPLIT_ISOLATED, false, path);
    }
    return fl_not_supported(path, "pre_tokenizer", type);
}

fl_status fl_load_pre_tokenizer(fl_tokenizer *tokenizer, const json_t *root, const char *path)
{
    json_t *object, *array;
    const char *type;
    FL_TRY(fl_json_get_object_or(&object, root, "pre_tokenizer", path));
    if (!object) return FL_OK;
    FL_TRY(fl_json_get_string(&type, object, "type", path));
    if (strcmp(type, "Sequence") != 0) return read_one(tokenizer, object, path);
    FL_TRY(fl_json_get_array(&array, object, "pretokenizers", path));
    for (size_t i = 0; i < json_array_size(array); i++)
        FL_TRY(read_one(tokenizer, json_array_get(array, i), path));
    return FL_OK;
}
