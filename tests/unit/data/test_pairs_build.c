/* Preference records to pairs of ids, with the tokenizer of the embedded model. */
#include "data/pairs_build.h"
#include "data_test.h"

static const char model_dir[] = FL_TEST_SOURCE_DIR "/configs/embedded/model";

enum { BOS = 1, EOS = 2 };

typedef struct made {
    fl_tokenizer *tokenizer;
    fl_dataset *dataset;
    fl_pairs *pairs;
} made;

static void open_made(made *m, const char *folder, const char *lines, bool compat)
{
    const fl_dataset_options options = {.dpo_compat = compat};
    write_text(folder, "set.jsonl", lines);
    OK(fl_tokenizer_open(&m->tokenizer, model_dir));
    OK(fl_dataset_load(&m->dataset, path_in(folder, "set.jsonl"), &options));
}

static made make(const char *folder, const char *lines, const char *format, bool compat)
{
    made m = {0};
    const fl_pair_rules rules = {.compat = compat, .max_length = 512, .max_prompt_length = 128};
    open_made(&m, folder, lines, compat);
    OK(fl_pairs_build(&m.pairs, m.dataset, m.tokenizer, fl_conversation_find(format), &rules));
    return m;
}

static void unmake(made *m)
{
    fl_pairs_destroy(m->pairs);
    fl_dataset_destroy(m->dataset);
    fl_tokenizer_close(m->tokenizer);
}

/* The part's ids are those of the text, with or without bos and eos around them. */
static void expect_text(const made *m, int part, const char *text, bool bos, bool eos)
{
    fl_tokens tokens = {0};
    OK(fl_tokenizer_encode(m->tokenizer, text, strlen(text), bos, &tokens));
    const int32_t *ids = m->pairs->ids + fl_pair_begin(m->pairs, 0, part);
    assert_int_equal(fl_pair_length(m->pairs, 0, part), tokens.count + eos);
    assert_memory_equal(ids, tokens.ids, tokens.count * sizeof *ids);
    if (eos) assert_int_equal(ids[tokens.count], EOS);
    fl_tokens_fini(&tokens);
}

static const char plain[] =
    "{\"prompt\": \"Name a bird.\", \"chosen\": \"wren\", \"rejected\": \"wooden axe\"}\n";
static const char turns[] = "{\"prompt\": [{\"role\": \"user\", \"content\": \"Name a bird.\"}, "
                            "{\"role\": \"assistant\", \"content\": \"wren\"}, "
                            "{\"role\": \"user\", \"content\": \"A tree?\"}], "
                            "\"chosen\": [{\"role\": \"assistant\", \"content\": \"oak\"}], "
                            "\"rejected\": [{\"role\": \"assistant\", \"content\": \"axe\"}]}\n";

/* As TRL: every part on its own, no bos, an answer with the space in front. */
static void compat_form(void **state)
{
    made m = make(*state, plain, "airoboros_v2", true);
    expect_text(&m, FL_PART_PROMPT, "A chat.\nUSER: Name a bird.\nASSISTANT:", false, false);
    expect_text(&m, FL_PART_CHOSEN, " wren", false, true);
    expect_text(&m, FL_PART_REJECTED, " wooden axe", false, true);
    unmake(&m);
}

/* eos between turns: hidden, its position left empty. */
static void compat_hides_eos(void **state)
{
    made m = make(*state, turns, "airoboros_v2", true);
    fl_tokens whole = {0};
    const char *text = "A chat.\nUSER: Name a bird.\nASSISTANT: wren</s>USER: A tree?\nASSISTANT:";
    OK(fl_tokenizer_encode(m.tokenizer, text, strlen(text), false, &whole));
    size_t at = fl_pair_begin(m.pairs, 0, FL_PART_PROMPT), hidden = 0;
    for (size_t i = 0; i < whole.count; i++) {
        hidden += whole.ids[i] == EOS;
        if (whole.ids[i] == EOS) continue;
        assert_int_equal(m.pairs->ids[at], whole.ids[i]);
        assert_int_equal(m.pairs->pos[at++], i);
    }
    assert_int_equal(hidden, 1);
    assert_int_equal(at, fl_pair_begin(m.pairs, 0, FL_PART_CHOSEN));
    assert_int_equal(m.pairs->pos[at], whole.count);
    fl_tokens_fini(&whole);
    unmake(&m);
}

/* One text with each answer: bos in front, nothing hidden, one eos at the end. */
static void clean_form(void **state)
{
    made m = make(*state, turns, "airoboros_v2", false);
    fl_tokens whole = {0};
    const char *text =
        "A chat.\nUSER: Name a bird.\nASSISTANT: wren</s>USER: A tree?\nASSISTANT: oak</s>";
    OK(fl_tokenizer_encode(m.tokenizer, text, strlen(text), true, &whole));
    const size_t prompt = (size_t)fl_pair_length(m.pairs, 0, FL_PART_PROMPT);
    const size_t answer = (size_t)fl_pair_length(m.pairs, 0, FL_PART_CHOSEN);
    assert_int_equal(whole.ids[0], BOS);
    assert_int_equal(prompt + answer, whole.count);
    assert_memory_equal(m.pairs->ids, whole.ids, whole.count * sizeof *whole.ids);
    for (size_t i = 0; i < whole.count; i++)
        assert_int_equal(m.pairs->pos[i], i);
    /* the answer begins with its space, behind the colon */
    assert_int_equal(whole.begin[prompt], strlen(text) - strlen(" oak</s>"));
    assert_int_equal(m.pairs->ids[prompt + answer - 1], EOS);
    assert_true(m.pairs->ids[prompt + answer - 2] != EOS);
    fl_tokens_fini(&whole);
    unmake(&m);
}

static void faults(void **state)
{
    made m = {0};
    const fl_conversation *format = fl_conversation_find("airoboros_v2");
    fl_pair_rules rules = {.max_length = 64, .max_prompt_length = 64};
    open_made(&m, *state, plain, false);
    FAILS(fl_pairs_build(&m.pairs, m.dataset, m.tokenizer, format, &rules), FL_ERR_USAGE,
          "dpo_max_prompt_length = 64 leaves no answer");
    unmake(&m);
    m = (made){0};
    rules.max_prompt_length = 16;
    open_made(&m, *state, "{\"instruction\": \"a\", \"output\": \"b\"}\n", false);
    FAILS(fl_pairs_build(&m.pairs, m.dataset, m.tokenizer, format, &rules), FL_ERR_USAGE,
          "these are alpaca");
    unmake(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(compat_form, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(compat_hides_eos, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(clean_form, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(faults, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
