/* Options of fedllm_generate. */
#ifndef FL_APP_GENERATE_OPTIONS_H
#define FL_APP_GENERATE_OPTIONS_H

#include "base/conf.h"
#include "base/mem.h"
#include "data/text_format.h"

typedef struct fl_generate_options {
    const char *adapter, *prompt, *file, *template;
    bool chat, json, load_in_8bit, load_in_4bit;
    bool is_free; /* a chat without --template: the model's own, or vicuna */
    int64_t max_new_tokens, max_length, batch_size;
    int64_t top_k, seed;
    double temperature, top_p, repetition_penalty;
    const char *backend, *compute_dtype;
    int64_t threads;

    const char **stops; /* [num_stops] the values of --stop, with \n, \t and \\ replaced */
    size_t num_stops, stop_capacity;
    fl_arena *arena;
    fl_custom_format custom;
    fl_conf *conf; /* owns the other texts */
} fl_generate_options;

/* Parses the options of the command line; argv is reordered.  fl_generate_options_fini is due in
 * any case.  Errors: FL_ERR_USAGE, with all faults in fl_conf_errors(out->conf). */
fl_status fl_generate_options_load(fl_generate_options *out, int argc, char **argv);
void fl_generate_options_fini(fl_generate_options *options);

fl_status fl_generate_options_help(fl_buf *out); /* the text of --help */

#endif
