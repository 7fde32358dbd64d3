/* Algorithm names, participation, placement, partition: what decides who does what. */
#include "fed/algorithm.h"
#include "fed/participation.h"
#include "fed/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_of_algorithms(void **state)
{
    (void)state;
    const fl_algorithm *algorithm;
    assert_int_equal(fl_algorithm_find(&algorithm, "fedavg"), FL_OK);
    assert_ptr_equal(algorithm, &fl_algorithm_fedavg);
    assert_int_equal(fl_algorithm_find(&algorithm, "local12"), FL_OK);
    assert_ptr_equal(algorithm, &fl_algorithm_local);
    assert_int_equal(fl_algorithm_find(&algorithm, "fedadgrad"), FL_OK);
    assert_ptr_equal(algorithm, &fl_algorithm_fedadagrad);
    assert_int_equal(fl_algorithm_find(&algorithm, "fedavg2"), FL_ERR_USAGE);
    assert_int_equal(fl_algorithm_find(&algorithm, "fed"), FL_ERR_USAGE);
    assert_non_null(strstr(fl_error_text(), "fedavg, fedprox, scaffold, "));
}

/* The words of fed_alg are the list, and every key stands once. */
static void rows_of_algorithms(void **state)
{
    (void)state;
    size_t count;
    const fl_conf_row *rows = fl_algorithm_rows(&count);
    assert_string_equal(rows[0].name, "fed_alg");
    assert_string_equal(rows[0].words, "fedavg|fedprox|scaffold|fedavgm|fedadagrad|fedadgrad|"
                                       "fedyogi|fedadam|fednova|feddyn|diloco|local#");
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || strcmp(rows[i].name, "fedopt_tau") == 0;
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i].name, rows[j].name);
    }
    assert_true(found);
}

/* The reference reads the last digit only: local12 would be client 2. */
static void local_takes_the_whole_number(void **state)
{
    (void)state;
    fl_fed_config fed = {.fed_alg = "local12", .num_clients = 13};
    uint32_t client;
    int64_t count;
    assert_int_equal(fl_algorithm_local.choose(&fed, 0, &client, &count), FL_OK);
    assert_int_equal(client, 12);
    assert_int_equal(count, 1);
    fed.num_clients = 12;
    assert_int_equal(fl_algorithm_local.choose(&fed, 0, &client, &count), FL_ERR_USAGE);
    fed.fed_alg = "local";
    assert_int_equal(fl_algorithm_local.choose(&fed, 0, &client, &count), FL_ERR_USAGE);
}

static void participation_depends_on_seed_and_round(void **state)
{
    (void)state;
    fl_fed_config fed = {.fed_variant = "paper", .num_clients = 1000, .sample_clients = 20};
    uint32_t a[20], b[20];
    assert_int_equal(fl_participation_choose(&fed, 1, 5, a), FL_OK);
    assert_int_equal(fl_participation_choose(&fed, 1, 5, b), FL_OK);
    assert_memory_equal(a, b, sizeof a);
    for (size_t i = 1; i < 20; i++)
        assert_true(a[i - 1] < a[i] && a[i] < 1000);
    assert_int_equal(fl_participation_choose(&fed, 2, 5, b), FL_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(fl_participation_choose(&fed, 1, 6, b), FL_OK);
    assert_memory_not_equal(a, b, sizeof a);
    fed.fed_variant = "openfedllm"; /* the round alone */
    assert_int_equal(fl_participation_choose(&fed, 1, 5, a), FL_OK);
    assert_int_equal(fl_participation_choose(&fed, 2, 5, b), FL_OK);
    assert_memory_equal(a, b, sizeof a);
}

static void records_differ_between_clients(void **state)
{
    (void)state;
    fl_fed_config fed = {.fed_variant = "paper"};
    uint32_t a[8], b[8];
    assert_int_equal(fl_participation_records(&fed, 1, 0, 3, 100, 8, a), FL_OK);
    assert_int_equal(fl_participation_records(&fed, 1, 0, 4, 100, 8, b), FL_OK);
    assert_memory_not_equal(a, b, sizeof a);
    fed.fed_variant = "openfedllm";
    assert_int_equal(fl_participation_records(&fed, 1, 0, 3, 100, 8, a), FL_OK);
    assert_int_equal(fl_participation_records(&fed, 1, 0, 4, 100, 8, b), FL_OK);
    assert_memory_equal(a, b, sizeof a);
}

static void placement_spares_rank_0_and_balances(void **state)
{
    (void)state;
    const double cost[] = {1, 8, 2, 5, 4};
    double load[4];
    int rank_of[5];
    fl_placement_assign(cost, 5, 4, load, rank_of);
    const int expected[] = {2, 1, 3, 2, 3}; /* 8 | 5+1 | 4+2 */
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(rank_of[i], expected[i]);
    fl_placement_assign(cost, 5, 1, load, rank_of);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(rank_of[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_algorithms),
        cmocka_unit_test(rows_of_algorithms),
        cmocka_unit_test(local_takes_the_whole_number),
        cmocka_unit_test(participation_depends_on_seed_and_round),
        cmocka_unit_test(records_differ_between_clients),
        cmocka_unit_test(placement_spares_rank_0_and_balances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
