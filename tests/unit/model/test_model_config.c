#include "model/model_config.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char good[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":160,"
    "\"hidden_size\":48,\"intermediate_size\":80,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":6,\"num_key_value_heads\":2,\"max_position_embeddings\":128,"
    "\"rms_norm_eps\":1e-5,\"rope_theta\":5e4%s}";

static fl_status load(fl_model_config *config, const char *text)
{
    char dir[] = "/tmp/fedllm-config-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    fl_status status = fl_model_config_load(config, dir);
    unlink(path);
    rmdir(dir);
    return status;
}

/* The good file with `extra` members at its end; a later duplicate is an error of its own. */
static fl_status load_with(fl_model_config *config, const char *extra)
{
    char text[2048];
    snprintf(text, sizeof text, good, extra);
    return load(config, text);
}

static void sizes_and_defaults(void **state)
{
    (void)state;
    fl_model_config c;
    assert_int_equal(load_with(&c, ""), FL_OK);
    assert_int_equal(c.head_dim, 8);
    assert_int_equal(c.num_kv_heads, 2);
    assert_true(c.rope.theta == 5e4 && c.rope.kind == FL_ROPE_DEFAULT);
    assert_true(c.embedding_scale == 1 && c.attn_softcap == 0 && fl_model_window(&c, 0) == 0);
    assert_false(c.tied_head);
}

/* Newer files keep rope_theta in rope_parameters and say head_dim. */
static void newer_form(void **state)
{
    (void)state;
    fl_model_config c;
    const char *extra = ",\"rope_parameters\":{\"rope_theta\":7e5,\"rope_type\":\"default\"},"
                        "\"head_dim\":16,\"tie_word_embeddings\":true";
    assert_int_equal(load_with(&c, extra), FL_OK);
    assert_true(c.rope.theta == 7e5);
    assert_int_equal(c.head_dim, 16);
    assert_true(c.tied_head);
}

/* One minimal file per family, with what its config.json leaves to the defaults. */
static fl_status load_family(fl_model_config *config, const char *architecture, const char *extra)
{
    char text[2048];
    snprintf(text, sizeof text,
             "{\"architectures\":[\"%s\"],\"vocab_size\":160,\"hidden_size\":64,"
             "\"intermediate_size\":80,\"num_hidden_layers\":30,\"num_attention_heads\":4%s}",
             architecture, extra);
    return load(config, text);
}

static void defaults_of_families(void **state)
{
    (void)state;
    fl_model_config c;
    assert_int_equal(load_family(&c, "MistralForCausalLM", ""), FL_OK);
    assert_true(fl_model_window(&c, 0) == 4096 && fl_model_window(&c, 29) == 4096);
    assert_int_equal(load_family(&c, "MistralForCausalLM", ",\"sliding_window\":null"), FL_OK);
    assert_int_equal(fl_model_window(&c, 0), 0);
    assert_int_equal(load_family(&c, "Qwen2ForCausalLM", ""), FL_OK);
    assert_true(c.bias[FL_Q_PROJ] && c.bias[FL_V_PROJ] && !c.bias[FL_O_PROJ]);
    assert_int_equal(fl_model_window(&c, 29), 0);
    assert_int_equal(load_family(&c, "Qwen2ForCausalLM", ",\"use_sliding_window\":true"), FL_OK);
    assert_true(fl_model_window(&c, 27) == 0 && fl_model_window(&c, 28) == 4096);
    assert_int_equal(load_family(&c, "Qwen3ForCausalLM", ""), FL_OK);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(load_family(&c, "Phi3ForCausalLM", ""), FL_OK);
    assert_int_equal(fl_model_window(&c, 0), 0);
    assert_int_equal(load_family(&c, "GemmaForCausalLM", ",\"hidden_act\":\"gelu\""), FL_OK);
    assert_true(c.tied_head && c.head_dim == 256 && c.embedding_scale == 8);
    assert_int_equal(load_family(&c, "Gemma2ForCausalLM", ",\"final_logit_softcapping\":null"),
                     FL_OK);
    assert_true(c.attn_softcap == 50 && c.final_softcap == 0 && c.attn_scale == 0.0625f);
    assert_true(fl_model_window(&c, 0) == 4096 && fl_model_window(&c, 1) == 0);
    assert_int_equal(load_family(&c, "LlamaForCausalLM", ",\"attention_bias\":true"), FL_OK);
    assert_true(c.bias[FL_O_PROJ] && !c.bias[FL_UP_PROJ]);
}

/* Llama 3.1's own numbers: high frequencies stay, low ones are divided by 8. */
static void llama3_frequencies(void **state)
{
    (void)state;
    fl_model_config c;
    const char *extra =
        ",\"rope_theta\":500000.0,\"head_dim\":128,\"rope_scaling\":{\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}";
    assert_int_equal(load_family(&c, "LlamaForCausalLM", extra), FL_OK);
    float frequencies[64];
    fl_rope_frequencies(frequencies, &c);
    assert_true(frequencies[0] == 1.0f);
    float plain = (float)pow(500000.0, -126.0 / 128.0);
    assert_true(fabsf(frequencies[63] / (plain / 8) - 1) < 1e-6f);
    assert_int_equal(
        load_family(&c, "LlamaForCausalLM", ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}"),
        FL_OK);
    fl_rope_frequencies(frequencies, &c);
    assert_true(frequencies[0] == 0.25f && c.max_positions == 4 * 2048);
}

static void refused(void **state)
{
    (void)state;
    const struct {
        const char *extra;
        fl_status status;
        const char *text;
    } cases[] = {
        {",\"hidden_act\":\"gelu\"", FL_ERR_UNSUPPORTED, "hidden_act"},
        {",\"quantization_config\":{}", FL_ERR_UNSUPPORTED, "quantization_config"},
        {",\"rope_scaling\":{\"rope_type\":\"yarn\"}", FL_ERR_UNSUPPORTED, "yarn"},
        {",\"rope_scaling\":{\"type\":\"longrope\"}", FL_ERR_UNSUPPORTED, "longrope"},
        {",\"rope_scaling\":{\"type\":\"linear\"}", FL_ERR_INPUT, "factor"},
        {",\"rope_scaling\":{\"type\":\"linear\",\"factor\":-2}", FL_ERR_INPUT, "factor"},
        {",\"partial_rotary_factor\":0.5", FL_ERR_UNSUPPORTED, "partial_rotary_factor"},
        {",\"layer_types\":[\"full_attention\"]", FL_ERR_INPUT, "layer_types"},
        {",\"layer_types\":[\"a\",1,{}]", FL_ERR_UNSUPPORTED, "layer type"},
        {",\"attention_bias\":3", FL_ERR_INPUT, "attention_bias"},
        {",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}", FL_ERR_UNSUPPORTED,
         "gptq"},
        {",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}",
         FL_ERR_UNSUPPORTED, "bitsandbytes with NF4"},
        {",\"head_dim\":7", FL_ERR_INPUT, "head size 7"},
        {",\"head_dim\":-8", FL_ERR_INPUT, "head_dim"},
        {",\"hidden_size\":49", FL_ERR_INPUT, "duplicate"},
        {",\"tie_word_embeddings\":\"yes\"", FL_ERR_INPUT, "tie_word_embeddings"},
    };
    fl_model_config c;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(load_with(&c, cases[i].extra), cases[i].status);
        if (!strstr(fl_error_text(), cases[i].text))
            fail_msg("\"%s\" does not name %s", fl_error_text(), cases[i].text);
    }
}

static void hostile_files(void **state)
{
    (void)state;
    fl_model_config c;
    assert_int_equal(load(&c, ""), FL_ERR_INPUT);
    assert_int_equal(load(&c, "[]"), FL_ERR_INPUT);
    assert_int_equal(load(&c, "{\"architectures\":[\"GPT2LMHeadModel\"]}"), FL_ERR_UNSUPPORTED);
    assert_non_null(strstr(fl_error_text(), "GPT2LMHeadModel"));
    assert_non_null(strstr(fl_error_text(), "LlamaForCausalLM, MistralForCausalLM"));
    assert_int_equal(load(&c, "{\"architectures\":\"LlamaForCausalLM\"}"), FL_ERR_INPUT);
    assert_int_equal(load(&c, "{\"model_type\":\"llama\"}"), FL_ERR_INPUT);
    assert_non_null(strstr(fl_error_text(), "vocab_size"));
    assert_int_equal(load(&c, "{\"model_type\":\"llama\",\"vocab_size\":99999999999}"),
                     FL_ERR_INPUT);
    assert_int_equal(fl_model_config_load(&c, "/nonexistent"), FL_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_defaults),
        cmocka_unit_test(newer_form),
        cmocka_unit_test(defaults_of_families),
        cmocka_unit_test(llama3_frequencies),
        cmocka_unit_test(refused),
        cmocka_unit_test(hostile_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
