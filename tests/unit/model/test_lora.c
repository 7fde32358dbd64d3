#include "model/lora.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fl_model_config config = {.family = &fl_families[0],
                                       .vocab_size = 10,
                                       .hidden_size = 12,
                                       .intermediate_size = 20,
                                       .num_layers = 2,
                                       .num_heads = 3,
                                       .num_kv_heads = 1,
                                       .head_dim = 4};

static void targets_by_name(void **state)
{
    (void)state;
    fl_lora_config lora = {.r = 2};
    const char *good[] = {"v_proj", "down_proj"};
    assert_int_equal(fl_lora_set_targets(&lora, &config, good, 2), FL_OK);
    assert_true(lora.target[FL_V_PROJ] && lora.target[FL_DOWN_PROJ] && !lora.target[FL_Q_PROJ]);
    const char *unknown[] = {"qproj"}, *twice[] = {"q_proj", "q_proj"};
    assert_int_equal(fl_lora_set_targets(&lora, &config, unknown, 1), FL_ERR_USAGE);
    assert_int_equal(fl_lora_set_targets(&lora, &config, twice, 2), FL_ERR_USAGE);
}

static fl_status set(fl_lora_config *lora, const fl_model_config *c, const char *word)
{
    return fl_lora_set_targets(lora, c, &word, word ? 1 : 0);
}

static int count_targets(const fl_lora_config *lora)
{
    int count = 0;
    for (int m = 0; m < FL_NUM_MODULES; m++)
        count += lora->target[m];
    return count;
}

static void targets_by_family_word_or_expression(void **state)
{
    (void)state;
    fl_lora_config lora = {.r = 2};
    assert_int_equal(set(&lora, &config, NULL), FL_OK);
    assert_true(count_targets(&lora) == 2 && lora.target[FL_Q_PROJ] && lora.target[FL_V_PROJ]);
    assert_int_equal(set(&lora, &config, "all-linear"), FL_OK);
    assert_int_equal(count_targets(&lora), FL_NUM_MODULES);
    assert_int_equal(set(&lora, &config, "self_attn.o_proj"), FL_OK);
    assert_true(count_targets(&lora) == 1 && lora.target[FL_O_PROJ]);
    assert_int_equal(set(&lora, &config, ".*\\.(q|k)_proj"), FL_OK);
    assert_true(count_targets(&lora) == 2 && lora.target[FL_K_PROJ]);
    assert_int_equal(set(&lora, &config, "q_proj|.*up_proj"), FL_OK); /* the whole path */
    assert_true(count_targets(&lora) == 1 && lora.target[FL_UP_PROJ]);
    assert_int_equal(set(&lora, &config, "attn.q_proj"), FL_ERR_USAGE);
    assert_int_equal(set(&lora, &config, ".*z_proj"), FL_ERR_USAGE);
    assert_int_equal(set(&lora, &config, "(q_proj"), FL_ERR_USAGE);
    assert_int_equal(set(&lora, &config, "(.+.+)+[0-9]"), FL_ERR_UNSUPPORTED); /* too long */
    assert_int_equal(set(&lora, &config, ".*\\.1\\..*q_proj"), FL_ERR_UNSUPPORTED);
    assert_non_null(strstr(fl_error_text(), "1 of 2 layers"));
}

/* Phi-3: q, k and v are one module with one A. */
static void fused_modules(void **state)
{
    (void)state;
    fl_model_config phi = config;
    phi.family = fl_family_find("Phi3ForCausalLM", NULL);
    fl_lora_config lora = {.r = 2, .alpha = 4};
    assert_int_equal(set(&lora, &phi, "q_proj"), FL_ERR_USAGE);
    assert_int_equal(set(&lora, &phi, NULL), FL_OK);
    const char *names[FL_NUM_MODULES];
    assert_int_equal(fl_lora_target_names(&lora, &phi, names), 1);
    assert_string_equal(names[0], "qkv_proj");
    fl_params p;
    assert_int_equal(fl_lora_create(&p, &lora, &phi, 1), FL_OK);
    assert_int_equal(p.num_params, 4);
    assert_int_equal(p.params[1].dim[0], 20); /* 12 + 4 + 4 rows */
    assert_int_equal(p.count, fl_lora_count(&lora, &phi));
    assert_int_equal(fl_module_row(FL_V_PROJ, &phi), 16);
    fl_params_fini(&p);
    assert_true(fl_lora_scale(&lora, 0, FL_Q_PROJ) == 2.0f);
    lora.rslora = true;
    assert_true(fabsf(fl_lora_scale(&lora, 0, FL_Q_PROJ) - 2.8284271f) < 1e-6f);
}

static void layout_is_pefts(void **state)
{
    (void)state;
    fl_lora_config lora = {.r = 2};
    const char *names[] = {"k_proj", "gate_proj"};
    assert_int_equal(fl_lora_set_targets(&lora, &config, names, 2), FL_OK);
    fl_params p;
    assert_int_equal(fl_lora_create(&p, &lora, &config, 1), FL_OK);
    assert_int_equal(p.num_params, 8);
    const fl_param *b =
        fl_params_find(&p, "base_model.model.model.layers.1.mlp.gate_proj.lora_B.weight");
    assert_non_null(b);
    assert_int_equal(b->dim[0], 20);
    assert_int_equal(b->dim[1], 2);
    const fl_param *a =
        fl_params_find(&p, "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight");
    assert_non_null(a);
    assert_int_equal(a->dim[0], 2);
    assert_int_equal(a->dim[1], 12);
    fl_params_fini(&p);
}

static void ranks_and_alphas_by_pattern(void **state)
{
    (void)state;
    fl_lora_config lora = {.r = 2, .alpha = 8};
    static const char *const good[] = {"layers\\.1\\.mlp\\.up_proj=5", "(up|q)_proj=3"};
    static const char *const alpha[] = {"q_proj=1.5"}, *const unused[] = {"k_proj=3"};
    static const char *const bad[] = {"q_proj",     "q_proj=",   "=3",
                                      "q_proj=2.5", "q_proj=0",  "q_proj=5000",
                                      "q_proj=3x",  "(q_proj=3", "\\dq=2"};
    fl_arena *arena;
    fl_patterns ranks, alphas, none = {0};
    assert_int_equal(fl_arena_create(&arena), FL_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fl_lora_parse_patterns(&ranks, arena, "rank_pattern", &bad[i], 1, true),
                         FL_ERR_USAGE);
    assert_int_equal(fl_lora_parse_patterns(&ranks, arena, "rank_pattern", good, 2, true), FL_OK);
    assert_int_equal(fl_lora_parse_patterns(&alphas, arena, "alpha_pattern", alpha, 1, false),
                     FL_OK);
    const char *names[] = {"q_proj", "up_proj", "down_proj"};
    assert_int_equal(fl_lora_set_targets(&lora, &config, names, 3), FL_OK);
    assert_int_equal(fl_lora_set_patterns(&lora, &config, &ranks, &alphas, true), FL_OK);
    assert_int_equal(fl_lora_rank(&lora, 0, FL_UP_PROJ), 3);
    assert_int_equal(fl_lora_rank(&lora, 1, FL_UP_PROJ), 5);
    assert_int_equal(fl_lora_rank(&lora, 1, FL_DOWN_PROJ), 2);
    assert_int_equal(fl_lora_most_rank(&lora, &config), 5);
    assert_true(fl_lora_scale(&lora, 1, FL_Q_PROJ) == 0.5f);
    assert_true(fl_lora_scale(&lora, 1, FL_DOWN_PROJ) == 4.0f);
    fl_params p;
    assert_int_equal(fl_lora_create(&p, &lora, &config, 1), FL_OK);
    assert_int_equal(p.count, fl_lora_count(&lora, &config));
    assert_int_equal(
        fl_params_find(&p, "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight")->dim[1], 5);
    fl_params_fini(&p);
    fl_lora_fini(&lora);
    assert_int_equal(fl_lora_parse_patterns(&ranks, arena, "rank_pattern", unused, 1, true), FL_OK);
    assert_int_equal(fl_lora_set_patterns(&lora, &config, &ranks, &none, true), FL_ERR_USAGE);
    assert_int_equal(fl_lora_set_patterns(&lora, &config, &ranks, &none, false), FL_OK);
    fl_lora_fini(&lora);
    fl_arena_destroy(arena);
}

static void a_is_uniform_and_seeded_b_is_zero(void **state)
{
    (void)state;
    fl_lora_config lora = {.r = 64};
    const char *names[] = {"q_proj"};
    assert_int_equal(fl_lora_set_targets(&lora, &config, names, 1), FL_OK);
    fl_params p, same, other;
    assert_int_equal(fl_lora_create(&p, &lora, &config, 1), FL_OK);
    assert_int_equal(fl_lora_create(&same, &lora, &config, 1), FL_OK);
    assert_int_equal(fl_lora_create(&other, &lora, &config, 2), FL_OK);
    assert_memory_equal(p.data, same.data, p.count * sizeof(float));
    assert_memory_not_equal(p.data, other.data, p.count * sizeof(float));
    double bound = 1.0 / sqrt(12.0), squares = 0;
    for (size_t i = 0; i < p.params[0].count; i++) {
        assert_true(fabs((double)p.data[i]) <= bound);
        squares += (double)p.data[i] * (double)p.data[i];
    }
    /* variance of the uniform distribution is bound^2 / 3; 768 draws give it to 5 % */
    assert_true(fabs(squares / 768.0 / (bound * bound / 3.0) - 1.0) < 0.12);
    for (size_t i = 0; i < p.params[1].count; i++)
        assert_true(p.data[p.params[1].offset + i] == 0);
    /* the layers do not share their draws */
    assert_memory_not_equal(p.data, p.data + p.params[2].offset, 64 * sizeof(float));
    fl_params_fini(&p);
    fl_params_fini(&same);
    fl_params_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_by_name),
        cmocka_unit_test(targets_by_family_word_or_expression),
        cmocka_unit_test(fused_modules),
        cmocka_unit_test(layout_is_pefts),
        cmocka_unit_test(ranks_and_alphas_by_pattern),
        cmocka_unit_test(a_is_uniform_and_seeded_b_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
