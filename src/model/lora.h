/* LoRA (Hu et al. 2021, arXiv 2106.09685): y = W x + scale B A dropout(x), scale = alpha / r, or
 * alpha / sqrt(r) with rslora (Kalajdzievski 2023, arXiv 2312.03732).
 *
 * The adapter is an fl_params whose names are PEFT's, layer by layer, module by module, A before B:
 * base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight [r, in], ...lora_B.weight [out,
 * r].  Where a family fuses linears the module is the fused one: q, k and v of Phi-3 share the A of
 * qkv_proj, and the rows of its B are theirs, one after the other.
 */
#ifndef FL_MODEL_LORA_H
#define FL_MODEL_LORA_H

#include "base/rng.h"
#include "io/pattern.h"
#include "model/model_config.h"
#include "tensor/factor.h"
#include "tensor/tensor.h"

/* rows (out) and cols (in) of one linear */
void fl_module_shape(fl_module module, const fl_model_config *config, int64_t *rows, int64_t *cols);
/* The first of the linear's rows in its holder, and the rows of the whole holder. */
int64_t fl_module_row(fl_module module, const fl_model_config *config);
int64_t fl_holder_rows(fl_module holder, const fl_model_config *config);

/* r and alpha of one adapted module of one layer. */
typedef struct fl_lora_size {
    int64_t r;
    double alpha;
} fl_lora_size;

typedef struct fl_lora_config {
    int64_t r;
    double alpha;
    bool rslora;
    float dropout;               /* probability, on the input of A, in training */
    bool target[FL_NUM_MODULES]; /* the linears of an adapted module, all of them */
    /* [num_layers * FL_NUM_MODULES] from patterns; NULL: r and alpha everywhere.  Copies of the
     * struct share it; the one that fl_lora_set_patterns filled ends it. */
    fl_lora_size *sizes;
    bool has_side; /* the base moves: room for fl_decoder_set_side */
} fl_lora_config;

/* Ends *lora; accepts one without patterns. */
void fl_lora_fini(fl_lora_config *lora);

/* Of the module that holds this linear. */
int64_t fl_lora_rank(const fl_lora_config *lora, int64_t layer, fl_module holder);
float fl_lora_scale(const fl_lora_config *lora, int64_t layer, fl_module holder);
/* The largest rank of any adapted module. */
int64_t fl_lora_most_rank(const fl_lora_config *lora, const fl_model_config *config);
/* Numbers in the adapter. */
size_t fl_lora_count(const fl_lora_config *lora, const fl_model_config *config);
/* Numbers in a change of the base whose factors have at most this many rows and columns each. */
size_t fl_lora_side_count(const fl_lora_config *lora, const fl_model_config *config, int64_t most);

/* counts[] = numbers in each tensor of the adapter (NULL: not wanted); returns how many tensors. */
size_t fl_lora_tensors(const fl_lora_config *lora, const fl_model_config *config, size_t *counts);

/* Sets target[].  count = 0: the family's default.  One word "all-linear": every linear of the
 * layers.  Otherwise each word is the name of a module, whole ("q_proj") or with more of its path
 * ("self_attn.q_proj"), as in PEFT; a single word with a character of ^$*+?()[]{}|\ is a
 * regular expression (io/pattern.h) that has to match the whole path
 * "model.layers.0.self_attn.q_proj". Errors: FL_ERR_USAGE (nothing by that name, a module twice,
 * not an expression), FL_ERR_UNSUPPORTED (an expression that chooses differently from layer to
 * layer). */
fl_status fl_lora_set_targets(fl_lora_config *lora, const fl_model_config *config,
                              const char *const *names, size_t count);

/* Gives modules an r and alpha of their own, as PEFT's rank_pattern and alpha_pattern do: the path
 * is "model.layers.0.self_attn.q_proj", the first pattern that matches counts.  After
 * fl_lora_set_targets; fl_lora_fini is due.  complete: an expression that names no adapted module
 * is an error.  Errors: FL_ERR_USAGE (that), those of fl_pattern_check, FL_ERR_MEMORY. */
fl_status fl_lora_set_patterns(fl_lora_config *lora, const fl_model_config *config,
                               const fl_patterns *ranks, const fl_patterns *alphas, bool complete);

/* items[count] from words "EXPRESSION=NUMBER", which it borrows, as a config file has them; the
 * expression is copied into arena.  whole: the numbers are ranks.  key: for messages.
 * Errors: FL_ERR_USAGE, FL_ERR_MEMORY. */
fl_status fl_lora_parse_patterns(fl_patterns *out, fl_arena *arena, const char *key,
                                 const char *const *words, size_t count, bool whole);

/* names[] = the modules of target[], as PEFT calls them; returns how many. */
size_t fl_lora_target_names(const fl_lora_config *lora, const fl_model_config *config,
                            const char *names[FL_NUM_MODULES]);

/* *out = the adapter's layout with values: A uniform in +-1/sqrt(in) from the stream (seed,
 * LORA_INIT, index of the tensor), B zero.  Owned by the caller (fl_params_fini). */
fl_status fl_lora_create(fl_params *out, const fl_lora_config *lora, const fl_model_config *config,
                         uint64_t seed);

/* Draws an A: values[a->count] uniform in +-1/sqrt(in). */
void fl_lora_draw(float *values, const fl_param *a, fl_rng *rng);

/* An adapter from a PEFT folder: *lora says how it is applied, *out holds its values (owned by the
 * caller, fl_lora_fini and fl_params_fini).  Errors: those of fl_adapter_read_info and
 * fl_adapter_load. */
fl_status fl_lora_load(fl_lora_config *lora, fl_params *out, const char *dir,
                       const fl_model_config *config);

#endif
