/* What the golden file of Transformers does not hold: the draws themselves, ties, edges, errors. */
#include "model/sampling.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { V = 8 };
static const float logits[V] = {0.5f, -1.0f, 2.0f, 2.0f, -3.0f, 1.0f, 0.0f, -0.5f};
static const fl_sampling plain = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 7};

static fl_sampler *make_sampler(int64_t size)
{
    fl_sampler *sampler;
    assert_int_equal(fl_sampler_create(&sampler, size), FL_OK);
    return sampler;
}

static void probabilities(fl_sampling options, const int32_t *history, int64_t n, double probs[V])
{
    fl_sampler *sampler = make_sampler(V);
    assert_int_equal(fl_sampler_probabilities(sampler, &options, logits, history, n, probs), FL_OK);
    double sum = 0;
    for (int v = 0; v < V; v++)
        sum += probs[v];
    assert_true(fabs(sum - 1) < 1e-12);
    fl_sampler_destroy(sampler);
}

static unsigned kept_set(fl_sampling options)
{
    double probs[V];
    unsigned set = 0;
    probabilities(options, NULL, 0, probs);
    for (unsigned v = 0; v < V; v++)
        set |= (unsigned)(probs[v] > 0) << v;
    return set;
}

static void plain_is_softmax(void **state)
{
    (void)state;
    double probs[V], sum = 0;
    probabilities(plain, NULL, 0, probs);
    for (int v = 0; v < V; v++)
        sum += exp((double)logits[v]);
    for (int v = 0; v < V; v++)
        assert_true(fabs(probs[v] - exp((double)logits[v]) / sum) < 1e-7);
}

static void top_k_keeps_ties(void **state)
{
    (void)state;
    fl_sampling o = plain;
    o.top_k = 1; /* two tokens share the largest score */
    assert_int_equal(kept_set(o), 1u << 2 | 1u << 3);
    o.top_k = 3;
    assert_int_equal(kept_set(o), 1u << 2 | 1u << 3 | 1u << 5);
    o.top_k = 0;
    assert_int_equal(kept_set(o), 0xff);
    o.top_k = V;
    assert_int_equal(kept_set(o), 0xff);
    o.top_k = 1000;
    assert_int_equal(kept_set(o), 0xff);
}

static void top_p_keeps_the_smallest_set(void **state)
{
    (void)state;
    fl_sampling o = plain;
    double probs[V];
    probabilities(plain, NULL, 0, probs);
    o.top_p = 1e-9; /* at least one; of equals the smaller id */
    assert_int_equal(kept_set(o), 1u << 2);
    o.top_p = probs[2] - 1e-6;
    assert_int_equal(kept_set(o), 1u << 2);
    o.top_p = probs[2] + 1e-6;
    assert_int_equal(kept_set(o), 1u << 2 | 1u << 3);
    o.top_p = probs[2] + probs[3] + 1e-6;
    assert_int_equal(kept_set(o), 1u << 2 | 1u << 3 | 1u << 5);
    o.top_p = 1 - probs[4] / 2; /* all but nothing is the least likely one */
    assert_int_equal(kept_set(o), 0xff);
    o.top_p = 1 - probs[4] * 2;
    assert_int_equal(kept_set(o), 0xff & ~(1u << 4));
    /* after top-k the probabilities are those among the kept ones */
    o.top_k = 2;
    o.top_p = 0.51;
    assert_int_equal(kept_set(o), 1u << 2 | 1u << 3);
    o.top_p = 0.49;
    assert_int_equal(kept_set(o), 1u << 2);
}

static void penalty_follows_its_formula(void **state)
{
    (void)state;
    fl_sampling o = plain;
    o.repetition_penalty = 2;
    /* twice in the history counts once; ids outside the vocabulary are passed over */
    const int32_t history[] = {2, 1, 2, 6, -1, V};
    double probs[V], sum = 0, expected[V];
    probabilities(o, history, 6, probs);
    for (int v = 0; v < V; v++) {
        double score = (double)logits[v];
        if (v == 2) score /= 2;
        if (v == 1) score *= 2;
        sum += expected[v] = exp(score); /* 6 has the score 0: nothing changes */
    }
    for (int v = 0; v < V; v++)
        assert_true(fabs(probs[v] - expected[v] / sum) < 1e-7);
}

static int32_t draw(fl_sampler *sampler, fl_sampling o, uint64_t sequence, uint64_t position)
{
    int32_t token;
    fl_draw at = {.sequence = sequence, .position = position};
    assert_int_equal(fl_sampler_next(sampler, &o, logits, NULL, 0, at, &token), FL_OK);
    return token;
}

/* Pearson's chi-square with 7 degrees of freedom: 24.3 is passed once in a thousand seeds. */
static void draws_follow_the_probabilities(void **state)
{
    (void)state;
    enum { DRAWS = 40000 };
    fl_sampler *sampler = make_sampler(V);
    for (int over_positions = 0; over_positions < 2; over_positions++) {
        double probs[V], chi = 0;
        int counts[V] = {0};
        fl_sampling o = plain;
        o.temperature = 1.5;
        probabilities(o, NULL, 0, probs);
        for (uint64_t i = 0; i < DRAWS; i++)
            counts[over_positions ? draw(sampler, o, 3, i) : draw(sampler, o, i, 3)]++;
        for (int v = 0; v < V; v++) {
            double expected = probs[v] * DRAWS;
            chi += (counts[v] - expected) * (counts[v] - expected) / expected;
        }
        print_message("  chi-square %.2f\n", chi);
        assert_true(chi < 24.3);
    }
    fl_sampler_destroy(sampler);
}

static void draws_depend_on_their_keys_only(void **state)
{
    (void)state;
    fl_sampler *one = make_sampler(V), *other = make_sampler(V);
    fl_sampling reseeded = plain;
    reseeded.seed = 8;
    int differences = 0;
    for (uint64_t i = 0; i < 200; i++) {
        int32_t token = draw(one, plain, 1, i);
        draw(other, plain, 2, 199 - i); /* what else is drawn does not matter */
        assert_int_equal(draw(other, plain, 1, i), token);
        differences += draw(other, reseeded, 1, i) != token;
    }
    assert_true(differences > 50);
    fl_sampler_destroy(one);
    fl_sampler_destroy(other);
}

static void zero_temperature_is_greedy(void **state)
{
    (void)state;
    fl_sampler *sampler = make_sampler(V);
    fl_sampling o = plain;
    o.temperature = 0;
    assert_int_equal(draw(sampler, o, 0, 0), 2); /* the smaller id of the two */
    o.temperature = 1e-30;                       /* no infinity on the way */
    double probs[V];
    probabilities(o, NULL, 0, probs);
    assert_true(probs[2] == 0.5 && probs[3] == 0.5);
    fl_sampler_destroy(sampler);
}

static void bad_logits_are_errors(void **state)
{
    (void)state;
    fl_sampler *sampler = make_sampler(2);
    int32_t token;
    const float rows[][2] = {{NAN, 1}, {1, NAN}, {INFINITY, 0}, {-INFINITY, -INFINITY}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(fl_sampler_next(sampler, &plain, rows[i], NULL, 0, (fl_draw){0}, &token),
                         FL_ERR_NUMERIC);
    const float masked[2] = {-INFINITY, 0}; /* a token that can never come */
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(fl_sampler_next(sampler, &plain, masked, NULL, 0, (fl_draw){0, i}, &token),
                         FL_OK);
        assert_int_equal(token, 1);
    }
    fl_sampler_destroy(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_is_softmax),
        cmocka_unit_test(top_k_keeps_ties),
        cmocka_unit_test(top_p_keeps_the_smallest_set),
        cmocka_unit_test(penalty_follows_its_formula),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(draws_depend_on_their_keys_only),
        cmocka_unit_test(zero_temperature_is_greedy),
        cmocka_unit_test(bad_logits_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
