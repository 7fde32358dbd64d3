/* Life of an fl_conf: defaults from the tables, then files, then (conf_args.c) the command line,
 * then the structs.  A value is checked when it is read, so that its fault can name the place; what
 * fl_conf_finish has left to do is to refuse or to store. */
#include "base/conf_internal.h"

#include "base/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_INCLUDED_BYTES = 1 << 24 };

fl_status conf_complain(fl_conf *conf, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++) /* a hostile name must not end the line or steer the terminal */
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return fl_buf_addf(&conf->errors, "%s\n", line);
}

conf_value *conf_find(const fl_conf *conf, const char *name, size_t length)
{
    for (size_t i = 0; i < conf->value_count; i++) {
        const char *known = conf->values[i].row->name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) return &conf->values[i];
    }
    return NULL;
}

const fl_conf_group *conf_find_group(const fl_conf *conf, const char *name, size_t length)
{
    for (size_t i = 0; i < conf->group_count; i++) {
        const char *known = conf->groups[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) return &conf->groups[i];
    }
    return NULL;
}

/* The tables are part of the program: a fault in them is ours. */
static fl_status add_row(fl_conf *conf, const fl_conf_group *group, const fl_conf_row *row)
{
    FL_CHECK(!conf_find(conf, row->name, strlen(row->name)), FL_ERR_INTERNAL,
             "config table: %s is there twice", row->name);
    FL_CHECK(row->type != FL_CONF_WORD || row->words, FL_ERR_INTERNAL,
             "config table: %s has no words", row->name);
    conf_value *value = &conf->values[conf->value_count];
    *value = (conf_value){.group = group, .row = row};
    FL_TRY(conf_read_text(conf, value, row->name, row->default_value ? row->default_value : ""));
    FL_CHECK(conf->errors.length == 0, FL_ERR_INTERNAL, "config table, default value: %.*s",
             (int)strcspn(conf->errors.data, "\n"), conf->errors.data);
    conf->value_count++;
    return FL_OK;
}

fl_status fl_conf_create(fl_conf **out, const fl_conf_group *groups, size_t group_count)
{
    fl_conf *conf;
    FL_TRY(fl_alloc(&conf, 1, sizeof *conf));
    conf->groups = groups;
    conf->group_count = group_count;
    size_t rows = 0;
    for (size_t i = 0; i < group_count; i++)
        rows += groups[i].row_count;
    fl_status status;
    FL_TRY_GOTO(fl_arena_create(&conf->arena), failed);
    FL_TRY_GOTO(fl_alloc(&conf->values, rows, sizeof *conf->values), failed);
    for (size_t i = 0; i < group_count; i++)
        for (size_t k = 0; k < groups[i].row_count; k++)
            FL_TRY_GOTO(add_row(conf, &groups[i], &groups[i].rows[k]), failed);
    *out = conf;
    return FL_OK;
failed:
    fl_conf_destroy(conf);
    return status;
}

void fl_conf_destroy(fl_conf *conf)
{
    if (!conf) return;
    fl_arena_destroy(conf->arena);
    fl_buf_fini(&conf->errors);
    fl_free(conf->values);
    fl_free(conf);
}

/* State of one fl_conf_load. */
typedef struct conf_loader {
    fl_conf *conf;
    const char *path;   /* of the text */
    const char *folder; /* of `path`: "" or with a closing slash */
    config_t config;
} conf_loader;

/* The path of a file as libconfig names it: NULL for the text itself; for an included file the name
 * as written, or from version 1.7 on with the folder in front. */
static fl_status add_path(const conf_loader *loader, fl_buf *out, const char *file)
{
    if (!file) return fl_buf_add_text(out, loader->path);
    FL_TRY(fl_buf_addf(out, "%s%s", loader->folder, file));
    if (fl_path_exists(out->data)) return FL_OK;
    fl_buf_clear(out);
    return fl_buf_add_text(out, file);
}

/* *out = "configs/sft.cfg:12", in the arena. */
static fl_status position(const conf_loader *loader, const char **out, const char *file,
                          unsigned line)
{
    fl_buf text = {0};
    char *copy = NULL;
    fl_status status;
    FL_TRY_GOTO(add_path(loader, &text, file), out);
    FL_TRY_GOTO(fl_buf_addf(&text, ":%u", line), out);
    FL_TRY_GOTO(fl_arena_text(loader->conf->arena, &copy, text.data, text.length), out);
    *out = copy;
out:
    fl_buf_fini(&text);
    return status;
}

/* A key with its value; `where` is "configs/sft.cfg:12". */
static fl_status take_value(fl_conf *conf, conf_value *value, const config_setting_t *setting,
                            const char *where)
{
    /* within one text only: a second file is there to change the first */
    if (value->load == conf->loads)
        return conf_complain(conf, "%s: %s is set twice, also at %s", where, setting->name,
                             value->where);
    value->load = conf->loads;
    value->where = where;
    conf_value read = *value;
    fl_buf label = {0};
    fl_status status;
    FL_TRY_GOTO(fl_buf_addf(&label, "%s: %s", where, setting->name), out);
    FL_TRY_GOTO(conf_read_setting(conf, &read, label.data, setting), out);
    read.source = CONF_FILE;
    if (value->source != CONF_COMMAND_LINE) *value = read; /* checked even if it does not count */
out:
    fl_buf_fini(&label);
    return status;
}

/* The members of `fed: { ... }`.  An unknown one is reported and the others are read on. */
static fl_status take_group(conf_loader *loader, const fl_conf_group *group,
                            const config_setting_t *setting)
{
    fl_conf *conf = loader->conf;
    for (int i = 0; i < config_setting_length(setting); i++) {
        const config_setting_t *member = config_setting_get_elem(setting, (unsigned)i);
        const char *where, *name = member->name;
        FL_TRY(position(loader, &where, member->file, member->line));
        conf_value *value = conf_find(conf, name, strlen(name));
        if (!value)
            FL_TRY(conf_complain_unknown_key(conf, where, name));
        else if (value->group != group)
            FL_TRY(conf_complain(conf, "%s: %s belongs to the group %s, not %s", where, name,
                                 value->group->name, group->name));
        else
            FL_TRY(take_value(conf, value, member, where));
    }
    return FL_OK;
}

/* A member of the top level: a group, or a key without its group. */
static fl_status take_top(conf_loader *loader, const config_setting_t *setting)
{
    fl_conf *conf = loader->conf;
    const char *where, *name = setting->name;
    FL_TRY(position(loader, &where, setting->file, setting->line));
    const fl_conf_group *group = conf_find_group(conf, name, strlen(name));
    /* before the keys: a group may have the name of a key in it (backend) */
    if (group && config_setting_is_group(setting)) return take_group(loader, group, setting);
    conf_value *value = conf_find(conf, name, strlen(name));
    if (value) return take_value(conf, value, setting, where);
    if (group)
        return conf_complain(conf, "%s: %s must be a group: %s: { key = value; }", where, name,
                             name);
    if (config_setting_is_group(setting)) return conf_complain_unknown_group(conf, where, name);
    return conf_complain_unknown_key(conf, where, name);
}

/* libconfig has read this file a moment ago; should it have gone since, that is an error. */
static fl_status scan_included(const conf_loader *loader, const char *name)
{
    fl_buf path = {0}, text = {0};
    fl_status status;
    FL_TRY_GOTO(add_path(loader, &path, name), out);
    FL_TRY_GOTO(fl_file_read(&text, path.data, MAX_INCLUDED_BYTES), out);
    FL_TRY_GOTO(conf_scan(loader->conf, path.data, fl_buf_text(&text)), out);
out:
    fl_buf_fini(&path);
    fl_buf_fini(&text);
    return status;
}

/* Parses and scans.  A fault here is of the text, not of a key, and ends the load. */
static fl_status parse(conf_loader *loader, const char *text)
{
    config_t *config = &loader->config;
    fl_conf *conf = loader->conf;
    size_t old_length = conf->errors.length;
    if (!config_read_string(config, text)) {
        const char *where;
        FL_TRY(position(loader, &where, config_error_file(config),
                        (unsigned)config_error_line(config)));
        FL_TRY(conf_complain(conf, "%s: %s", where, config_error_text(config)));
    } else {
        FL_TRY(conf_scan(conf, loader->path, text));
        for (unsigned i = 0; i < config->num_filenames; i++)
            FL_TRY(scan_included(loader, config->filenames[i]));
    }
    if (conf->errors.length == old_length) return FL_OK;
    const char *fault = conf->errors.data + old_length;
    FL_FAIL(FL_ERR_USAGE, "%.*s", (int)strcspn(fault, "\n"), fault);
}

fl_status fl_conf_load(fl_conf *conf, const char *path, const char *text)
{
    conf_loader loader = {.conf = conf, .path = path};
    const char *slash = strrchr(path, '/');
    char *folder;
    FL_TRY(fl_arena_text(conf->arena, &folder, path, slash ? (size_t)(slash - path) + 1 : 0));
    loader.folder = folder;
    conf->loads++; /* from 1, so that it differs from a value's 0 */
    config_init(&loader.config);
    config_set_include_dir(&loader.config, slash ? folder : ".");
    fl_status status;
    FL_TRY_GOTO(parse(&loader, text), out);
    const config_setting_t *root = config_root_setting(&loader.config);
    for (int i = 0; i < config_setting_length(root); i++)
        FL_TRY_GOTO(take_top(&loader, config_setting_get_elem(root, (unsigned)i)), out);
out:
    config_destroy(&loader.config);
    return status;
}

/* memcpy, since the offset says nothing about the type of the field to the compiler. */
static void store(const conf_value *value)
{
    char *field = (char *)value->group->target + value->row->offset;
    switch (value->row->type) {
    case FL_CONF_BOOL:
        memcpy(field, &value->boolean, sizeof value->boolean);
        break;
    case FL_CONF_INT:
        memcpy(field, &value->integer, sizeof value->integer);
        break;
    case FL_CONF_FLOAT:
        memcpy(field, &value->number, sizeof value->number);
        break;
    case FL_CONF_STRING:
    case FL_CONF_TEXT:
    case FL_CONF_WORD:
        memcpy(field, &value->text, sizeof value->text);
        break;
    case FL_CONF_LIST:
        memcpy(field, &value->list, sizeof value->list);
        break;
    }
}

fl_status fl_conf_finish(fl_conf *conf)
{
    const char *errors = fl_conf_errors(conf);
    size_t count = 0;
    for (const char *c = errors; *c; c++)
        count += *c == '\n';
    int first = (int)strcspn(errors, "\n");
    FL_CHECK(count != 1, FL_ERR_USAGE, "%.*s", first, errors);
    FL_CHECK(count == 0, FL_ERR_USAGE, "%.*s (and %zu more)", first, errors, count - 1);
    for (size_t i = 0; i < conf->value_count; i++)
        if (conf->values[i].group->target) store(&conf->values[i]);
    return FL_OK;
}

const char *fl_conf_errors(const fl_conf *conf)
{
    return fl_buf_text(&conf->errors);
}

bool fl_conf_is_set(const fl_conf *conf, const char *name)
{
    const conf_value *value = conf_find(conf, name, strlen(name));
    return value && value->source != CONF_DEFAULT;
}
