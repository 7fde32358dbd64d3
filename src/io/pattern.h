/* PEFT's rank_pattern and alpha_pattern: numbers for the modules that an expression names.
 *
 * An expression matches a module whose path is it, or ends with "." and it: PEFT's
 * re.match("(.*\.)?(EXPRESSION)$", path).  It is compiled by PCRE2; what goes beyond plain
 * expressions (lookahead, \d, a backslash in brackets) is refused, as is what takes much time or
 * memory.
 */
#ifndef FL_IO_PATTERN_H
#define FL_IO_PATTERN_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct fl_pattern {
    const char *expression; /* "q_proj", "layers\\.1\\.self_attn\\.v_proj" */
    double value;
} fl_pattern;

/* In the order in which they are tried; borrowed. */
typedef struct fl_patterns {
    const fl_pattern *items;
    size_t count;
} fl_patterns;

/* Is it an expression that means here what it means to PEFT?  Errors: FL_ERR_UNSUPPORTED. */
fl_status fl_pattern_check(const char *expression);

/* *out = does it match the path, or, at_end, the path from its beginning or from behind a dot?
 * Errors: those of fl_pattern_check, also for what takes too long; FL_ERR_MEMORY. */
fl_status fl_pattern_matches(bool *out, const char *expression, bool at_end, const char *path);

/* *found = the first that matches the module "model.layers.0.self_attn.q_proj", NULL if none.
 * Errors: those of fl_pattern_check, FL_ERR_MEMORY. */
fl_status fl_patterns_find(const fl_patterns *patterns, const char *path, const fl_pattern **found);

#endif
