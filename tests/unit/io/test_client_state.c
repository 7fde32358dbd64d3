#include "base/file.h"
#include "io/client_state.h"
#include "unit/io/io_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { COUNT = 100 };

static fl_client_store open_store(void)
{
    static char dir[256]; /* outlives what temp_path gives */
    snprintf(dir, sizeof dir, "%s", temp_path("run"));
    return (fl_client_store){.dir = dir, .name = "c", .count = COUNT};
}

static void fill(float *values, uint32_t client, int64_t round)
{
    for (size_t i = 0; i < COUNT; i++)
        values[i] = (float)(1000 * client + 100 * (uint64_t)round + i) / 7;
}

static void save(fl_client_store *store, uint32_t client, int64_t round)
{
    float values[COUNT];
    fill(values, client, round);
    assert_ok(fl_client_store_save(store, client, round, values));
}

static const char *file_of(uint32_t client, int64_t round)
{
    char name[64];
    snprintf(name, sizeof name, "run/clients/%u/c.%d", client, (int)round);
    return temp_path(name);
}

static void comes_back_as_it_was(void **state)
{
    (void)state;
    fl_client_store store = open_store();
    float values[COUNT], wanted[COUNT];
    save(&store, 12, 3);
    save(&store, 4000000000u, 3);
    save(&store, 12, 7);
    for (int64_t round = 3; round <= 7; round += 4) {
        fill(wanted, 12, round);
        assert_ok(fl_client_store_load(&store, 12, round, values));
        assert_memory_equal(values, wanted, sizeof values);
    }
    assert_ok(fl_client_store_load(&store, 4000000000u, 3, values));
    assert_error(fl_client_store_load(&store, 12, 5, values), FL_ERR_IO, "is missing");
    assert_ok(fl_client_files_remove(store.dir));
    assert_false(fl_path_exists(temp_path("run/clients")));
    fl_client_store_fini(&store);
}

/* While round r + 1 runs, state.h5 is of round r and state.prev.h5 of r - 1; each must find the
 * newest state that is not later than itself. */
static void what_can_be_asked_for_is_kept(void **state)
{
    (void)state;
    static const int64_t rounds[] = {2, 3, 4, 9, 10, 20, 21, 22, 23};
    fl_client_store store = open_store();
    float values[COUNT];
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        save(&store, 1, rounds[i]);
        for (int64_t as_of = rounds[i] - 2; as_of <= rounds[i]; as_of++) {
            size_t j = i + 1;
            while (j > 0 && rounds[j - 1] > as_of)
                j--;
            if (j > 0) assert_ok(fl_client_store_load(&store, 1, rounds[j - 1], values));
        }
    }
    for (int64_t round = 0; round <= 30; round++)
        assert_true(fl_path_exists(file_of(1, round)) == (round >= 21 && round <= 23));
    assert_ok(fl_client_files_remove(store.dir));
    fl_client_store_fini(&store);
}

static void damage_is_found(void **state)
{
    (void)state;
    fl_client_store store = open_store();
    float values[COUNT];
    save(&store, 1, 5);
    const size_t length = 512 + 4 * 8 + COUNT * 4;
    fl_buf whole = {0};
    read_whole(&whole, file_of(1, 5));
    assert_int_equal(whole.length, length);
    for (size_t at = 0; at < length; at++) {
        flip_byte(file_of(1, 5), at, 0x10);
        fl_status status = fl_client_store_load(&store, 1, 5, values);
        assert_true(status == FL_ERR_INPUT || status == FL_ERR_UNSUPPORTED);
        flip_byte(file_of(1, 5), at, 0x10);
    }
    for (size_t cut = 0; cut < length; cut += 37) {
        write_file(file_of(1, 5), whole.data, cut);
        assert_error(fl_client_store_load(&store, 1, 5, values), FL_ERR_INPUT, "clients/1/c.5");
    }
    /* a good file in the wrong place, or of another adapter */
    write_file(file_of(1, 6), whole.data, length);
    assert_error(fl_client_store_load(&store, 1, 6, values), FL_ERR_INPUT,
                 "is the state of client 1 after round 5");
    write_file(file_of(1, 5), whole.data, length);
    store.count = COUNT - 1;
    assert_error(fl_client_store_load(&store, 1, 5, values), FL_ERR_INPUT, "does not hold");
    fl_buf_fini(&whole);
    assert_ok(fl_client_files_remove(store.dir));
    fl_client_store_fini(&store);
}

static void a_full_disk_keeps_the_old_state(void **state)
{
    (void)state;
    fl_client_store store = open_store();
    float values[COUNT];
    save(&store, 1, 5);
    limit_file_size(600);
    fl_status status = fl_client_store_save(&store, 1, 6, values);
    limit_file_size(0);
    assert_int_equal(status, FL_ERR_IO);
    assert_ok(fl_client_store_load(&store, 1, 5, values));
    assert_false(fl_path_exists(file_of(1, 6)));
    assert_ok(fl_client_files_remove(store.dir));
    fl_client_store_fini(&store);
}

static void files_of_others_stay(void **state)
{
    (void)state;
    fl_client_store store = open_store();
    save(&store, 1, 5);
    save(&store, 2, 5);
    write_text(temp_path("run/clients/1/c.5.tmp-12-0"), "half");
    write_text(temp_path("run/clients/2/notes.txt"), "mine");
    assert_ok(fl_client_files_clean(store.dir));
    assert_false(fl_path_exists(temp_path("run/clients/1/c.5.tmp-12-0")));
    assert_true(fl_path_exists(file_of(1, 5)) && fl_path_exists(file_of(2, 5)));
    assert_ok(fl_client_files_remove(store.dir));
    assert_false(fl_path_exists(temp_path("run/clients/1")));
    assert_false(fl_path_exists(file_of(2, 5)));
    assert_true(fl_path_exists(temp_path("run/clients/2/notes.txt")));
    assert_ok(fl_client_files_clean(temp_path("nowhere")));
    assert_ok(fl_client_files_remove(temp_path("nowhere")));
    fl_client_store_fini(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was), cmocka_unit_test(what_can_be_asked_for_is_kept),
        cmocka_unit_test(damage_is_found),      cmocka_unit_test(a_full_disk_keeps_the_old_state),
        cmocka_unit_test(files_of_others_stay),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
