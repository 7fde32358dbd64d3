/* The decoder families: what sets each apart, as one table of traits.
 *
 * All of them are pre-norm decoders with RMSNorm, rotary positions and a gated MLP; the decoder is
 * written once and reads the traits.  A new family is a row here, a row of golden files, and code
 * only for what no family had before.
 */
#ifndef FL_MODEL_FAMILY_H
#define FL_MODEL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The linears of a decoder layer, in the order of the forward pass. */
typedef enum fl_module {
    FL_Q_PROJ,
    FL_K_PROJ,
    FL_V_PROJ,
    FL_O_PROJ,
    FL_GATE_PROJ,
    FL_UP_PROJ,
    FL_DOWN_PROJ,
    FL_NUM_MODULES
} fl_module;

/* The norms of a layer; a family has those it names. */
typedef enum fl_norm {
    FL_NORM_ATTENTION,       /* [C] before the attention block */
    FL_NORM_MLP,             /* [C] before the MLP */
    FL_NORM_QUERY,           /* [D] of each query head, before RoPE */
    FL_NORM_KEY,             /* [D] of each key head */
    FL_NORM_AFTER_ATTENTION, /* [C] of the attention block's output, before it is added */
    FL_NORM_AFTER_MLP,       /* [C] of the MLP's output */
    FL_NUM_NORMS
} fl_norm;

/* The module of the files (and of PEFT) that holds a linear: itself, or a fused one whose rows are
 * those of several linears one after the other; `holder` is the first of them. */
typedef struct fl_linear_trait {
    const char *name; /* "q_proj" */
    const char *path; /* "self_attn.q_proj" */
    fl_module holder;
} fl_linear_trait;

typedef enum fl_activation { FL_SILU, FL_GELU_TANH } fl_activation;

/* Which layers see only the last `sliding_window` tokens, where config.json has no layer_types. */
typedef enum fl_window_rule {
    FL_WINDOW_NEVER,
    FL_WINDOW_ALL,   /* every layer */
    FL_WINDOW_UPPER, /* with use_sliding_window: layers from max_window_layers on */
    FL_WINDOW_EVEN   /* layers 0, 2, 4, ... */
} fl_window_rule;

typedef enum fl_bias_rule {
    FL_BIAS_BY_KEY, /* attention_bias: q, k, v, o; mlp_bias: gate, up, down */
    FL_BIAS_QKV     /* always q, k, v */
} fl_bias_rule;

typedef struct fl_family {
    const char *architecture;       /* "LlamaForCausalLM" */
    const char *model_type;         /* "llama" */
    const fl_linear_trait *linear;  /* [FL_NUM_MODULES] */
    const char *norm[FL_NUM_NORMS]; /* name inside the layer; NULL: none */
    const char *const *targets;     /* adapted modules by default, NULL at the end */
    const char *activation_key;     /* of config.json */
    fl_activation activation;
    fl_bias_rule bias;
    fl_window_rule window;
    int64_t default_window;   /* sliding_window when config.json does not say; 0 = none */
    int64_t default_head_dim; /* 0: hidden_size / num_attention_heads */
    float norm_offset;        /* added to every norm weight */
    bool scale_embedding;     /* by sqrt(hidden_size) */
    bool softcaps;            /* attn_logit_softcapping, final_logit_softcapping, and
                                 query_pre_attn_scalar for the scale of scores */
    bool tied_head;           /* tie_word_embeddings when config.json does not say */
} fl_family;

extern const fl_family fl_families[];
extern const size_t fl_num_families;

/* By architecture, or when that is NULL by model_type.  NULL: not known. */
const fl_family *fl_family_find(const char *architecture, const char *model_type);

#endif
