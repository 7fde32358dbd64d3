#include "model/model_config.h"

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
    assert_non_null(strstr(fl_error_text(), "LlamaForCausalLM"));
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
        cmocka_unit_test(refused),
        cmocka_unit_test(hostile_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
