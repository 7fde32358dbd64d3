/* The command line: --key value, --key=value, --flag, --no_flag, group.key=value. */
#include "base/conf_internal.h"

#include <stdio.h>
#include <string.h>

/* One argument, cut into its parts. */
typedef struct conf_option {
    char *label;      /* "command line: --fed.num_rounds" */
    char *name;       /* "num_rounds", '-' turned into '_' as the reference's parser allows */
    size_t group;     /* bytes of the group's name in front of the dot, 0 = none */
    const char *path; /* "fed.num_rounds" */
    const char *text; /* behind '=', or NULL */
} conf_option;

static const char *const place = "command line";

static bool is_option(const char *argument)
{
    return strncmp(argument, "--", 2) == 0;
}

static fl_status cut(fl_conf *conf, conf_option *out, const char *argument)
{
    const char *body = argument + (is_option(argument) ? 2 : 0);
    size_t length = strcspn(body, "=");
    const char *dot = memchr(body, '.', length);
    const char *name = dot ? dot + 1 : body;
    *out = (conf_option){.path = body,
                         .group = dot ? (size_t)(dot - body) : 0,
                         .text = body[length] ? body + length + 1 : NULL};
    FL_TRY(fl_arena_text(conf->arena, &out->name, name, length - (size_t)(name - body)));
    for (char *c = out->name; *c; c++)
        if (*c == '-') *c = '_';
    fl_buf label = {0};
    fl_status status =
        fl_buf_addf(&label, "%s: %.*s", place, (int)(body - argument + (long)length), argument);
    if (status == FL_OK) status = fl_arena_text(conf->arena, &out->label, label.data, label.length);
    fl_buf_fini(&label);
    return status;
}

/* Is the group in front of the key, if there is one, the right one? */
static fl_status check_group(fl_conf *conf, const conf_option *option, const conf_value *value,
                             bool *right)
{
    *right = option->group == 0;
    if (*right) return FL_OK;
    const fl_conf_group *group = conf_find_group(conf, option->path, option->group);
    *right = group == value->group;
    if (*right) return FL_OK;
    return conf_complain(conf, "%s: %s belongs to the group %s", option->label, option->name,
                         value->group->name);
}

/* --no_flag, where flag is a bool and no_flag no key. */
static conf_value *find_negated(const fl_conf *conf, const conf_option *option)
{
    if (strncmp(option->name, "no_", 3) != 0 || option->text) return NULL;
    conf_value *value = conf_find(conf, option->name + 3, strlen(option->name + 3));
    return value && value->row->type == FL_CONF_BOOL ? value : NULL;
}

/* The value's text: behind '=', the next argument, or "true" for a bare flag.  NULL when it is
 * missing.  *used counts the arguments that were taken. */
static const char *find_text(const conf_option *option, const conf_value *value, const char *next,
                             int *used)
{
    if (option->text) return option->text;
    bool is_bool = value->row->type == FL_CONF_BOOL;
    bool takes_next = next && !is_option(next) && !(is_bool && strchr(next, '='));
    if (takes_next) {
        *used = 2;
        return next;
    }
    return is_bool ? "true" : NULL;
}

/* One option of one or two arguments; `next` is NULL behind the last. */
static fl_status take_option(fl_conf *conf, const conf_option *option, const char *next, int *used)
{
    conf_value *value = conf_find(conf, option->name, strlen(option->name));
    conf_value *negated = value ? NULL : find_negated(conf, option);
    if (!value && !negated) {
        if (next && !option->text && !is_option(next) && !strchr(next, '='))
            *used = 2; /* most likely its value; a second fault would only confuse */
        return conf_complain_unknown_key(conf, place, option->name);
    }
    bool right_group;
    FL_TRY(check_group(conf, option, value ? value : negated, &right_group));
    const char *text = negated ? "false" : find_text(option, value, next, used);
    if (!right_group) return FL_OK;
    if (!text) return conf_complain(conf, "%s needs a value", option->label);
    if (negated) value = negated;
    size_t faults = conf->errors.length;
    FL_TRY(conf_read_text(conf, value, option->label, text));
    if (conf->errors.length == faults) value->source = CONF_COMMAND_LINE;
    return FL_OK;
}

fl_status fl_conf_override(fl_conf *conf, int argc, char *const *argv)
{
    for (int i = 0, used = 1; i < argc; i += used) {
        used = 1;
        if (!is_option(argv[i]) && !strchr(argv[i], '=')) {
            FL_TRY(conf_complain(conf, "%s: unexpected \"%s\"; options are --key value", place,
                                 argv[i]));
            continue;
        }
        conf_option option;
        FL_TRY(cut(conf, &option, argv[i]));
        FL_TRY(take_option(conf, &option, i + 1 < argc ? argv[i + 1] : NULL, &used));
    }
    return FL_OK;
}
