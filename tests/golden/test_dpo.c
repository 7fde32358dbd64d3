/* Preference pairs against TRL 0.7.2's collator, and its losses, rewards and LoRA gradients.
 *
 * Limits: as for SFT (README.md), relative to what is compared; log-probabilities are sums over up
 * to 28 tokens. */
#include "base/json.h"
#include "data/pairs_build.h"
#include "golden/golden.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const double loss_limit = 2e-6, logp_limit = 5e-6, gradient_limit = 2e-5;

enum { PAIRS = 8 };

/* A golden sequence without its masked tokens of the prompt is what the pair holds, positions and
 * all. */
static void check_sequence(const fl_pairs *pairs, size_t i, int part, const json_t *expected)
{
    const json_t *ids = golden_get(expected, "ids"), *mask = golden_get(expected, "mask");
    size_t at = fl_pair_begin(pairs, i, FL_PART_PROMPT), seen = 0, length = json_array_size(ids);
    size_t prompt = (size_t)fl_pair_length(pairs, i, FL_PART_PROMPT);
    for (size_t t = 0; t < length; t++) {
        if (json_integer_value(json_array_get(mask, t)) == 0) continue;
        if (seen++ == prompt) at = fl_pair_begin(pairs, i, part);
        assert_int_equal(pairs->ids[at], json_integer_value(json_array_get(ids, t)));
        assert_int_equal(pairs->pos[at++], t);
    }
    assert_int_equal(seen, prompt + (size_t)fl_pair_length(pairs, i, part));
}

static void pairs_are_those_of_trl(void **state)
{
    (void)state;
    golden g = golden_open("dpo_loss_dpo");
    fl_train_data data = golden_data(&g, golden_get(g.json, "pairs"));
    const json_t *sequences = golden_get(g.json, "sequences");
    assert_int_equal(data.pairs->count, json_array_size(sequences));
    for (size_t i = 0; i < data.pairs->count; i++) {
        const json_t *both = json_array_get(sequences, i);
        check_sequence(data.pairs, i, FL_PART_CHOSEN, json_array_get(both, 0));
        check_sequence(data.pairs, i, FL_PART_REJECTED, json_array_get(both, 1));
    }
    assert_int_equal(data.pairs->num_cut, 4);
    golden_data_fini(&data);
    golden_close(&g);
}

/* ---- from text ----------------------------------------------------------------------------------
 */

/* A data set file of its own, as the kinds of records differ. */
static fl_dataset *load_records(const char *folder, const json_t *records)
{
    const fl_dataset_options options = {.dpo_compat = true};
    char path[64];
    snprintf(path, sizeof path, "%s/records.json", folder);
    assert_int_equal(json_dump_file(records, path, JSON_COMPACT), 0);
    fl_dataset *dataset;
    OK(fl_dataset_load(&dataset, path, &options));
    assert_int_equal(dataset->count, json_array_size(records));
    assert_int_equal(unlink(path), 0);
    return dataset;
}

static void check_limits(const fl_dataset *dataset, const fl_tokenizer *tokenizer,
                         const fl_conversation *format, const json_t *limits)
{
    const fl_pair_rules rules = {.compat = true,
                                 .max_length = golden_int(limits, "max_length"),
                                 .max_prompt_length = golden_int(limits, "max_prompt_length")};
    fl_pairs *pairs;
    OK(fl_pairs_build(&pairs, dataset, tokenizer, format, &rules));
    for (size_t i = 0; i < pairs->count; i++) {
        const json_t *both = json_array_get(golden_get(limits, "sequences"), i);
        check_sequence(pairs, i, FL_PART_CHOSEN, json_array_get(both, 0));
        check_sequence(pairs, i, FL_PART_REJECTED, json_array_get(both, 1));
    }
    assert_int_equal(pairs->num_cut, golden_int(limits, "num_cut"));
    fl_pairs_destroy(pairs);
}

/* hh-rlhf's transcripts, and prompts with answers as texts and as messages. */
static void pairs_from_text(void **state)
{
    (void)state;
    char folder[] = "/tmp/fedllm-pairs-XXXXXX";
    assert_non_null(mkdtemp(folder));
    json_t *all, *set, *limits;
    OK(fl_json_load_file(&all, golden_path("pairs.json.gz")));
    const fl_conversation *format =
        fl_conversation_find(json_string_value(golden_get(all, "format")));
    assert_non_null(format);
    fl_tokenizer *tokenizer;
    OK(fl_tokenizer_open(&tokenizer, golden_path("../../../configs/embedded/model")));
    size_t i, j;
    json_array_foreach(golden_get(all, "sets"), i, set)
    {
        fl_dataset *dataset = load_records(folder, golden_get(set, "records"));
        json_array_foreach(golden_get(set, "limits"), j, limits)
            check_limits(dataset, tokenizer, format, limits);
        fl_dataset_destroy(dataset);
    }
    assert_int_equal(i, 3);
    fl_tokenizer_close(tokenizer);
    json_decref(all);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- losses -------------------------------------------------------------------------------------
 */

static double mean_of(const golden *g, const char *key, size_t first, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += json_number_value(json_array_get(golden_get(g->json, key), first + i));
    return sum / (double)count;
}

static void check_reference(const golden *g, const fl_train_data *data)
{
    const json_t *expected = golden_get(g->json, "reference_logps");
    for (size_t i = 0; i < PAIRS; i++)
        for (size_t a = 0; a < 2; a++)
            expect_real("reference", data->reference[2 * i + a],
                        json_number_value(json_array_get(expected, a * PAIRS + i)), logp_limit);
}

/* Measures of one step at the learning rate 0. */
static void check_measures(const golden *g, fl_trainer *trainer, const fl_train_data *data,
                           const uint32_t *indices)
{
    fl_local_job job = {.data = *data, .indices = indices, .count = PAIRS};
    fl_local_result result;
    OK(fl_trainer_run(trainer, &job, &result));
    assert_int_equal(result.reference_made, 0);
    const json_t *dpo = golden_get(g->json, "dpo"), *h = golden_get(g->json, "h");
    double right = 0;
    for (size_t i = 0; i < PAIRS; i++)
        right += json_number_value(json_array_get(h, i)) > 0;
    expect_real("loss of the step", result.loss, golden_real(g->json, "loss"), loss_limit);
    expect_real("margin", result.measures[0], golden_real(dpo, "beta") * mean_of(g, "h", 0, PAIRS),
                2e-5);
    expect_real("accuracy", result.measures[1], right / PAIRS, 0);
    if (strcmp(json_string_value(golden_get(dpo, "loss")), "ipo") == 0) return;
    expect_real("margin of rewards", result.measures[0],
                mean_of(g, "rewards_chosen", 0, PAIRS) - mean_of(g, "rewards_rejected", 0, PAIRS),
                2e-5);
    expect_real("log p of chosen", result.measures[2], mean_of(g, "logps", 0, PAIRS), logp_limit);
    expect_real("log p of rejected", result.measures[3], mean_of(g, "logps", PAIRS, PAIRS),
                logp_limit);
}

static void check_gradient(const golden *g, const float *gradient, const fl_params *adapter)
{
    fl_params expected;
    OK(fl_params_like(&expected, adapter));
    golden_fill(g, "grad", &expected);
    for (size_t i = 0; i < expected.num_params; i++) {
        const fl_param *p = &expected.params[i];
        expect_close(strstr(p->name, "layers"), gradient + p->offset, expected.data + p->offset,
                     p->count, gradient_limit);
    }
    fl_params_fini(&expected);
}

static void check_form(const char *name, bool share)
{
    golden g = golden_open(name);
    fl_lora_config lora = golden_lora(&g, NULL);
    fl_train_config config = golden_train(&g);
    fl_train_data data = golden_data(&g, golden_get(g.json, "pairs"));
    config.batch_size = PAIRS;
    data.share_prompts = share;
    assert_int_equal(data.pairs->count, PAIRS);
    fl_model *model;
    OK(fl_model_open(&model, golden_path("model"), fl_backend_find("cpu"), 0));
    fl_params adapter, gradient;
    OK(fl_lora_create(&adapter, &lora, &model->config, 1));
    OK(fl_params_like(&gradient, &adapter));
    golden_fill(&g, "adapter", &adapter);
    fl_trainer_limits limits = {.longest = fl_objective_dpo.longest(&data), .most_examples = PAIRS};
    fl_trainer *trainer;
    OK(fl_trainer_create(&trainer, model, &lora, &config, &limits));
    fl_trainer_set_adapter(trainer, adapter.data);
    static const uint32_t indices[PAIRS] = {0, 1, 2, 3, 4, 5, 6, 7};
    double loss;
    OK(fl_trainer_gradient(trainer, &data, indices, PAIRS, &loss, gradient.data));
    expect_real("loss", loss, golden_real(g.json, "loss"), loss_limit);
    check_reference(&g, &data);
    check_gradient(&g, gradient.data, &adapter);
    check_measures(&g, trainer, &data, indices);
    fl_trainer_destroy(trainer);
    fl_params_fini(&adapter);
    fl_params_fini(&gradient);
    fl_model_close(model);
    golden_data_fini(&data);
    golden_close(&g);
}

/* With shared prompts, as the CPU trains, and without. */
static void check_case(const char *name)
{
    check_form(name, true);
    check_form(name, false);
}

static void loss_of_dpo(void **state)
{
    (void)state;
    check_case("dpo_loss_dpo");
}

static void loss_of_cdpo(void **state)
{
    (void)state;
    check_case("dpo_loss_cdpo");
}

static void loss_of_ipo(void **state)
{
    (void)state;
    check_case("dpo_loss_ipo");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_those_of_trl),
        cmocka_unit_test(pairs_from_text),
        cmocka_unit_test(loss_of_dpo),
        cmocka_unit_test(loss_of_cdpo),
        cmocka_unit_test(loss_of_ipo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
