/* The strategies that split a data set: every record once, the same on every call, and what each of
 * them promises.  Exact results of iid, natural and domain stand in tests/golden. */
#include "base/rng.h"
#include "fed/partition.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDS = 3000, LABELS = 5, MAX_CLIENTS = 64 };

static const char *const strategies[] = {"iid", "natural", "dirichlet", "domain", "quantity"};
enum { NUM_STRATEGIES = sizeof strategies / sizeof strategies[0] };

/* Records whose labels come in unequal numbers; group and label are the same number. */
typedef struct fixture {
    uint32_t of[RECORDS];
    const char *names[LABELS];
    fl_record_groups groups;
    fl_fed_config fed;
} fixture;

static fixture *make_fixture(void)
{
    static fixture f;
    static const char *const names[LABELS] = {"a", "b", "c", "d", "e"};
    memcpy(f.names, names, sizeof names);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint32_t x = i * 2654435761U >> 16;
        f.of[i] = i < LABELS ? i : x % 15 < 5 ? 0 : x % 15 < 9 ? 1 : x % 15 < 12 ? 2 : 3 + x % 2;
    }
    f.groups =
        (fl_record_groups){.of = f.of, .names = f.names, .count = LABELS, .num_records = RECORDS};
    f.fed = (fl_fed_config){.num_clients = 10, .dirichlet_alpha = 0.5, .quantity_alpha = 0.5};
    return &f;
}

static fl_partition split(const fixture *f, const char *strategy, size_t sample, uint64_t seed)
{
    fl_partition partition;
    fl_fed_config fed = f->fed;
    fed.split_strategy = strategy;
    if (strcmp(strategy, "natural") == 0) fed.num_clients = 0;
    assert_int_equal(fl_partition_make(&partition, &f->groups, &fed, sample, seed), FL_OK);
    return partition;
}

static size_t total(const fl_partition *p)
{
    return p->offset[p->num_clients];
}

static bool is_same(const fl_partition *a, const fl_partition *b)
{
    return a->num_clients == b->num_clients &&
           memcmp(a->offset, b->offset, (a->num_clients + 1) * sizeof *a->offset) == 0 &&
           memcmp(a->indices, b->indices, total(a) * sizeof *a->indices) == 0;
}

static void expect_complete(const fl_partition *p, size_t expected)
{
    bool seen[RECORDS] = {false};
    assert_int_equal(p->offset[0], 0);
    assert_int_equal(total(p), expected);
    for (size_t i = 0; i < expected; i++) {
        assert_in_range(p->indices[i], 0, RECORDS - 1);
        assert_false(seen[p->indices[i]]);
        seen[p->indices[i]] = true;
    }
    for (size_t k = 0; k < p->num_clients; k++)
        assert_true(p->offset[k] < p->offset[k + 1]);
}

static void every_record_once(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    for (size_t s = 0; s < NUM_STRATEGIES; s++) {
        fl_partition all = split(f, strategies[s], 0, 7), some = split(f, strategies[s], 400, 7);
        expect_complete(&all, RECORDS);
        expect_complete(&some, 400);
        fl_partition_fini(&all);
        fl_partition_fini(&some);
    }
}

/* dataset_sample keeps the same records for every strategy. */
static void the_sample_is_that_of_iid(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    fl_partition iid = split(f, "iid", 400, 7);
    bool kept[RECORDS] = {false};
    for (size_t i = 0; i < 400; i++)
        kept[iid.indices[i]] = true;
    for (size_t s = 0; s < NUM_STRATEGIES; s++) {
        fl_partition p = split(f, strategies[s], 400, 7);
        for (size_t i = 0; i < 400; i++)
            assert_true(kept[p.indices[i]]);
        fl_partition_fini(&p);
    }
    fl_partition_fini(&iid);
}

static void a_function_of_the_seed(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    for (size_t s = 0; s < NUM_STRATEGIES; s++) {
        fl_partition a = split(f, strategies[s], 0, 7), again = split(f, strategies[s], 0, 7);
        fl_partition other = split(f, strategies[s], 0, 8);
        assert_true(is_same(&a, &again));
        /* what the data says does not depend on a seed */
        assert_int_equal(is_same(&a, &other), strcmp(strategies[s], "natural") == 0);
        fl_partition_fini(&a);
        fl_partition_fini(&again);
        fl_partition_fini(&other);
    }
}

/* count[k][l]: client k's records with label l. */
static void count_labels(const fixture *f, const fl_partition *p, size_t count[][LABELS])
{
    memset(count, 0, p->num_clients * sizeof *count);
    for (size_t k = 0; k < p->num_clients; k++)
        for (size_t i = p->offset[k]; i < p->offset[k + 1]; i++)
            count[k][f->of[p->indices[i]]]++;
}

static void domain_gives_one_label(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    f->fed.num_clients = 13;
    fl_partition p = split(f, "domain", 0, 7);
    size_t count[MAX_CLIENTS][LABELS];
    count_labels(f, &p, count);
    for (size_t k = 0; k < 13; k++) {
        assert_int_equal(count[k][k % LABELS], fl_partition_size(&p, k));
        size_t first = fl_partition_size(&p, k % LABELS), own = fl_partition_size(&p, k);
        assert_in_range(first - own, 0, 1); /* shared evenly */
    }
    fl_partition_fini(&p);
}

static void natural_keeps_the_order_of_the_file(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    fl_partition p = split(f, "natural", 0, 7);
    assert_int_equal(p.num_clients, LABELS);
    for (size_t k = 0; k < LABELS; k++)
        for (size_t i = p.offset[k]; i < p.offset[k + 1]; i++) {
            assert_int_equal(f->of[p.indices[i]], k);
            assert_true(i == p.offset[k] || p.indices[i - 1] < p.indices[i]);
        }
    fl_partition_fini(&p);
}

/* Mean over the clients of the largest share that one label has of a client's records, weighted by
 * records; and the spread of the sizes, standard deviation over mean. */
static double largest_share(const fixture *f, const fl_partition *p)
{
    size_t count[MAX_CLIENTS][LABELS], sum = 0;
    count_labels(f, p, count);
    for (size_t k = 0; k < p->num_clients; k++) {
        size_t largest = 0;
        for (size_t l = 0; l < LABELS; l++)
            if (count[k][l] > largest) largest = count[k][l];
        sum += largest;
    }
    return (double)sum / (double)total(p);
}

static double spread(const fl_partition *p)
{
    double mean = (double)total(p) / (double)p->num_clients, sum = 0;
    for (size_t k = 0; k < p->num_clients; k++)
        sum += pow((double)fl_partition_size(p, k) / mean - 1, 2);
    return sqrt(sum / (double)p->num_clients);
}

static void dirichlet_follows_alpha(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    static const double alphas[] = {1e9, 10, 0.5, 0.05, 1e-6};
    double before = 0;
    for (size_t a = 0; a < 5; a++) {
        double share = 0;
        f->fed.dirichlet_alpha = alphas[a];
        for (uint64_t seed = 0; seed < 20; seed++) {
            fl_partition p = split(f, "dirichlet", 0, seed);
            expect_complete(&p, RECORDS);
            share += largest_share(f, &p) / 20;
            fl_partition_fini(&p);
        }
        assert_true(share > before + 0.002);
        before = share;
    }
}

/* With alpha -> infinity every client gets its part of every label, to the rounding. */
static void dirichlet_of_large_alpha_is_even(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    size_t count[MAX_CLIENTS][LABELS], label[LABELS] = {0};
    f->fed.dirichlet_alpha = 1e9;
    fl_partition p = split(f, "dirichlet", 0, 7);
    count_labels(f, &p, count);
    for (size_t i = 0; i < RECORDS; i++)
        label[f->of[i]]++;
    for (size_t k = 0; k < p.num_clients; k++)
        for (size_t l = 0; l < LABELS; l++)
            assert_true(fabs((double)count[k][l] - (double)label[l] / 10) < 1.5);
    fl_partition_fini(&p);
}

/* With alpha -> 0 a label lies with one client; of ten clients five and more have nothing and take
 * one record each of the largest. */
static void dirichlet_of_small_alpha_leaves_nobody_empty(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    f->fed.dirichlet_alpha = 1e-6;
    for (uint64_t seed = 0; seed < 20; seed++) {
        fl_partition p = split(f, "dirichlet", 0, seed);
        size_t count[MAX_CLIENTS][LABELS], ones = 0;
        count_labels(f, &p, count);
        for (size_t k = 0; k < p.num_clients; k++)
            ones += fl_partition_size(&p, k) == 1;
        assert_in_range(ones, 5, 9);
        for (size_t l = 0; l < LABELS; l++) {
            size_t holders = 0;
            for (size_t k = 0; k < p.num_clients; k++)
                holders += count[k][l] > 1;
            assert_int_equal(holders, 1);
        }
        fl_partition_fini(&p);
    }
}

static void as_many_clients_as_records(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    static const char *const able[] = {"iid", "dirichlet", "quantity"};
    f->fed.num_clients = 60;
    f->fed.dirichlet_alpha = f->fed.quantity_alpha = 0.01;
    for (size_t s = 0; s < 3; s++) {
        fl_partition p = split(f, able[s], 60, 7);
        expect_complete(&p, 60);
        fl_partition_fini(&p);
    }
}

static void quantity_follows_alpha(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    static const double alphas[] = {1e9, 5, 0.5, 1e-6};
    double spreads[4] = {0};
    for (size_t a = 0; a < 4; a++) {
        f->fed.quantity_alpha = alphas[a];
        for (uint64_t seed = 0; seed < 20; seed++) {
            fl_partition p = split(f, "quantity", 0, seed);
            expect_complete(&p, RECORDS);
            spreads[a] += spread(&p) / 20;
            fl_partition_fini(&p);
        }
    }
    assert_true(spreads[0] < 0.003);
    assert_true(spreads[1] > 0.1 && spreads[1] < spreads[2]);
    assert_true(spreads[2] < 2.9);
    assert_true(spreads[3] > 2.95 && spreads[3] < 3); /* one of ten has all but nine records */
}

/* Mean and variance of the gamma distribution are its shape; a mean over n draws is within five of
 * its standard deviations. */
static void gamma_has_its_moments(void **state)
{
    (void)state;
    enum { DRAWS = 40000 };
    static const double shapes[] = {0.1, 0.5, 1, 2.5, 40, 1e6};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        double a = shapes[s], sum = 0, squares = 0;
        fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, s, 0, 0, 0);
        for (int i = 0; i < DRAWS; i++) {
            double off = exp(fl_rng_log_gamma(&rng, a)) - a;
            sum += off;
            squares += off * off;
        }
        double variance = squares / DRAWS, fourth = 3 * a * a + 6 * a;
        assert_true(fabs(sum / DRAWS) < 5 * sqrt(a / DRAWS));
        assert_true(fabs(variance - a) < 5 * sqrt((fourth - a * a) / DRAWS));
    }
}

static void expect_refusal(const fixture *f, const char *strategy, size_t sample, const char *text)
{
    fl_partition partition;
    fl_fed_config fed = f->fed;
    fed.split_strategy = strategy;
    assert_int_equal(fl_partition_make(&partition, &f->groups, &fed, sample, 7), FL_ERR_USAGE);
    if (!strstr(fl_error_text(), text)) fail_msg("%s", fl_error_text());
}

static void refusals(void **state)
{
    (void)state;
    fixture *f = make_fixture();
    expect_refusal(f, "iid", 9, "only 9 records");
    expect_refusal(f, "dirichlet", 9, "only 9 records");
    expect_refusal(f, "natural", 0, "num_clients = 10, but the data names 5 clients");
    expect_refusal(f, "nature", 0, "nature");
    f->fed.num_clients = 4;
    expect_refusal(f, "domain", 0, "too few for the 5 labels");
    f->fed.num_clients = 0;
    expect_refusal(f, "iid", 0, "num_clients = 0");
    expect_refusal(f, "natural", 5, "has no record among those");
    f->fed.num_clients = 60;
    expect_refusal(f, "domain", 62, "would have no record");
}

static void groups_are_numbered_as_they_come(void **state)
{
    (void)state;
    fl_record records[] = {{.label = "z"}, {.label = "a"}, {.label = "z"},
                           {.label = ""},  {.label = "a"}, {.client = "x"}};
    const uint32_t expected[] = {0, 1, 0, 2, 1};
    fl_dataset dataset = {.records = records, .count = 5};
    fl_record_groups groups;
    assert_int_equal(fl_record_groups_make(&groups, &dataset, FL_KEY_LABEL, "f", "l"), FL_OK);
    assert_int_equal(groups.count, 3);
    assert_int_equal(groups.num_records, 5);
    assert_memory_equal(groups.of, expected, sizeof expected);
    assert_string_equal(groups.names[1], "a");
    fl_record_groups_fini(&groups);

    assert_int_equal(fl_record_groups_make(&groups, &dataset, FL_KEY_NONE, "f", ""), FL_OK);
    assert_int_equal(groups.count, 1);
    fl_record_groups_fini(&groups);

    dataset.count = 6;
    assert_int_equal(fl_record_groups_make(&groups, &dataset, FL_KEY_LABEL, "f.json", "topic"),
                     FL_ERR_INPUT);
    assert_string_equal(fl_error_text(), "f.json: record 6 has no field \"topic\"");
}

/* The words of the key are the strategies. */
static void words_of_the_key(void **state)
{
    (void)state;
    const char *words = NULL;
    for (size_t i = 0; i < fl_fed_row_count; i++)
        if (strcmp(fl_fed_rows[i].name, "split_strategy") == 0) words = fl_fed_rows[i].words;
    assert_string_equal(words, "iid|natural|dirichlet|domain|quantity");
    for (size_t s = 0; s < NUM_STRATEGIES; s++) {
        const fl_partition_strategy *strategy;
        assert_int_equal(fl_partition_strategy_find(&strategy, strategies[s]), FL_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_once),
        cmocka_unit_test(the_sample_is_that_of_iid),
        cmocka_unit_test(a_function_of_the_seed),
        cmocka_unit_test(domain_gives_one_label),
        cmocka_unit_test(natural_keeps_the_order_of_the_file),
        cmocka_unit_test(dirichlet_follows_alpha),
        cmocka_unit_test(dirichlet_of_large_alpha_is_even),
        cmocka_unit_test(dirichlet_of_small_alpha_leaves_nobody_empty),
        cmocka_unit_test(as_many_clients_as_records),
        cmocka_unit_test(quantity_follows_alpha),
        cmocka_unit_test(gamma_has_its_moments),
        cmocka_unit_test(refusals),
        cmocka_unit_test(groups_are_numbered_as_they_come),
        cmocka_unit_test(words_of_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
