/* Log-probabilities of the reference on the disk: they come back, or are missing and told about. */
#include "io/reference.h"
#include "io/seal.h"
#include "unit/io/io_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { COUNT = 6, CLIENT = 3 };
static const uint64_t hash = 0x123456789abcdefu;

static fl_reference_store open_store(void)
{
    static char dir[256];
    snprintf(dir, sizeof dir, "%s", temp_path("run"));
    return (fl_reference_store){.dir = dir};
}

static const char *file(void)
{
    return temp_path("run/clients/3/reference.0");
}

static void save(fl_reference_store *store)
{
    const double values[COUNT] = {-1.5, -2.25, (double)NAN, (double)NAN, -1e-300, -7};
    assert_ok(fl_reference_save(store, CLIENT, hash, values, COUNT));
}

/* Are all values unknown? */
static bool is_unknown(fl_reference_store *store, uint32_t client, uint64_t wanted, size_t count)
{
    double values[2 * COUNT] = {0};
    assert_ok(fl_reference_load(store, client, wanted, values, count));
    size_t unknown = 0;
    for (size_t i = 0; i < count; i++)
        unknown += isnan(values[i]);
    return unknown == count;
}

static void comes_back_as_it_was(void **state)
{
    (void)state;
    fl_reference_store store = open_store();
    assert_true(is_unknown(&store, 7, hash, COUNT)); /* no file, not even a folder */
    save(&store);
    double values[COUNT];
    assert_ok(fl_reference_load(&store, CLIENT, hash, values, COUNT));
    assert_true(values[0] == -1.5 && values[1] == -2.25 && values[4] == -1e-300 && values[5] == -7);
    assert_true(isnan(values[2]) && isnan(values[3]));
    fl_reference_store_fini(&store);
}

static void what_does_not_fit_is_not_taken(void **state)
{
    (void)state;
    fl_reference_store store = open_store();
    save(&store);
    assert_true(is_unknown(&store, CLIENT, hash + 1, COUNT));
    assert_true(is_unknown(&store, CLIENT, hash, COUNT - 1));
    assert_true(is_unknown(&store, CLIENT, hash, 2 * COUNT));
    assert_false(is_unknown(&store, CLIENT, hash, COUNT));
    fl_reference_store_fini(&store);
}

/* Every byte and every length. */
static void damage_is_noticed(void **state)
{
    (void)state;
    fl_reference_store store = open_store();
    fl_buf whole = {0};
    save(&store);
    read_whole(&whole, file());
    for (size_t at = 0; at < whole.length; at += at < 24 || at >= FL_SEAL_BYTES ? 1 : 61) {
        flip_byte(file(), at, 0x10);
        assert_true(is_unknown(&store, CLIENT, hash, COUNT));
        flip_byte(file(), at, 0x10);
    }
    for (size_t length = 0; length < whole.length; length += 37) {
        write_file(file(), whole.data, length);
        assert_true(is_unknown(&store, CLIENT, hash, COUNT));
    }
    fl_buf_fini(&whole);
    fl_reference_store_fini(&store);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    fl_reference_store store = open_store();
    save(&store);
    const double other[COUNT] = {0};
    limit_file_size(64);
    assert_error(fl_reference_save(&store, CLIENT, hash, other, COUNT), FL_ERR_IO, "reference.0");
    limit_file_size(0);
    double values[COUNT];
    assert_ok(fl_reference_load(&store, CLIENT, hash, values, COUNT));
    assert_true(values[0] == -1.5);
    fl_reference_store_fini(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(what_does_not_fit_is_not_taken),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
