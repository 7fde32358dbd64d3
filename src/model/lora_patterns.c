/* Ranks and alphas of single modules. */
#include "io/adapter.h"
#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which patterns matched some adapted module. */
typedef struct usage {
    bool *rank, *alpha;
} usage;

static fl_status find(const fl_patterns *patterns, const char *path, bool *used,
                      const fl_pattern **found)
{
    FL_TRY(fl_patterns_find(patterns, path, found));
    if (*found) used[*found - patterns->items] = true;
    return FL_OK;
}

static fl_status set_module(fl_lora_config *lora, const fl_model_config *config, int64_t layer,
                            int m, const fl_patterns *ranks, const fl_patterns *alphas, usage *used)
{
    char path[128];
    const fl_pattern *rank, *alpha;
    snprintf(path, sizeof path, "model.layers.%lld.%s", (long long)layer,
             config->family->linear[m].path);
    FL_TRY(find(ranks, path, used->rank, &rank));
    FL_TRY(find(alphas, path, used->alpha, &alpha));
    lora->sizes[layer * FL_NUM_MODULES + m] = (fl_lora_size){
        .r = rank ? (int64_t)rank->value : lora->r, .alpha = alpha ? alpha->value : lora->alpha};
    return FL_OK;
}

static fl_status set_all(fl_lora_config *lora, const fl_model_config *config,
                         const fl_patterns *ranks, const fl_patterns *alphas, usage *used)
{
    for (int64_t l = 0; l < config->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++)
            if (lora->target[m] && (int)config->family->linear[m].holder == m)
                FL_TRY(set_module(lora, config, l, m, ranks, alphas, used));
    return FL_OK;
}

static fl_status check_used(const char *key, const fl_patterns *patterns, const bool *used)
{
    for (size_t i = 0; i < patterns->count; i++)
        FL_CHECK(used[i], FL_ERR_USAGE,
                 "%s: \"%.160s\" decides about no adapted module (a name such as q_proj, or an "
                 "expression for the end of model.layers.0.self_attn.q_proj)",
                 key, patterns->items[i].expression);
    return FL_OK;
}

fl_status fl_lora_set_patterns(fl_lora_config *lora, const fl_model_config *config,
                               const fl_patterns *ranks, const fl_patterns *alphas, bool complete)
{
    lora->sizes = NULL;
    if (ranks->count + alphas->count == 0) return FL_OK;
    usage used;
    FL_TRY(fl_alloc(&used.rank, ranks->count + alphas->count, sizeof *used.rank));
    used.alpha = used.rank + ranks->count;
    size_t count = (size_t)config->num_layers * FL_NUM_MODULES;
    fl_status status = fl_alloc(&lora->sizes, count, sizeof *lora->sizes);
    if (status == FL_OK) status = set_all(lora, config, ranks, alphas, &used);
    if (status == FL_OK && complete) status = check_used("rank_pattern", ranks, used.rank);
    if (status == FL_OK && complete) status = check_used("alpha_pattern", alphas, used.alpha);
    fl_free(used.rank);
    if (status != FL_OK) fl_lora_fini(lora);
    return status;
}

void fl_lora_fini(fl_lora_config *lora)
{
    fl_free(lora->sizes);
    lora->sizes = NULL;
}

/* EXPRESSION=NUMBER; the expression itself may hold a '='. */
static fl_status parse(fl_pattern *out, fl_arena *arena, const char *key, const char *word,
                       double maximum, bool whole)
{
    const char *equals = strrchr(word, '=');
    char *end = NULL, *copy;
    double value = equals && equals[1] ? strtod(equals + 1, &end) : 0;
    FL_CHECK(end && !*end && equals > word && value > 0 && value <= maximum &&
                 (!whole || value == floor(value)),
             FL_ERR_USAGE, "%s: \"%.160s\" is not EXPRESSION=NUMBER with %s in (0, %g]", key, word,
             whole ? "a whole number" : "a number", maximum);
    FL_TRY(fl_arena_text(arena, &copy, word, (size_t)(equals - word)));
    *out = (fl_pattern){.expression = copy, .value = value};
    fl_status status = fl_pattern_check(copy);
    return status == FL_OK ? FL_OK : fl_fail_context(FL_ERR_USAGE, "%s", key);
}

fl_status fl_lora_parse_patterns(fl_patterns *out, fl_arena *arena, const char *key,
                                 const char *const *words, size_t count, bool whole)
{
    fl_pattern *items;
    FL_TRY(fl_arena_alloc(arena, &items, count, sizeof *items));
    for (size_t i = 0; i < count; i++)
        FL_TRY(parse(&items[i], arena, key, words[i], whole ? 4096 : 65536, whole));
    *out = (fl_patterns){.items = items, .count = count};
    return FL_OK;
}
