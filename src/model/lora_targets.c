/* Which modules an adapter adapts: names, "all-linear" or an expression, by PEFT's rules. */
#include "model/lora.h"

#include "base/buf.h"
#include "io/pattern.h"

#include <stdio.h>
#include <string.h>

/* The holders of the family's linears, as the user may call them. */
static fl_status known_modules(fl_buf *out, const fl_family *family)
{
    for (int m = 0; m < FL_NUM_MODULES; m++)
        if ((int)family->linear[m].holder == m)
            FL_TRY(fl_buf_addf(out, "%s%s", m ? ", " : "", family->linear[m].name));
    return FL_OK;
}

static fl_status unknown_module(const char *word, const fl_family *family)
{
    fl_buf known = {0};
    fl_status status = known_modules(&known, family);
    if (status == FL_OK)
        status = fl_fail(FL_ERR_USAGE,
                         "target_modules: \"%s\" is none of %s (nor all-linear, nor an expression)",
                         word, fl_buf_text(&known));
    fl_buf_fini(&known);
    return status;
}

/* PEFT's rule for a list: the path is the word or ends with "." and the word. */
static bool path_ends_with(const char *path, const char *word)
{
    size_t length = strlen(path), tail = strlen(word);
    if (tail > length || strcmp(path + length - tail, word) != 0) return false;
    return tail == length || path[length - tail - 1] == '.';
}

static fl_status add_by_name(fl_lora_config *lora, const fl_family *family, const char *word)
{
    bool found = false;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        if (!path_ends_with(family->linear[m].path, word)) continue;
        bool first = (int)family->linear[m].holder == m;
        FL_CHECK(!first || !lora->target[m], FL_ERR_USAGE, "target_modules: %s stands twice", word);
        lora->target[m] = found = true;
    }
    return found ? FL_OK : unknown_module(word, family);
}

/* Sets target[m] when the expression matches module m of every layer. */
static fl_status match_module(fl_lora_config *lora, const fl_model_config *config, int m,
                              const char *expression)
{
    char path[128];
    int64_t matches = 0;
    for (int64_t l = 0; l < config->num_layers; l++) {
        snprintf(path, sizeof path, "model.layers.%lld.%s", (long long)l,
                 config->family->linear[m].path);
        bool is_match;
        FL_TRY(fl_pattern_matches(&is_match, expression, false, path));
        matches += is_match;
    }
    FL_CHECK(matches == 0 || matches == config->num_layers, FL_ERR_UNSUPPORTED,
             "target_modules: the expression chooses %s in %lld of %lld layers; it has to be all "
             "or none",
             config->family->linear[m].name, (long long)matches, (long long)config->num_layers);
    lora->target[m] = matches > 0;
    return FL_OK;
}

static fl_status add_by_expression(fl_lora_config *lora, const fl_model_config *config,
                                   const char *word)
{
    if (fl_pattern_check(word) != FL_OK) return fl_fail_context(FL_ERR_USAGE, "target_modules");
    bool any = false;
    for (int m = 0; m < FL_NUM_MODULES; m++) {
        FL_TRY(match_module(lora, config, m, word));
        any |= lora->target[m];
    }
    return any ? FL_OK : unknown_module(word, config->family);
}

fl_status fl_lora_set_targets(fl_lora_config *lora, const fl_model_config *config,
                              const char *const *names, size_t count)
{
    const fl_family *family = config->family;
    memset(lora->target, 0, sizeof lora->target);
    if (count == 1 && strcmp(names[0], "all-linear") == 0) {
        memset(lora->target, true, sizeof lora->target);
        return FL_OK;
    }
    if (count == 1 && strpbrk(names[0], "^$*+?()[]{}|\\"))
        return add_by_expression(lora, config, names[0]);
    for (size_t i = 0; i < count; i++)
        FL_TRY(add_by_name(lora, family, names[i]));
    for (size_t i = 0; count == 0 && family->targets[i]; i++)
        FL_TRY(add_by_name(lora, family, family->targets[i]));
    return FL_OK;
}
