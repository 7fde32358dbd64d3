/* Random numbers against published vectors: Random123 for Philox, the tables of the reference's
 * specification for Python and NumPy, and the file that the generators themselves wrote. */
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "support.h"

#include <math.h>
#include <zlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void test_philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fl_rng rng = {.key = {cases[i].key[0], cases[i].key[1]},
                      .counter = {0, 0, cases[i].counter[2], cases[i].counter[3]}};
        uint64_t index = cases[i].counter[0] | (uint64_t)cases[i].counter[1] << 32;
        uint32_t out[4];
        fl_rng_block(&rng, index, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

/* Results of earlier versions must come out again: these numbers are part of the file format. */
static void test_stream_is_pinned(void **state)
{
    (void)state;
    fl_rng rng = fl_rng_make(2023, FL_PURPOSE_TEST, 1, 2, 3, 4);
    static const uint32_t expected[] = {0xdbb864af, 0x471bea04, 0x3c04e6ab,
                                        0x5a280835, 0xc474d623, 0x406e3684};
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_int_equal(fl_rng_u32(&rng), expected[i]);
}

static void test_blocks_are_the_stream(void **state)
{
    (void)state;
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_DROPOUT, 0, 0, 0, 0);
    const fl_rng fresh = rng;
    for (uint64_t index = 0; index < 5; index++) {
        uint32_t block[4];
        fl_rng_block(&rng, index, block); /* of the stream, wherever the stream stands */
        for (int i = 0; i < 4; i++)
            assert_int_equal(fl_rng_u32(&rng), block[i]);
    }
    /* the block index carries into its upper half */
    rng = fresh;
    rng.counter[0] = UINT32_MAX;
    fl_rng_u32(&rng);
    assert_int_equal(rng.counter[0], 0);
    assert_int_equal(rng.counter[1], 1);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Every combination of small arguments, among them swapped ones, gives a stream of its own. */
static void test_streams_differ(void **state)
{
    (void)state;
    enum { SIDE = 4, STREAMS = SIDE * SIDE * SIDE * SIDE * SIDE * SIDE };
    static uint64_t first[STREAMS];
    for (unsigned i = 0; i < STREAMS; i++) {
        uint64_t digit[6];
        for (unsigned d = 0, rest = i; d < 6; d++, rest /= SIDE)
            digit[d] = rest % SIDE;
        fl_rng rng = fl_rng_make(digit[0], (fl_purpose)(digit[1] + 1), digit[2], digit[3], digit[4],
                                 digit[5]);
        first[i] = fl_rng_u32(&rng);
        first[i] |= (uint64_t)fl_rng_u32(&rng) << 32;
    }
    qsort(first, STREAMS, sizeof first[0], compare_u64);
    for (unsigned i = 1; i < STREAMS; i++)
        assert_true(first[i] != first[i - 1]);
}

static void test_uniform(void **state)
{
    (void)state;
    fl_rng rng = fl_rng_make(5, FL_PURPOSE_TEST, 0, 0, 0, 0);
    enum { DRAWS = 100000 };
    double sum = 0, square = 0;
    for (int i = 0; i < DRAWS; i++) {
        float u = fl_rng_uniform(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u;
        square += (double)u * u;
    }
    /* Standard errors: sqrt(1/12/1e5) = 0.0009 and sqrt(4/45/1e5) = 0.00094; five of them. */
    assert_true(fabs(sum / DRAWS - 0.5) < 0.0046);
    assert_true(fabs(square / DRAWS - 1.0 / 3) < 0.0047);
}

static void test_below(void **state)
{
    (void)state;
    fl_rng rng = fl_rng_make(6, FL_PURPOSE_TEST, 0, 0, 0, 0);
    enum { N = 7, DRAWS = 70000 };
    int counts[N] = {0};
    for (int i = 0; i < DRAWS; i++)
        counts[fl_rng_below(&rng, N)]++;
    double chi_square = 0;
    for (int i = 0; i < N; i++)
        chi_square += (counts[i] - DRAWS / N) * (double)(counts[i] - DRAWS / N) / (DRAWS / N);
    assert_true(chi_square < 27.9); /* six degrees of freedom, one in 10000 above */
    assert_int_equal(fl_rng_below(&rng, 1), 0);
    bool above_32_bits = false;
    for (int i = 0; i < 100; i++) {
        uint64_t draw = fl_rng_below(&rng, (1ULL << 40) + 1);
        assert_true(draw <= 1ULL << 40);
        above_32_bits = above_32_bits || draw > UINT32_MAX;
        (void)fl_rng_below(&rng, UINT64_MAX);
        assert_true(fl_rng_below(&rng, 1ULL << 32) <= UINT32_MAX);
    }
    assert_true(above_32_bits);
}

static void test_shuffle(void **state)
{
    (void)state;
    fl_rng rng = fl_rng_make(7, FL_PURPOSE_ORDER, 0, 0, 0, 0);
    int counts[6] = {0}; /* of the six orders of three items */
    for (int i = 0; i < 6000; i++) {
        uint32_t items[3] = {0, 1, 2};
        fl_rng_shuffle(&rng, items, 3);
        assert_int_equal(items[0] + items[1] + items[2], 3);
        assert_int_equal(items[0] * items[1] * items[2], 0);
        counts[items[0] * 2 + (items[1] > items[2])]++;
    }
    for (int i = 0; i < 6; i++) /* standard deviation 29 */
        assert_in_range(counts[i], 1000 - 150, 1000 + 150);
    fl_rng_shuffle(&rng, NULL, 0);
    uint32_t one = 9;
    fl_rng_shuffle(&rng, &one, 1);
    assert_int_equal(one, 9);
}

static fl_pyrandom python_random(uint32_t seed)
{
    fl_pyrandom rng;
    fl_pyrandom_seed(&rng, &seed, 1);
    return rng;
}

static void test_python_first_outputs(void **state)
{
    (void)state;
    static const struct {
        uint32_t seed, out[4];
    } cases[] = {{0, {3626764237, 1654615998, 3255389356, 3823568514}},
                 {7, {1390851128, 4071050724, 647892279, 1695753998}}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        fl_pyrandom rng = python_random(cases[i].seed);
        for (int k = 0; k < 4; k++)
            assert_int_equal(fl_pyrandom_u32(&rng), cases[i].out[k]);
    }
    static const uint32_t padded[3] = {7, 0, 0};
    fl_pyrandom rng;
    fl_pyrandom_seed(&rng, padded, 3);
    assert_int_equal(fl_pyrandom_u32(&rng), cases[1].out[0]);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void test_python_clients(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, k, rounds[8][5];
    } cases[] = {
        {20, 2, {{12, 13}, {4, 18}, {1, 2}, {7, 18}, {7, 9}, {8, 19}, {2, 18}, {4, 10}}},
        {5, 2, {{3, 4}, {0, 1}, {0, 4}, {1, 4}, {1, 2}, {2, 4}, {0, 4}, {1, 2}}},
        {10, 2, {{6, 9}, {1, 2}, {0, 1}, {3, 8}, {3, 4}, {4, 9}, {1, 9}, {2, 5}}},
        {50,
         5,
         {{2, 16, 24, 26, 48},
          {4, 8, 16, 36, 48},
          {3, 5, 10, 23, 47},
          {8, 15, 23, 34, 37},
          {6, 15, 19, 25, 46},
          {16, 22, 39, 44, 47},
          {5, 16, 31, 36, 48},
          {3, 9, 20, 25, 41}}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (uint32_t round = 0; round < 8; round++) {
            fl_pyrandom rng = python_random(round);
            uint32_t out[5];
            EXPECT_OK(fl_pyrandom_sample(&rng, cases[i].n, cases[i].k, out));
            qsort(out, cases[i].k, sizeof out[0], compare_u32);
            assert_memory_equal(out, cases[i].rounds[round], cases[i].k * sizeof out[0]);
        }
}

static void test_python_sample(void **state)
{
    (void)state;
    static const struct {
        uint32_t seed, n, k, head[10], tail[3];
    } cases[] = {
        {0, 1000, 160, {864, 394, 776, 911, 430, 41, 265, 988, 523, 497}, {429, 593, 281}},
        {3, 1000, 160, {243, 606, 557, 133, 378, 937, 618, 485, 640, 594}, {298, 625, 269}},
        {0, 100, 100, {49, 97, 53, 5, 33, 65, 62, 51, 38, 61}, {11, 8, 23}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        fl_pyrandom rng = python_random(cases[i].seed);
        uint32_t out[160];
        EXPECT_OK(fl_pyrandom_sample(&rng, cases[i].n, cases[i].k, out));
        assert_memory_equal(out, cases[i].head, sizeof cases[i].head);
        assert_memory_equal(out + cases[i].k - 3, cases[i].tail, sizeof cases[i].tail);
    }
    fl_pyrandom rng = python_random(0);
    uint32_t out[4];
    EXPECT_FAIL(fl_pyrandom_sample(&rng, 3, 4, out), FL_ERR_USAGE, "cannot sample 4 of 3");
    EXPECT_OK(fl_pyrandom_sample(&rng, 0, 0, out));
    EXPECT_OK(fl_pyrandom_sample(&rng, UINT32_MAX, 4, out)); /* no table of the population */
}

static uint32_t *permutation(uint64_t seed, uint32_t n)
{
    uint32_t *out;
    EXPECT_OK(fl_alloc(&out, n, sizeof *out));
    fl_numpy_permutation(seed, n, out);
    return out;
}

static void test_numpy_permutation(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t n, head_count, head[10], tail_count, tail[3];
    } cases[] = {
        {2023, 10, 10, {7, 1, 6, 0, 2, 9, 4, 8, 5, 3}, 0, {0}},
        {2023, 1000, 8, {727, 149, 436, 653, 465, 747, 906, 520}, 3, {124, 155, 547}},
        {2023,
         20000,
         8,
         {8418, 8291, 18506, 10518, 10465, 2019, 19664, 894},
         3,
         {16957, 15515, 16931}},
        {2023,
         52002,
         8,
         {51167, 39919, 24592, 1547, 47595, 47683, 37089, 27404},
         3,
         {27772, 48283, 16931}},
        {1234, 30, 6, {28, 5, 10, 11, 24, 9}, 0, {0}},
        {42, 1000, 8, {978, 933, 859, 916, 127, 608, 856, 260}, 0, {0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint32_t n = cases[i].n, tail_count = cases[i].tail_count;
        uint32_t *out = permutation(cases[i].seed, n);
        assert_memory_equal(out, cases[i].head, cases[i].head_count * sizeof *out);
        if (tail_count)
            assert_memory_equal(out + n - tail_count, cases[i].tail, tail_count * sizeof *out);
        fl_free(out);
    }
    fl_numpy_permutation(1, 0, NULL);
}

/* 52002 rows, sampled to 20000, split over 20 clients with stride: both seeds 2023. */
static void test_numpy_split(void **state)
{
    (void)state;
    static const uint32_t expected[2][6] = {{45262, 46008, 31035, 13186, 37651, 4250},
                                            {12481, 51814, 44078, 25013, 23518, 30369}};
    uint32_t *rows = permutation(2023, 52002), *order = permutation(2023, 20000);
    for (int client = 0; client < 2; client++)
        for (int i = 0; i < 6; i++)
            assert_int_equal(rows[order[client + 20 * i]], expected[client][i]);
    fl_free(rows);
    fl_free(order);
}

static uint32_t crc_of(const uint32_t *values, size_t count)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t v = values[i];
        unsigned char bytes[4] = {(unsigned char)v, (unsigned char)(v >> 8),
                                  (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
        crc = (uint32_t)crc32(crc, bytes, 4);
    }
    return crc;
}

static int64_t get_int(const json_t *object, const char *key)
{
    int64_t value;
    EXPECT_OK(fl_json_get_int(&value, object, key, 0, UINT32_MAX, "rng.json"));
    return value;
}

static size_t get_words(const json_t *object, uint32_t words[8])
{
    json_t *array, *word;
    EXPECT_OK(fl_json_get_array(&array, object, "words", "rng.json"));
    size_t i;
    assert_in_range(json_array_size(array), 1, 8);
    json_array_foreach(array, i, word) words[i] = (uint32_t)json_integer_value(word);
    return json_array_size(array);
}

static void check_golden_python(const json_t *root)
{
    json_t *list, *entry, *output;
    size_t i, k;
    uint32_t words[8];
    fl_pyrandom rng;
    EXPECT_OK(fl_json_get_array(&list, root, "getrandbits32", "rng.json"));
    json_array_foreach(list, i, entry)
    {
        fl_pyrandom_seed(&rng, words, get_words(entry, words));
        json_array_foreach(json_object_get(entry, "outputs"), k, output)
            assert_int_equal(fl_pyrandom_u32(&rng), json_integer_value(output));
    }
    EXPECT_OK(fl_json_get_array(&list, root, "sample", "rng.json"));
    assert_true(json_array_size(list) > 0);
    json_array_foreach(list, i, entry)
    {
        static uint32_t out[1000];
        uint32_t n = (uint32_t)get_int(entry, "n"), count = (uint32_t)get_int(entry, "k");
        fl_pyrandom_seed(&rng, words, get_words(entry, words));
        EXPECT_OK(fl_pyrandom_sample(&rng, n, count, out));
        assert_int_equal(crc_of(out, count), get_int(entry, "crc32"));
    }
}

static void check_golden_numpy(const json_t *root)
{
    json_t *list, *entry;
    size_t i;
    EXPECT_OK(fl_json_get_array(&list, root, "permutation", "rng.json"));
    assert_true(json_array_size(list) > 0);
    json_array_foreach(list, i, entry)
    {
        uint32_t words[8] = {0}, n = (uint32_t)get_int(entry, "n");
        if (get_words(entry, words) > 2) continue; /* seeds above 64 bits are not ours */
        uint32_t *out = permutation(words[0] | (uint64_t)words[1] << 32, n);
        assert_int_equal(crc_of(out, n), get_int(entry, "crc32"));
        fl_free(out);
    }
}

static void test_golden_file(void **state)
{
    (void)state;
    json_t *root;
    EXPECT_OK(fl_json_load_file(&root, FL_TEST_SOURCE_DIR "/tests/golden/data/rng.json"));
    check_golden_python(root);
    check_golden_numpy(root);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_stream_is_pinned),
        cmocka_unit_test(test_blocks_are_the_stream),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_python_first_outputs),
        cmocka_unit_test(test_python_clients),
        cmocka_unit_test(test_python_sample),
        cmocka_unit_test(test_numpy_permutation),
        cmocka_unit_test(test_numpy_split),
        cmocka_unit_test(test_golden_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
