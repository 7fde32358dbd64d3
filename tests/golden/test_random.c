/* Python's and NumPy's generators, client sampling, the split and the learning rate against
 * rng.json, which Python and NumPy made.  All exact. */
#include "base/rng.h"
#include "fed/participation.h"
#include "fed/partition.h"
#include "golden/golden.h"
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

static uint32_t u32_at(const json_t *list, size_t i)
{
    return (uint32_t)json_integer_value(json_array_get(list, i));
}

static fl_pyrandom seeded(const json_t *entry)
{
    const json_t *words = golden_get(entry, "words");
    uint32_t values[8];
    assert_in_range(json_array_size(words), 1, 8);
    for (size_t i = 0; i < json_array_size(words); i++)
        values[i] = u32_at(words, i);
    fl_pyrandom rng;
    fl_pyrandom_seed(&rng, values, json_array_size(words));
    return rng;
}

/* A vector is given whole, or as its first and last ten elements; always with its CRC-32. */
static void expect_vector(const json_t *entry, const uint32_t *values, size_t count)
{
    const json_t *whole = json_object_get(entry, "result");
    const json_t *head = whole ? whole : golden_get(entry, "head");
    for (size_t i = 0; i < json_array_size(head); i++)
        assert_int_equal(values[i], u32_at(head, i));
    uLong crc = crc32(crc32(0, NULL, 0), (const Bytef *)values, (uInt)(count * sizeof *values));
    assert_int_equal(crc, json_integer_value(golden_get(entry, "crc32")));
}

static golden open_rng(void)
{
    return golden_open("rng");
}

static void python_words(void **state)
{
    (void)state;
    golden g = open_rng();
    size_t i;
    json_t *entry;
    json_array_foreach(golden_get(g.json, "getrandbits32"), i, entry)
    {
        fl_pyrandom rng = seeded(entry);
        const json_t *outputs = golden_get(entry, "outputs");
        for (size_t j = 0; j < json_array_size(outputs); j++)
            assert_int_equal(fl_pyrandom_u32(&rng), u32_at(outputs, j));
    }
    assert_in_range(i, 10, 1000);
    golden_close(&g);
}

static void python_samples(void **state)
{
    (void)state;
    golden g = open_rng();
    size_t i;
    json_t *entry;
    json_array_foreach(golden_get(g.json, "sample"), i, entry)
    {
        uint32_t n = (uint32_t)golden_int(entry, "n"), k = (uint32_t)golden_int(entry, "k");
        uint32_t *values = test_malloc((k + 1) * sizeof *values);
        fl_pyrandom rng = seeded(entry);
        OK(fl_pyrandom_sample(&rng, n, k, values));
        expect_vector(entry, values, k);
        test_free(values);
    }
    assert_in_range(i, 100, 1000);
    golden_close(&g);
}

static void numpy_permutations(void **state)
{
    (void)state;
    golden g = open_rng();
    size_t i, checked = 0;
    json_t *entry;
    json_array_foreach(golden_get(g.json, "permutation"), i, entry)
    {
        const json_t *words = golden_get(entry, "words");
        if (json_array_size(words) > 2) continue; /* seeds of ours have 64 bits */
        uint64_t seed = u32_at(words, 0);
        if (json_array_size(words) == 2) seed |= (uint64_t)u32_at(words, 1) << 32;
        uint32_t n = (uint32_t)golden_int(entry, "n");
        uint32_t *values = test_malloc((n + 1) * sizeof *values);
        fl_numpy_permutation(seed, n, values);
        expect_vector(entry, values, n);
        test_free(values);
        checked++;
    }
    assert_in_range(checked, 10, 1000);
    golden_close(&g);
}

static void clients_of_the_reference(void **state)
{
    (void)state;
    golden g = open_rng();
    size_t i, t, k;
    json_t *entry, *round, *client;
    json_array_foreach(golden_get(g.json, "client_sampling"), i, entry)
    {
        fl_fed_config fed = {.fed_variant = "openfedllm",
                             .num_clients = golden_int(entry, "num_clients"),
                             .sample_clients = golden_int(entry, "sample_clients")};
        uint32_t clients[64];
        json_array_foreach(golden_get(entry, "rounds"), t, round)
        {
            OK(fl_participation_choose(&fed, 7, (int64_t)t, clients));
            json_array_foreach(round, k, client)
                assert_int_equal(clients[k], json_integer_value(client));
        }
    }
    golden_close(&g);
}

static void split_of_the_reference(void **state)
{
    (void)state;
    golden g = open_rng();
    const json_t *split = golden_get(g.json, "split"), *clients = golden_get(split, "clients");
    size_t num_clients = (size_t)golden_int(split, "num_clients");
    fl_fed_config fed = {.split_strategy = "iid", .num_clients = (int64_t)num_clients};
    fl_record_groups groups = {.num_records = (size_t)golden_int(split, "rows"), .count = 1};
    fl_partition partition;
    OK(fl_alloc(&groups.of, groups.num_records, sizeof *groups.of));
    OK(fl_partition_make(&partition, &groups, &fed, (size_t)golden_int(split, "dataset_sample"),
                         (uint64_t)golden_int(split, "seed")));
    for (size_t k = 0; k < num_clients; k++)
        expect_vector(json_array_get(clients, k), partition.indices + partition.offset[k],
                      fl_partition_size(&partition, k));
    fl_partition_fini(&partition);
    fl_free(groups.of);
    golden_close(&g);
}

/* The splits that draw nothing of their own. */
static void split_by_label(void **state)
{
    (void)state;
    golden g = open_rng();
    const json_t *splits = golden_get(g.json, "label_splits"), *group = golden_get(splits, "group");
    uint32_t of[128];
    const char *names[] = {"a", "b", "c", "d"};
    fl_record_groups groups = {
        .of = of, .names = names, .count = 4, .num_records = json_array_size(group)};
    assert_in_range(groups.num_records, 1, 128);
    for (size_t i = 0; i < groups.num_records; i++)
        of[i] = u32_at(group, i);
    static const char *const strategies[] = {"natural", "domain"};
    for (size_t s = 0; s < 2; s++) {
        const json_t *clients = golden_get(splits, strategies[s]);
        fl_fed_config fed = {.split_strategy = strategies[s],
                             .num_clients = (int64_t)json_array_size(clients)};
        fl_partition partition;
        OK(fl_partition_make(&partition, &groups, &fed,
                             (size_t)golden_int(splits, "dataset_sample"),
                             (uint64_t)golden_int(splits, "seed")));
        for (size_t k = 0; k < partition.num_clients; k++)
            expect_vector(json_array_get(clients, k), partition.indices + partition.offset[k],
                          fl_partition_size(&partition, k));
        fl_partition_fini(&partition);
    }
    golden_close(&g);
}

static void cosine_schedule(void **state)
{
    (void)state;
    golden g = open_rng();
    size_t i;
    json_t *entry;
    json_array_foreach(golden_get(g.json, "cosine"), i, entry)
    {
        double lr = fl_cosine_lr(golden_real(entry, "lr0"), golden_real(entry, "lr_min"),
                                 golden_int(entry, "t"), golden_int(entry, "num_rounds"));
        /* the last bit of cos may differ between libraries */
        expect_real("learning rate", lr, golden_real(entry, "lr"), 1e-14);
    }
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(python_words),           cmocka_unit_test(python_samples),
        cmocka_unit_test(numpy_permutations),     cmocka_unit_test(clients_of_the_reference),
        cmocka_unit_test(split_of_the_reference), cmocka_unit_test(split_by_label),
        cmocka_unit_test(cosine_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
