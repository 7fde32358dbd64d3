/* Each getter is find (is it there?) and then the reader of its type (is it right?). */
#include "base/json.h"

#include "base/file.h"

#include <math.h>

enum { MAX_FILE_BYTES = 1 << 30 }; /* a small gzip file may unpack to any size */

fl_status fl_json_parse(json_t **out, const char *text, size_t length, const char *path,
                        size_t first_line)
{
    json_error_t error;
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!value) {
        FL_CHECK(json_error_code(&error) != json_error_out_of_memory, FL_ERR_MEMORY,
                 "out of memory while parsing %s", path);
        size_t line = first_line + (error.line > 0 ? (size_t)error.line - 1 : 0);
        FL_FAIL(FL_ERR_INPUT, "%s:%zu: invalid JSON: %s", path, line, error.text);
    }
    *out = value;
    return FL_OK;
}

fl_status fl_json_load_file(json_t **out, const char *path)
{
    fl_buf text = {0};
    fl_status status = fl_file_read(&text, path, MAX_FILE_BYTES);
    if (status == FL_OK) status = fl_json_parse(out, fl_buf_text(&text), text.length, path, 1);
    fl_buf_fini(&text);
    return status;
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a bool";
    case JSON_NULL:
        break;
    }
    return "null";
}

/* null counts as missing where the member is optional: configs of models write it that way.
 * *out = the member, or NULL when it is missing or null and need not be there. */
static fl_status find(json_t **out, const json_t *object, const char *key, bool required,
                      const char *path)
{
    FL_CHECK(json_is_object(object), FL_ERR_INPUT, "%s: expected an object with the key %s", path,
             key);
    json_t *value = json_object_get(object, key);
    FL_CHECK(value || !required, FL_ERR_INPUT, "%s: %s is missing", path, key);
    *out = !required && json_is_null(value) ? NULL : value;
    return FL_OK;
}

static fl_status wrong_type(const json_t *value, const char *key, const char *wanted,
                            const char *path)
{
    FL_FAIL(FL_ERR_INPUT, "%s: %s must be %s, not %s", path, key, wanted, type_name(value));
}

/* The six readers: NULL leaves *out alone, so that a fallback put there before stays. */

static fl_status read_string(const char **out, const json_t *value, const char *key,
                             const char *path)
{
    if (!value) return FL_OK;
    if (!json_is_string(value)) return wrong_type(value, key, "a string", path);
    *out = json_string_value(value);
    return FL_OK;
}

static fl_status read_int(int64_t *out, const json_t *value, const char *key, int64_t minimum,
                          int64_t maximum, const char *path)
{
    if (!value) return FL_OK;
    if (!json_is_integer(value)) return wrong_type(value, key, "an integer", path);
    int64_t number = json_integer_value(value);
    FL_CHECK(number >= minimum && number <= maximum, FL_ERR_INPUT,
             "%s: %s = %lld is outside [%lld, %lld]", path, key, (long long)number,
             (long long)minimum, (long long)maximum);
    *out = number;
    return FL_OK;
}

static fl_status read_number(double *out, const json_t *value, const char *key, const char *path)
{
    if (!value) return FL_OK;
    if (!json_is_number(value)) return wrong_type(value, key, "a number", path);
    double number = json_number_value(value);
    FL_CHECK(isfinite(number), FL_ERR_INPUT, "%s: %s is not finite", path, key);
    *out = number;
    return FL_OK;
}

static fl_status read_bool(bool *out, const json_t *value, const char *key, const char *path)
{
    if (!value) return FL_OK;
    if (!json_is_boolean(value)) return wrong_type(value, key, "true or false", path);
    *out = json_is_true(value);
    return FL_OK;
}

static fl_status read_array(json_t **out, json_t *value, const char *key, const char *path)
{
    if (value && !json_is_array(value)) return wrong_type(value, key, "an array", path);
    *out = value;
    return FL_OK;
}

static fl_status read_object(json_t **out, json_t *value, const char *key, const char *path)
{
    if (value && !json_is_object(value)) return wrong_type(value, key, "an object", path);
    *out = value;
    return FL_OK;
}

fl_status fl_json_get_string(const char **out, const json_t *object, const char *key,
                             const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, true, path));
    return read_string(out, value, key, path);
}

fl_status fl_json_get_int(int64_t *out, const json_t *object, const char *key, int64_t minimum,
                          int64_t maximum, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, true, path));
    return read_int(out, value, key, minimum, maximum, path);
}

fl_status fl_json_get_number(double *out, const json_t *object, const char *key, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, true, path));
    return read_number(out, value, key, path);
}

fl_status fl_json_get_bool(bool *out, const json_t *object, const char *key, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, true, path));
    return read_bool(out, value, key, path);
}

fl_status fl_json_get_array(json_t **out, const json_t *object, const char *key, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, true, path));
    return read_array(out, value, key, path);
}

fl_status fl_json_get_object(json_t **out, const json_t *object, const char *key, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, true, path));
    return read_object(out, value, key, path);
}

fl_status fl_json_get_string_or(const char **out, const json_t *object, const char *key,
                                const char *fallback, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, false, path));
    if (!value) *out = fallback;
    return read_string(out, value, key, path);
}

fl_status fl_json_get_int_or(int64_t *out, const json_t *object, const char *key, int64_t minimum,
                             int64_t maximum, int64_t fallback, const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, false, path));
    if (!value) *out = fallback;
    return read_int(out, value, key, minimum, maximum, path);
}

fl_status fl_json_get_number_or(double *out, const json_t *object, const char *key, double fallback,
                                const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, false, path));
    if (!value) *out = fallback;
    return read_number(out, value, key, path);
}

fl_status fl_json_get_bool_or(bool *out, const json_t *object, const char *key, bool fallback,
                              const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, false, path));
    if (!value) *out = fallback;
    return read_bool(out, value, key, path);
}

fl_status fl_json_get_array_or(json_t **out, const json_t *object, const char *key,
                               const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, false, path));
    return read_array(out, value, key, path);
}

fl_status fl_json_get_object_or(json_t **out, const json_t *object, const char *key,
                                const char *path)
{
    json_t *value;
    FL_TRY(find(&value, object, key, false, path));
    return read_object(out, value, key, path);
}
