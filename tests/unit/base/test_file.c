/* Files: what is read, what a failed write leaves behind, and maps. */
#include "base/clock.h"
#include "base/file.h"
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

static void write_plain(const char *path, const void *data, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void expect_content(const char *path, const char *text)
{
    fl_buf content = {0};
    EXPECT_OK(fl_file_read(&content, path, 0));
    assert_string_equal(fl_buf_text(&content), text);
    fl_buf_fini(&content);
}

static void test_join(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *out;
    } cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a//", "//b", "a/b"},
                 {"/", "b", "/b"},  {"a", "/b", "a/b"}, {"", "b", "b"},
                 {"", "/b", "/b"},  {"a", "", "a/"},    {"a/b", "c/", "a/b/c/"}};
    fl_buf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        EXPECT_OK(fl_path_join(&out, cases[i].a, cases[i].b));
        assert_string_equal(fl_buf_text(&out), cases[i].out);
    }
    fl_buf_fini(&out);
}

static void test_make_dirs(void **state)
{
    test_folder *folder = *state;
    EXPECT_OK(fl_make_dirs(folder_file(folder, "runs//a/b/")));
    assert_true(fl_path_is_dir(folder_file(folder, "runs/a/b")));
    EXPECT_OK(fl_make_dirs(folder_file(folder, "runs/a")));
    EXPECT_OK(fl_make_dirs("/"));
    write_plain(folder_file(folder, "file"), "x", 1);
    assert_true(fl_path_exists(folder->file));
    assert_false(fl_path_is_dir(folder->file));
    EXPECT_FAIL(fl_make_dirs(folder->file), FL_ERR_IO, "a file of that name exists");
    EXPECT_FAIL(fl_make_dirs(folder_file(folder, "file/a")), FL_ERR_IO, "/file");
    EXPECT_FAIL(fl_make_dirs(""), FL_ERR_IO, "without a name");
    assert_false(fl_path_exists(folder_file(folder, "missing")));
}

static void test_read(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "text");
    write_plain(path, "one\0two", 7);
    fl_buf out = {0};
    EXPECT_OK(fl_buf_add_text(&out, ">"));
    EXPECT_OK(fl_file_read(&out, path, 7));
    assert_int_equal(out.length, 8);
    assert_memory_equal(out.data, ">one\0two", 9);
    EXPECT_FAIL(fl_file_read(&out, path, 6), FL_ERR_INPUT, "more than 6 bytes");
    assert_int_equal(out.length, 8); /* nothing half read is left */
    EXPECT_FAIL(fl_file_read(&out, folder_file(folder, "none"), 0), FL_ERR_IO, "No such file");
    EXPECT_FAIL(fl_file_read(&out, folder->path, 0), FL_ERR_IO, "Is a directory");
    fl_buf_fini(&out);
    write_plain(folder_file(folder, "empty"), "", 0);
    EXPECT_OK(fl_file_read(&out, folder->file, 0));
    assert_int_equal(out.length, 0);
    assert_string_equal(fl_buf_text(&out), "");
    write_plain(folder_file(folder, "one"), "\x1f", 1); /* half a magic is not gzip */
    EXPECT_OK(fl_file_read(&out, folder->file, 0));
    assert_string_equal(fl_buf_text(&out), "\x1f");
    fl_buf_fini(&out);
}

/* 300000 bytes of digits as gzip: more than one chunk of the reader. */
static size_t write_gzip(const char *path)
{
    gzFile file = gzopen(path, "wb");
    for (int i = 0; i < 50000; i++)
        gzprintf(file, "%06d", i);
    assert_int_equal(gzclose(file), Z_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (size_t)info.st_size;
}

static void test_read_gzip(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "data.gz");
    size_t length = write_gzip(path);
    fl_buf out = {0}, packed = {0};
    EXPECT_OK(fl_file_read(&out, path, 300000));
    assert_int_equal(out.length, 300000);
    assert_memory_equal(out.data + 6 * 43210, "043210", 6);
    EXPECT_FAIL(fl_file_read(&out, path, 299999), FL_ERR_INPUT, "more than 299999 bytes");

    fl_map map;
    EXPECT_OK(fl_map_open(&map, path));
    EXPECT_OK(fl_buf_add(&packed, map.data, map.length));
    fl_map_close(&map);
    fl_buf_clear(&out);
    static const size_t cuts[] = {2, 5, 11, 100, 1000, 8, 1};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) { /* what is left of the file */
        size_t left = i < 5 ? cuts[i] : length - cuts[i];
        write_plain(path, packed.data, left);
        assert_int_equal(fl_file_read(&out, path, 0), FL_ERR_INPUT);
        assert_int_equal(out.length, 0);
    }
    packed.data[length / 2] ^= 0x55;
    write_plain(path, packed.data, length);
    EXPECT_FAIL(fl_file_read(&out, path, 0), FL_ERR_INPUT, "damaged gzip data");
    fl_buf_fini(&out);
    fl_buf_fini(&packed);
}

static void test_write_atomic(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "out");
    EXPECT_OK(fl_file_write_atomic(path, "first", 5));
    expect_content(path, "first");
    EXPECT_OK(fl_file_write_atomic(path, "second, longer", 14));
    expect_content(path, "second, longer");
    EXPECT_OK(fl_file_write_atomic(path, NULL, 0));
    expect_content(path, "");
    assert_int_equal(count_files(folder->path), 1);

    mode_t mask = umask(022); /* as any program makes files, for others to read */
    EXPECT_OK(fl_file_write_atomic(path, "x", 1));
    umask(mask);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
}

static void test_write_in_pieces(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "out");
    fl_file_writer writer;
    EXPECT_OK(fl_file_write_atomic(path, "old", 3));
    EXPECT_OK(fl_file_begin(&writer, path)); /* given up: the old file stays, nothing else */
    EXPECT_OK(fl_file_put(&writer, "new", 3));
    expect_content(path, "old");
    fl_file_abandon(&writer);
    expect_content(path, "old");
    assert_int_equal(count_files(folder->path), 1);

    EXPECT_OK(fl_file_begin(&writer, path));
    EXPECT_OK(fl_file_put(&writer, "one ", 4));
    EXPECT_OK(fl_file_put(&writer, "two", 3));
    assert_int_equal(writer.length, 7);
    EXPECT_OK(fl_file_commit(&writer));
    fl_file_abandon(&writer); /* due all the same, and changes nothing */
    expect_content(path, "one two");
    assert_int_equal(count_files(folder->path), 1);

    char nowhere[256];
    snprintf(nowhere, sizeof nowhere, "%s/none/out", folder->path);
    EXPECT_FAIL(fl_file_begin(&writer, nowhere), FL_ERR_IO, "No such file");
    fl_file_abandon(&writer);
    assert_true(fl_path_is_empty(nowhere));
    assert_false(fl_path_is_empty(folder->path));
    assert_false(fl_path_is_empty(folder_file(folder, "out"))); /* no folder */
}

static void test_write_without_folder_part(void **state)
{
    test_folder *folder = *state;
    char here[1024];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder->path), 0);
    fl_status status = fl_file_write_atomic("plain", "x", 1);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(status, FL_OK);
    expect_content(folder_file(folder, "plain"), "x");
}

static void test_write_errors(void **state)
{
    test_folder *folder = *state;
    EXPECT_FAIL(fl_file_write_atomic(folder_file(folder, "none/out"), "x", 1), FL_ERR_IO,
                "No such file");
    EXPECT_OK(fl_make_dirs(folder_file(folder, "dir")));
    EXPECT_FAIL(fl_file_write_atomic(folder->file, "x", 1), FL_ERR_IO, "rename");
    EXPECT_FAIL(fl_file_write_keep(folder->file, "previous", "x", 1), FL_ERR_IO, "it is a folder");
    assert_int_equal(count_files(folder->path), 1);

    /* A folder that nobody may write into: by its rights, or for root under /proc. */
    if (geteuid() != 0) {
        assert_int_equal(chmod(folder->path, 0500), 0);
        EXPECT_FAIL(fl_file_write_atomic(folder_file(folder, "out"), "x", 1), FL_ERR_IO, "denied");
        assert_int_equal(chmod(folder->path, 0700), 0);
    } else {
        EXPECT_FAIL(fl_file_write_atomic("/proc/self/out", "x", 1), FL_ERR_IO, "/proc/self/out");
    }
    assert_int_equal(count_files(folder->path), 1);
}

/* A full disk, in the form that any process can have: a limit on the size of files. */
static struct rlimit limit_file_size(rlim_t bytes)
{
    struct rlimit old, now;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    now = old;
    now.rlim_cur = bytes;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    return old;
}

static void test_full_disk(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "out");
    char previous[128];
    snprintf(previous, sizeof previous, "%s/previous", folder->path);
    EXPECT_OK(fl_file_write_atomic(path, "old", 3));
    EXPECT_OK(fl_file_write_atomic(previous, "older", 5));
    static char large[10000];
    memset(large, 'x', sizeof large);
    struct rlimit limit = limit_file_size(5000); /* the first write is short, the second fails */
    fl_status status = fl_file_write_atomic(path, large, sizeof large);
    fl_status status_keep = fl_file_write_keep(path, previous, large, sizeof large);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(status, FL_ERR_IO);
    assert_int_equal(status_keep, FL_ERR_IO);
    assert_non_null(strstr(fl_error_text(), "/out: File too large"));
    expect_content(path, "old");
    expect_content(previous, "older");
    assert_int_equal(count_files(folder->path), 2);
}

static void test_write_keep(void **state)
{
    test_folder *folder = *state;
    const char *path = folder_file(folder, "state");
    char previous[128];
    snprintf(previous, sizeof previous, "%s/state.previous", folder->path);
    EXPECT_OK(fl_file_write_keep(path, previous, "1", 1));
    expect_content(path, "1");
    assert_false(fl_path_exists(previous));
    EXPECT_OK(fl_file_write_keep(path, previous, "2", 1));
    EXPECT_OK(fl_file_write_keep(path, previous, "3", 1));
    expect_content(path, "3");
    expect_content(previous, "2");
    assert_int_equal(count_files(folder->path), 2);

    /* `previous` cannot be made: nothing has happened */
    EXPECT_FAIL(fl_file_write_keep(path, "none/previous", "4", 1), FL_ERR_IO, "none/previous");
    expect_content(path, "3");
    assert_int_equal(count_files(folder->path), 2);
}

static void test_stale_temporary(void **state)
{
    /* What a killed process with our number left behind is stepped over, not written into. */
    test_folder *folder = *state;
    char stale[128];
    snprintf(stale, sizeof stale, "%s/out.tmp-%ld-0", folder->path, (long)getpid());
    write_plain(stale, "stale", 5);
    EXPECT_OK(fl_file_write_atomic(folder_file(folder, "out"), "new", 3));
    expect_content(folder->file, "new");
    expect_content(stale, "stale");
}

static void test_map(void **state)
{
    test_folder *folder = *state;
    fl_map map = {0};
    fl_map_close(&map);
    write_plain(folder_file(folder, "weights"), "abc", 3);
    EXPECT_OK(fl_map_open(&map, folder->file));
    assert_int_equal(map.length, 3);
    assert_memory_equal(map.data, "abc", 3);
    fl_map_close(&map);
    assert_null(map.data);
    write_plain(folder_file(folder, "empty"), "", 0);
    EXPECT_OK(fl_map_open(&map, folder->file));
    assert_null(map.data);
    assert_int_equal(map.length, 0);
    fl_map_close(&map);
    EXPECT_FAIL(fl_map_open(&map, folder->path), FL_ERR_IO, "is not a file");
    EXPECT_FAIL(fl_map_open(&map, "/dev/null"), FL_ERR_IO, "is not a file");
    EXPECT_FAIL(fl_map_open(&map, folder_file(folder, "none")), FL_ERR_IO, "No such file");
}

static void test_clock(void **state)
{
    (void)state;
    double start = fl_clock_seconds();
    fl_sleep_seconds(0.02);
    double slept = fl_clock_seconds() - start;
    assert_true(slept >= 0.02 && slept < 10);
    fl_sleep_seconds(0);
    fl_sleep_seconds(-1);
    fl_sleep_seconds(0.0 / (start * 0)); /* NaN */
    assert_true(fl_peak_memory_bytes() > 100000);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        FOLDER_TEST(test_make_dirs),
        FOLDER_TEST(test_read),
        FOLDER_TEST(test_read_gzip),
        FOLDER_TEST(test_write_atomic),
        FOLDER_TEST(test_write_without_folder_part),
        FOLDER_TEST(test_write_in_pieces),
        FOLDER_TEST(test_write_errors),
        FOLDER_TEST(test_full_disk),
        FOLDER_TEST(test_write_keep),
        FOLDER_TEST(test_stale_temporary),
        FOLDER_TEST(test_map),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
