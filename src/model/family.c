#include "model/family.h"

#include <string.h>

static const fl_linear_trait separate[FL_NUM_MODULES] = {
    [FL_Q_PROJ] = {"q_proj", "self_attn.q_proj", FL_Q_PROJ},
    [FL_K_PROJ] = {"k_proj", "self_attn.k_proj", FL_K_PROJ},
    [FL_V_PROJ] = {"v_proj", "self_attn.v_proj", FL_V_PROJ},
    [FL_O_PROJ] = {"o_proj", "self_attn.o_proj", FL_O_PROJ},
    [FL_GATE_PROJ] = {"gate_proj", "mlp.gate_proj", FL_GATE_PROJ},
    [FL_UP_PROJ] = {"up_proj", "mlp.up_proj", FL_UP_PROJ},
    [FL_DOWN_PROJ] = {"down_proj", "mlp.down_proj", FL_DOWN_PROJ},
};

static const fl_linear_trait fused[FL_NUM_MODULES] = {
    [FL_Q_PROJ] = {"qkv_proj", "self_attn.qkv_proj", FL_Q_PROJ},
    [FL_K_PROJ] = {"qkv_proj", "self_attn.qkv_proj", FL_Q_PROJ},
    [FL_V_PROJ] = {"qkv_proj", "self_attn.qkv_proj", FL_Q_PROJ},
    [FL_O_PROJ] = {"o_proj", "self_attn.o_proj", FL_O_PROJ},
    [FL_GATE_PROJ] = {"gate_up_proj", "mlp.gate_up_proj", FL_GATE_PROJ},
    [FL_UP_PROJ] = {"gate_up_proj", "mlp.gate_up_proj", FL_GATE_PROJ},
    [FL_DOWN_PROJ] = {"down_proj", "mlp.down_proj", FL_DOWN_PROJ},
};

/* As in PEFT 0.21.2, which leaves Phi-3 to its user. */
static const char *const query_value[] = {"q_proj", "v_proj", NULL};
static const char *const query_key_value[] = {"qkv_proj", NULL};

#define TWO_NORMS \
    [FL_NORM_ATTENTION] = "input_layernorm", [FL_NORM_MLP] = "post_attention_layernorm"

// clang-format off
const fl_family fl_families[] = {
    {.architecture = "LlamaForCausalLM", .model_type = "llama",
     .linear = separate, .norm = {TWO_NORMS}, .targets = query_value,
     .activation_key = "hidden_act"},

    {.architecture = "MistralForCausalLM", .model_type = "mistral",
     .linear = separate, .norm = {TWO_NORMS}, .targets = query_value,
     .activation_key = "hidden_act", .window = FL_WINDOW_ALL, .default_window = 4096},

    {.architecture = "Qwen2ForCausalLM", .model_type = "qwen2",
     .linear = separate, .norm = {TWO_NORMS}, .targets = query_value,
     .activation_key = "hidden_act", .bias = FL_BIAS_QKV,
     .window = FL_WINDOW_UPPER, .default_window = 4096},

    {.architecture = "Qwen3ForCausalLM", .model_type = "qwen3",
     .linear = separate,
     .norm = {TWO_NORMS, [FL_NORM_QUERY] = "self_attn.q_norm", [FL_NORM_KEY] = "self_attn.k_norm"},
     .targets = query_value, .activation_key = "hidden_act",
     .window = FL_WINDOW_UPPER, .default_window = 4096, .default_head_dim = 128},

    {.architecture = "Phi3ForCausalLM", .model_type = "phi3",
     .linear = fused, .norm = {TWO_NORMS}, .targets = query_key_value,
     .activation_key = "hidden_act", .window = FL_WINDOW_ALL},

    {.architecture = "GemmaForCausalLM", .model_type = "gemma",
     .linear = separate, .norm = {TWO_NORMS}, .targets = query_value,
     .activation_key = "hidden_act", .activation = FL_GELU_TANH,
     .default_head_dim = 256, .norm_offset = 1, .scale_embedding = true, .tied_head = true},

    {.architecture = "Gemma2ForCausalLM", .model_type = "gemma2",
     .linear = separate,
     .norm = {[FL_NORM_ATTENTION] = "input_layernorm",
              [FL_NORM_AFTER_ATTENTION] = "post_attention_layernorm",
              [FL_NORM_MLP] = "pre_feedforward_layernorm",
              [FL_NORM_AFTER_MLP] = "post_feedforward_layernorm"},
     .targets = query_value,
     .activation_key = "hidden_activation", .activation = FL_GELU_TANH,
     .window = FL_WINDOW_EVEN, .default_window = 4096, .default_head_dim = 256,
     .norm_offset = 1, .scale_embedding = true, .softcaps = true, .tied_head = true},
};
// clang-format on

const size_t fl_num_families = sizeof fl_families / sizeof fl_families[0];

const fl_family *fl_family_find(const char *architecture, const char *model_type)
{
    for (size_t i = 0; i < fl_num_families; i++) {
        const fl_family *family = &fl_families[i];
        const char *name = architecture ? family->architecture : family->model_type;
        const char *wanted = architecture ? architecture : model_type;
        if (strcmp(name, wanted) == 0) return family;
    }
    return NULL;
}
