/* "did you mean num_rounds?" */
#include "base/conf_internal.h"

#include <string.h>

enum { MAX_NAME = 63 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's edit distance, one row of the matrix at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[MAX_NAME + 1], length = strlen(b);
    for (size_t k = 0; k <= length; k++)
        row[k] = k;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= length; k++) {
            size_t replaced = diagonal + (a[i - 1] != b[k - 1]);
            diagonal = row[k];
            row[k] = smaller(replaced, smaller(row[k], row[k - 1]) + 1);
        }
    }
    return row[length];
}

const char *fl_conf_nearer(const char *wrong, const char *best, const char *known)
{
    size_t length = strlen(wrong), limit = length <= 4 ? 1 : length / 3;
    if (length > 4 && limit < 2) limit = 2;
    if (length > MAX_NAME || strlen(known) > MAX_NAME) return best;
    size_t here = distance(wrong, known);
    if (here > limit || (best && distance(wrong, best) <= here)) return best;
    return known;
}

static const char *nearest_key(const fl_conf *conf, const char *wrong)
{
    const char *best = NULL;
    for (size_t i = 0; i < conf->value_count; i++)
        best = fl_conf_nearer(wrong, best, conf->values[i].row->name);
    if (best || strlen(wrong) < 4) return best;
    for (size_t i = 0; i < conf->value_count; i++) /* lora_alpha for peft_lora_alpha */
        if (strstr(conf->values[i].row->name, wrong)) return conf->values[i].row->name;
    return NULL;
}

fl_status conf_complain_unknown_key(fl_conf *conf, const char *where, const char *name)
{
    const char *near = nearest_key(conf, name);
    if (!near && strncmp(name, "no_", 3) == 0) near = nearest_key(conf, name + 3); /* --no_flag */
    if (!near) return conf_complain(conf, "%s: unknown key %s; --help lists them", where, name);
    return conf_complain(conf, "%s: unknown key %s; did you mean %s?", where, name, near);
}

fl_status conf_complain_unknown_group(fl_conf *conf, const char *where, const char *name)
{
    const char *near = NULL;
    for (size_t i = 0; i < conf->group_count; i++)
        near = fl_conf_nearer(name, near, conf->groups[i].name);
    if (!near) return conf_complain(conf, "%s: unknown group %s; --help lists them", where, name);
    return conf_complain(conf, "%s: unknown group %s; did you mean %s?", where, name, near);
}
