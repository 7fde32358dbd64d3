/* The memory that a machine has left, from folders that look like /proc and /sys. */
#include "base/machine.h"

#include "support.h"

static char root[64];

static void put(const char *path, const char *text)
{
    char command[512];
    snprintf(command, sizeof command, "mkdir -p $(dirname %s%s)", root, path);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s%s", root, path);
    FILE *file = fopen(command, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test_machine.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void nothing_is_known(void **state)
{
    (void)state;
    assert_true(fl_machine_available_bytes(root) == UINT64_MAX);
}

static void memory_of_the_machine(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable:    8000 kB\n");
    assert_true(fl_machine_available_bytes(root) == 8000 * 1024);
}

static void groups_of_version_2(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 8000 kB\n");
    put("/proc/self/cgroup", "0::/job/step\n");
    put("/sys/fs/cgroup/job/step/memory.max", "max\n");
    put("/sys/fs/cgroup/job/step/memory.current", "1000\n");
    assert_true(fl_machine_available_bytes(root) == 8000 * 1024);
    put("/sys/fs/cgroup/job/memory.max", "5000000\n"); /* the limit is above */
    put("/sys/fs/cgroup/job/memory.current", "3000000\n");
    put("/sys/fs/cgroup/job/memory.stat", "anon 7\ninactive_file 1000000\n");
    assert_true(fl_machine_available_bytes(root) == 3000000);
    put("/sys/fs/cgroup/job/memory.current", "9000000\n"); /* over it */
    assert_true(fl_machine_available_bytes(root) == 0);
}

static void groups_of_version_1(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 8000 kB\n");
    put("/proc/self/cgroup", "5:cpu:/a\n4:memory:/elsewhere\n");
    /* in a container the group's path is not there, its mount is */
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1500000\n");
    put("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 500000\n");
    assert_true(fl_machine_available_bytes(root) == 3000000);
}

static void this_machine(void **state)
{
    (void)state;
    enum { BYTES = 1 << 26 };
    uint64_t before = fl_process_private_bytes();
    assert_true(fl_machine_available_bytes("") > BYTES && before > 0);
    char *data = malloc(BYTES);
    assert_non_null(data);
    memset(data, 1, BYTES);
    uint64_t after = fl_process_private_bytes();
    assert_true(after >= before + BYTES && after < before + BYTES + (1 << 23));
    assert_int_equal(data[BYTES - 1], 1);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known, make_root, remove_root),
        cmocka_unit_test_setup_teardown(memory_of_the_machine, make_root, remove_root),
        cmocka_unit_test_setup_teardown(groups_of_version_2, make_root, remove_root),
        cmocka_unit_test_setup_teardown(groups_of_version_1, make_root, remove_root),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
