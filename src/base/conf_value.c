/* One value: from text (defaults, command line) or from a libconfig setting, to its checked form.
 */
#include "base/conf_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool conf_is_bool_word(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "t", "yes", "y", "1"};
    static const char *const no[] = {"false", "f", "no", "n", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        *out = strcasecmp(text, yes[i]) == 0;
        if (*out || strcasecmp(text, no[i]) == 0) return true;
    }
    return false;
}

/* Stores after the check of the range.  `shown` is the number as the user wrote it, or as text. */
static fl_status keep_number(fl_conf *conf, conf_value *value, const char *label, double number,
                             const char *shown)
{
    const fl_conf_row *row = value->row;
    if (number >= row->minimum && number <= row->maximum) {
        if (row->type == FL_CONF_FLOAT) value->number = number;
        return FL_OK;
    }
    char range[80];
    conf_range_text(row, range, sizeof range);
    return conf_complain(conf, "%s = %s is %s%s", label, shown,
                         range[0] == '[' ? "outside " : "not ", range);
}

/* Integers for FLOAT keys come here too: "prox_mu = 1" is what people write. */
static fl_status keep_integer(fl_conf *conf, conf_value *value, const char *label, int64_t integer)
{
    char shown[32];
    snprintf(shown, sizeof shown, "%lld", (long long)integer);
    size_t faults = conf->errors.length;
    FL_TRY(keep_number(conf, value, label, (double)integer, shown));
    if (conf->errors.length == faults && value->row->type == FL_CONF_INT) value->integer = integer;
    return FL_OK;
}

static fl_status keep_double(fl_conf *conf, conf_value *value, const char *label, double number)
{
    if (!isfinite(number)) return conf_complain(conf, "%s is not a finite number", label);
    char shown[32];
    snprintf(shown, sizeof shown, "%.15g", number);
    return keep_number(conf, value, label, number, shown);
}

/* "local#" takes local0 and local12, "local" takes local. */
static bool word_matches(const char *word, size_t length, const char *text)
{
    bool numbered = length > 0 && word[length - 1] == '#';
    if (numbered) length--;
    if (strncmp(word, text, length) != 0) return false;
    const char *rest = text + length;
    if (!numbered) return *rest == 0;
    return *rest != 0 && rest[strspn(rest, "0123456789")] == 0;
}

static bool is_one_of(const char *words, const char *text)
{
    for (;;) {
        size_t length = strcspn(words, "|");
        if (word_matches(words, length, text)) return true;
        if (!words[length]) return false;
        words += length + 1;
    }
}

/* They would break lines of logs and of metrics.jsonl, and no path or template name has them. */
static bool has_control_character(const char *text, const char *allowed)
{
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 || *text == 0x7f) && !strchr(allowed, *text)) return true;
    return false;
}

static fl_status complain_about_word(fl_conf *conf, const char *words, const char *label,
                                     const char *text)
{
    fl_buf list = {0};
    fl_status status = conf_add_words(&list, words, ", ");
    if (status == FL_OK)
        status = conf_complain(conf, "%s = \"%s\" is not one of %s", label, text, list.data);
    fl_buf_fini(&list);
    return status;
}

static fl_status keep_string(fl_conf *conf, conf_value *value, const char *label, const char *text)
{
    if (has_control_character(text, value->row->type == FL_CONF_TEXT ? "\n\t" : ""))
        return conf_complain(conf, "%s contains a control character", label);
    if (value->row->type == FL_CONF_WORD && !is_one_of(value->row->words, text))
        return complain_about_word(conf, value->row->words, label, text);
    char *copy;
    FL_TRY(fl_arena_text(conf->arena, &copy, text, strlen(text)));
    value->text = copy;
    return FL_OK;
}

/* Puts a copy of the trimmed item at list[i]. */
static fl_status keep_item(fl_conf *conf, const char **item, const char *label, const char *text,
                           size_t length)
{
    for (; length > 0 && text[0] == ' '; length--)
        text++;
    while (length > 0 && text[length - 1] == ' ')
        length--;
    char *copy;
    FL_TRY(fl_arena_text(conf->arena, &copy, text, length));
    *item = copy;
    if (has_control_character(copy, ""))
        return conf_complain(conf, "%s contains a control character", label);
    return length > 0 ? FL_OK : conf_complain(conf, "%s has an empty item", label);
}

/* "a, b" */
static fl_status read_list_text(fl_conf *conf, conf_value *value, const char *label,
                                const char *text)
{
    size_t count = text[0] ? 1 : 0, faults = conf->errors.length;
    for (const char *c = text; *c; c++)
        count += *c == ',';
    const char **items;
    FL_TRY(fl_arena_alloc(conf->arena, &items, count, sizeof *items));
    for (size_t i = 0; i < count && conf->errors.length == faults; i++) {
        size_t length = strcspn(text, ",");
        FL_TRY(keep_item(conf, &items[i], label, text, length));
        text += length + 1;
    }
    if (conf->errors.length == faults) value->list = (fl_conf_list){items, count};
    return FL_OK;
}

static fl_status read_integer_text(fl_conf *conf, conf_value *value, const char *label,
                                   const char *text)
{
    char *end;
    errno = 0;
    long long integer = strtoll(text, &end, 10);
    if (end == text || *end || text[0] == ' ')
        return conf_complain(conf, "%s = \"%s\" is not an integer", label, text);
    if (errno == ERANGE) return conf_complain(conf, "%s = %s does not fit in 64 bits", label, text);
    return keep_integer(conf, value, label, integer);
}

static fl_status read_double_text(fl_conf *conf, conf_value *value, const char *label,
                                  const char *text)
{
    char *end;
    double number = strtod(text, &end);
    bool is_decimal = text[strspn(text, "+-.0123456789eE")] == 0; /* strtod takes "0x1p3", "inf" */
    if (end == text || *end || (!is_decimal && isfinite(number)))
        return conf_complain(conf, "%s = \"%s\" is not a number", label, text);
    return keep_double(conf, value, label, number);
}

static fl_status keep_escaped(fl_conf *conf, conf_value *value, const char *label, const char *text)
{
    char *copy;
    FL_TRY(fl_arena_text(conf->arena, &copy, text, strlen(text)));
    fl_unescape(copy);
    return keep_string(conf, value, label, copy);
}

fl_status conf_read_text(fl_conf *conf, conf_value *value, const char *label, const char *text)
{
    bool boolean;
    switch (value->row->type) {
    case FL_CONF_BOOL:
        if (!conf_is_bool_word(text, &boolean))
            return conf_complain(conf, "%s = \"%s\" is not true or false", label, text);
        value->boolean = boolean;
        return FL_OK;
    case FL_CONF_INT:
        return read_integer_text(conf, value, label, text);
    case FL_CONF_FLOAT:
        return read_double_text(conf, value, label, text);
    case FL_CONF_STRING:
    case FL_CONF_WORD:
        return keep_string(conf, value, label, text);
    case FL_CONF_TEXT:
        return keep_escaped(conf, value, label, text);
    case FL_CONF_LIST:
        return read_list_text(conf, value, label, text);
    }
    FL_FAIL(FL_ERR_INTERNAL, "config table: %s has no type", value->row->name);
}

/* ["a", "b"] or ("a", "b") */
static fl_status read_list_setting(fl_conf *conf, conf_value *value, const char *label,
                                   const config_setting_t *setting)
{
    size_t count = (size_t)config_setting_length(setting), faults = conf->errors.length;
    const char **items;
    FL_TRY(fl_arena_alloc(conf->arena, &items, count, sizeof *items));
    for (size_t i = 0; i < count && conf->errors.length == faults; i++) {
        const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
        const char *text = config_setting_get_string(item);
        if (!text)
            return conf_complain(conf, "%s must be a list of strings: [\"a\", \"b\"]", label);
        FL_TRY(keep_item(conf, &items[i], label, text, strlen(text)));
    }
    if (conf->errors.length == faults) value->list = (fl_conf_list){items, count};
    return FL_OK;
}

static const char *setting_type_name(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return "an integer";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return "a bool";
    default:
        return "a list";
    }
}

static fl_status complain_about_type(fl_conf *conf, fl_conf_type type, const char *label,
                                     const config_setting_t *setting)
{
    static const char *const wanted[] = {
        [FL_CONF_BOOL] = "true or false",      [FL_CONF_INT] = "an integer",
        [FL_CONF_FLOAT] = "a number",          [FL_CONF_STRING] = "a string in quotes",
        [FL_CONF_TEXT] = "a string in quotes", [FL_CONF_WORD] = "a string in quotes",
        [FL_CONF_LIST] = "a list of strings"};
    return conf_complain(conf, "%s must be %s, not %s", label, wanted[type],
                         setting_type_name(setting));
}

fl_status conf_read_setting(fl_conf *conf, conf_value *value, const char *label,
                            const config_setting_t *setting)
{
    fl_conf_type type = value->row->type;
    bool takes_integer = type == FL_CONF_INT || type == FL_CONF_FLOAT;
    const char *text;
    switch (config_setting_type(setting)) { /* break: this type is not for this key */
    case CONFIG_TYPE_BOOL:
        if (type != FL_CONF_BOOL) break;
        value->boolean = config_setting_get_bool(setting) != 0;
        return FL_OK;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        if (!takes_integer) break;
        return keep_integer(conf, value, label, config_setting_get_int64(setting));
    case CONFIG_TYPE_FLOAT:
        if (type != FL_CONF_FLOAT) break;
        return keep_double(conf, value, label, config_setting_get_float(setting));
    case CONFIG_TYPE_STRING:
        text = config_setting_get_string(setting);
        if (type == FL_CONF_LIST) return read_list_text(conf, value, label, text);
        if (type != FL_CONF_STRING && type != FL_CONF_TEXT && type != FL_CONF_WORD) break;
        return keep_string(conf, value, label, text);
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        if (type != FL_CONF_LIST) break;
        return read_list_setting(conf, value, label, setting);
    }
    return complain_about_type(conf, type, label, setting);
}
