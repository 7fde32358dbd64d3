/* Preference pairs from ids: limits of the clean form, faults, packing.  The compatible form is
 * checked against TRL in tests/golden/test_dpo.c. */
#include "data/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BOS = 1, EOS = 2 };
static const fl_pair_rules clean = {
    .max_length = 10, .max_prompt_length = 4, .bos = BOS, .eos = EOS};

static const int32_t prompt[] = {BOS, 11, EOS, 13, 14, 15};
static const int32_t chosen[] = {21, 22, EOS}, rejected[] = {31, 32, 33, 34, 35, 36, 37, EOS};

static fl_pair_ids ids_of(size_t prompts, size_t chosens, size_t rejecteds)
{
    return (fl_pair_ids){.ids = {prompt, chosen, rejected}, .count = {prompts, chosens, rejecteds}};
}

static fl_pairs *pairs_of(const fl_pair_ids *ids, size_t count)
{
    fl_pairs *pairs;
    assert_int_equal(fl_pairs_create(&pairs), FL_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fl_pairs_add(pairs, &clean, &ids[i]), FL_OK);
    return pairs;
}

static void expect_part(const fl_pairs *pairs, size_t i, int part, const int32_t *ids, size_t count,
                        int32_t pos)
{
    assert_int_equal(fl_pair_length(pairs, i, part), count);
    size_t first = fl_pair_begin(pairs, i, part);
    assert_memory_equal(pairs->ids + first, ids, count * sizeof *ids);
    for (size_t t = 0; t < count; t++)
        assert_int_equal(pairs->pos[first + t], pos + (int32_t)t);
}

static void what_fits_stays_whole(void **state)
{
    (void)state;
    const fl_pair_ids ids[] = {ids_of(6, 3, 4), ids_of(2, 1, 8)};
    fl_pairs *pairs = pairs_of(ids, 2);
    expect_part(pairs, 0, FL_PART_PROMPT, prompt, 6, 0);
    expect_part(pairs, 0, FL_PART_CHOSEN, chosen, 3, 6);
    expect_part(pairs, 0, FL_PART_REJECTED, rejected, 4, 6);
    expect_part(pairs, 1, FL_PART_REJECTED, rejected, 8, 2);
    assert_int_equal(pairs->num_cut, 0);
    assert_int_equal(pairs->max_length, 10);
    assert_int_equal(fl_pair_tokens(pairs, 0, false), 2 * 5 + 3 + 4);
    assert_int_equal(fl_pair_tokens(pairs, 0, true), 5 + 3 + 4);
    assert_int_equal(pairs->max_tokens[0], 17);
    assert_int_equal(pairs->max_tokens[1], 12);
    fl_pairs_destroy(pairs);
}

/* The bos stays in front, the prompt loses what stands behind it, then the answers their ends. */
static void too_long_loses_the_front(void **state)
{
    (void)state;
    const fl_pair_ids ids[] = {ids_of(6, 3, 5), ids_of(6, 3, 8)};
    fl_pairs *pairs = pairs_of(ids, 2);
    const int32_t five[] = {BOS, EOS, 13, 14, 15}, four[] = {BOS, 13, 14, 15};
    expect_part(pairs, 0, FL_PART_PROMPT, five, 5, 0);
    expect_part(pairs, 0, FL_PART_REJECTED, rejected, 5, 5);
    expect_part(pairs, 1, FL_PART_PROMPT, four, 4, 0);
    expect_part(pairs, 1, FL_PART_CHOSEN, chosen, 3, 4);
    expect_part(pairs, 1, FL_PART_REJECTED, rejected, 6, 4);
    assert_int_equal(pairs->num_cut, 2);
    assert_int_equal(pairs->max_length, 10);
    fl_pairs_destroy(pairs);
}

static void faults(void **state)
{
    (void)state;
    fl_pairs *pairs;
    assert_int_equal(fl_pairs_create(&pairs), FL_OK);
    const fl_pair_ids ids[] = {ids_of(0, 1, 1), ids_of(1, 0, 1), ids_of(1, 1, 0)};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(fl_pairs_add(pairs, &clean, &ids[i]), FL_ERR_INPUT);
    fl_pair_rules rules = clean;
    const fl_pair_ids good = ids_of(1, 1, 1);
    rules.max_prompt_length = 10;
    assert_int_equal(fl_pairs_add(pairs, &rules, &good), FL_ERR_USAGE);
    assert_int_equal(pairs->count, 0);
    const fl_pair_ids same = {.ids = {prompt, chosen, chosen}, .count = {6, 3, 3}};
    assert_int_equal(fl_pairs_add(pairs, &clean, &same), FL_OK);
    assert_int_equal(pairs->num_alike, 1);
    fl_pairs_destroy(pairs);
}

static fl_status pack_pairs(fl_batch *batch, const fl_pairs *pairs, const uint32_t *indices,
                            size_t count, bool share)
{
    fl_batch_clear(batch);
    return fl_batch_add_pairs(batch, pairs, indices, count, share);
}

static void packed_pairs(void **state)
{
    (void)state;
    const fl_pair_ids ids[] = {ids_of(2, 3, 1), ids_of(1, 1, 2)};
    fl_pairs *pairs = pairs_of(ids, 2);
    fl_batch batch;
    const uint32_t both[] = {0, 1}, three[] = {0, 1, 0};
    assert_int_equal(fl_batch_init(&batch, 4, 11), FL_OK);
    assert_int_equal(pack_pairs(&batch, pairs, both, 2, false), FL_OK);
    const int32_t tokens[] = {BOS, 11, 21, 22, BOS, 11, BOS, BOS, 31};
    const int32_t pos[] = {0, 1, 2, 3, 0, 1, 0, 0, 1}, cu[] = {0, 4, 6, 7, 9};
    const int32_t rows[] = {1, 2, 3, 5, 6, 7, 8}, targets[] = {21, 22, EOS, 31, 21, 31, 32};
    assert_int_equal(batch.T, 9);
    assert_int_equal(batch.S, 4);
    assert_int_equal(batch.N, 7);
    assert_memory_equal(batch.ids, tokens, sizeof tokens);
    assert_memory_equal(batch.pos, pos, sizeof pos);
    assert_memory_equal(batch.cu, cu, sizeof cu);
    assert_memory_equal(batch.loss_rows, rows, sizeof rows);
    assert_memory_equal(batch.targets, targets, sizeof targets);
    assert_int_equal(pack_pairs(&batch, pairs, three, 3, false), FL_ERR_INTERNAL);
    const uint32_t twice[] = {0, 0};
    assert_int_equal(pack_pairs(&batch, pairs, twice, 2, false), FL_ERR_INTERNAL);
    fl_batch_fini(&batch);
    fl_pairs_destroy(pairs);
}

static void packed_pairs_with_shared_prompts(void **state)
{
    (void)state;
    const fl_pair_ids ids[] = {ids_of(2, 3, 1), ids_of(1, 1, 2)};
    fl_pairs *pairs = pairs_of(ids, 2);
    fl_batch batch;
    const uint32_t both[] = {0, 1};
    assert_int_equal(fl_batch_init(&batch, 6, 8), FL_OK);
    assert_int_equal(pack_pairs(&batch, pairs, both, 2, true), FL_OK);
    const int32_t tokens[] = {BOS, 11, 21, 22, 11, BOS, BOS, 31};
    const int32_t pos[] = {0, 1, 2, 3, 1, 0, 0, 1}, cu[] = {0, 1, 4, 5, 5, 6, 8};
    const int32_t prefix[] = {-1, 0, 0, -1, 3, 3};
    const int32_t rows[] = {1, 2, 3, 4, 5, 6, 7}, targets[] = {21, 22, EOS, 31, 21, 31, 32};
    assert_int_equal(batch.T, 8);
    assert_int_equal(batch.S, 6);
    assert_true(batch.has_prefixes);
    assert_memory_equal(batch.ids, tokens, sizeof tokens);
    assert_memory_equal(batch.pos, pos, sizeof pos);
    assert_memory_equal(batch.cu, cu, sizeof cu);
    assert_memory_equal(batch.prefix, prefix, sizeof prefix);
    assert_memory_equal(batch.loss_rows, rows, sizeof rows);
    assert_memory_equal(batch.targets, targets, sizeof targets);
    fl_batch_fini(&batch);
    fl_pairs_destroy(pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_stays_whole),
        cmocka_unit_test(too_long_loses_the_front),
        cmocka_unit_test(faults),
        cmocka_unit_test(packed_pairs),
        cmocka_unit_test(packed_pairs_with_shared_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
