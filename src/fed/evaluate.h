/* Held-out exact match: the model answers each item greedily from the template's prompt, and the
 * answer, up to what ends it in the template and without surrounding white space, must equal the
 * record's response.
 *
 * Items are spread over the hosting ranks; an item's answer does not depend on the rank.
 */
#ifndef FL_FED_EVALUATE_H
#define FL_FED_EVALUATE_H

#include "base/conf.h"
#include "comm/transport.h"
#include "data/text_format.h"
#include "model/generate.h"

typedef struct fl_eval_config {
    const char *eval_data; /* a file of records, or a folder of them (one domain a file); "" none */
    int64_t eval_freq;     /* rounds between evaluations; 0: before the first and after the last */
    int64_t eval_samples;  /* items per file at the most; 0: all */
    int64_t eval_batch;    /* prompts answered at a time */
    int64_t max_new_tokens; /* of an answer */
} fl_eval_config;

extern const fl_conf_row fl_eval_rows[];
extern const size_t fl_eval_row_count;

typedef struct fl_eval_item {
    const char *instruction, *expected; /* closed texts; expected without surrounding white space */
    const int32_t *prompt;              /* [prompt_length] token ids */
    int64_t prompt_length;
    size_t domain;
} fl_eval_item;

typedef struct fl_eval_set {
    fl_eval_item *items;
    size_t count;
    const char **domains; /* [num_domains] file names without ending, ascending */
    size_t num_domains;
    int64_t longest_prompt;
    const fl_text_format *format; /* borrowed */
    fl_arena *arena;
} fl_eval_set;

/* Reads config->eval_data; an empty set when it is "".  Errors: those of fl_dataset_load;
 * FL_ERR_INPUT for a folder without data files. */
fl_status fl_eval_set_load(fl_eval_set *out, const fl_eval_config *config,
                           const fl_tokenizer *tokenizer, const fl_text_format *format);
void fl_eval_set_fini(fl_eval_set *set);

enum { FL_ANSWER_SIZE = 240 };

typedef struct fl_eval_answer {
    int32_t item; /* -1: unused */
    int32_t correct;
    char text[FL_ANSWER_SIZE]; /* closed, cut at a character when longer */
} fl_eval_answer;

typedef struct fl_evaluator fl_evaluator;

/* decoder: that of this rank, NULL on a rank that hosts none.  Everything is borrowed.
 * Errors: FL_ERR_MEMORY. */
fl_status fl_evaluator_create(fl_evaluator **out, const fl_eval_set *set,
                              const fl_eval_config *config, const fl_tokenizer *tokenizer,
                              fl_transport *transport, fl_decoder *decoder);
void fl_evaluator_destroy(fl_evaluator *evaluator); /* accepts NULL */

/* Collective.  Answers every item with the decoder's present adapter.  *answers on rank 0: [count],
 * answer i of item i, valid until the next call; NULL elsewhere. */
fl_status fl_evaluate(fl_evaluator *evaluator, const fl_eval_answer **answers);

#endif
