/* Ranks and the devices that they share. */
#include "app/memory_plan.h"
#include "app/run_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Rank 0 of node 0 only aggregates; its other ranks share two devices, those of node 5 have one
 * each under the same names; node 9 has the cpu. */
static const struct {
    int node;
    bool shows;
    char device;
    size_t free;
} ranks[] = {
    {0, false, 0, 0},   {0, true, 'a', 70}, {0, true, 'b', 60},
    {0, true, 'a', 65}, {0, true, 'b', 61}, {5, true, 'a', 30},
    {5, true, 'b', 40}, {5, true, 'c', 50}, {9, false, 0, 0},
};
enum { NUM_RANKS = sizeof ranks / sizeof ranks[0] };

static void test_devices_of_a_node(void **state)
{
    (void)state;
    fl_device_report all[NUM_RANKS];
    memset(all, 0, sizeof all);
    for (int i = 0; i < NUM_RANKS; i++) {
        all[i].node = ranks[i].node;
        all[i].shows = ranks[i].shows;
        all[i].memory.free = ranks[i].free;
        all[i].memory.device[15] = (unsigned char)ranks[i].device;
    }
    uint64_t free;
    assert_int_equal(fl_devices_of_node(all, NUM_RANKS, 0, &free), 2);
    assert_int_equal(free, 60);
    assert_int_equal(fl_devices_of_node(all, NUM_RANKS, 5, &free), 3);
    assert_int_equal(free, 30);
    assert_int_equal(fl_devices_of_node(all, NUM_RANKS, 9, &free), 0);
    assert_true(free == UINT64_MAX);

    /* two ranks of node 0 share 60, those of node 5 have 30 or more each */
    int sharers;
    assert_int_equal(fl_device_share(all, NUM_RANKS, &sharers), 30);
    assert_int_equal(sharers, 2);
    all[2].memory.free = 40;
    assert_int_equal(fl_device_share(all, NUM_RANKS, &sharers), 20);
    assert_true(fl_device_share(all, 1, &sharers) == UINT64_MAX);
    assert_int_equal(sharers, 0);
}

static void test_ranks_of_a_device(void **state)
{
    (void)state;
    static const struct {
        int hosts, devices, ranks;
    } cases[] = {{1, 1, 1}, {4, 2, 2}, {5, 2, 3}, {3, 8, 1}, {8, 8, 1}, {9, 8, 2}, {2, 0, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fl_memory_input in = {.hosts = cases[i].hosts, .devices = cases[i].devices};
        fl_memory_plan plan = {.device = 1000};
        assert_int_equal(fl_memory_plan_device(&plan, &in), 1000 * cases[i].ranks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_of_a_node),
        cmocka_unit_test(test_ranks_of_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
