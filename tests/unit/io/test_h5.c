#include "base/file.h"
#include "io/h5.h"
#include "unit/io/io_test.h"

#include <string.h>
#include <time.h>

static const int64_t shape[] = {2, 3};
static const float floats[] = {0, 1, 2, 3, 4, 1e-45f};
static const double doubles[] = {1.0 / 3, -5};
static const int64_t longs[] = {INT64_MIN, 7};
static const int32_t ints[] = {-1, 2};
static const int8_t chars[] = {-128, 127};

static fl_status put_all(fl_h5 *h5)
{
    const int64_t two = 2, none[] = {3, 0};
    FL_TRY(fl_h5_put(h5, "/adapter/layers.0.q_proj.lora_A.weight", FL_F32, 2, shape, floats));
    FL_TRY(fl_h5_put(h5, "/server/m/w", FL_F64, 1, &two, doubles));
    FL_TRY(fl_h5_put(h5, "/server/v/w", FL_I64, 1, &two, longs));
    FL_TRY(fl_h5_put(h5, "/ints", FL_I32, 1, &two, ints));
    FL_TRY(fl_h5_put(h5, "/chars", FL_I8, 1, &two, chars));
    FL_TRY(fl_h5_put(h5, "/none", FL_F32, 2, none, NULL));
    return fl_h5_put_text(h5, "/meta/config", "seed = 1;\n\0x", 12);
}

static void write_all(const char *path, const char *previous)
{
    fl_h5 *h5;
    assert_ok(fl_h5_create(&h5));
    assert_ok(put_all(h5));
    assert_ok(fl_h5_finish(h5, path, previous));
    fl_h5_close(h5);
}

static void reads_back(void **state)
{
    (void)state;
    const char *path = temp_path("back.h5");
    write_all(path, NULL);
    fl_h5 *h5;
    assert_ok(fl_h5_open(&h5, path));
    float f[6];
    double d[2];
    int64_t l[2], dim[FL_MAX_DIMS];
    int32_t i[2];
    int8_t c[2];
    const int64_t two = 2, none[] = {3, 0};
    assert_ok(fl_h5_get(h5, "/adapter/layers.0.q_proj.lora_A.weight", FL_F32, 2, shape, f));
    assert_memory_equal(f, floats, sizeof f);
    assert_ok(fl_h5_get(h5, "/server/m/w", FL_F64, 1, &two, d));
    assert_memory_equal(d, doubles, sizeof d);
    assert_ok(fl_h5_get(h5, "/server/v/w", FL_I64, 1, &two, l));
    assert_memory_equal(l, longs, sizeof l);
    assert_ok(fl_h5_get(h5, "/ints", FL_I32, 1, &two, i));
    assert_memory_equal(i, ints, sizeof i);
    assert_ok(fl_h5_get(h5, "/chars", FL_I8, 1, &two, c));
    assert_memory_equal(c, chars, sizeof c);
    assert_ok(fl_h5_get(h5, "/none", FL_F32, 2, none, f));
    int ndim;
    assert_ok(fl_h5_dims(h5, "/none", &ndim, dim));
    assert_true(ndim == 2 && dim[0] == 3 && dim[1] == 0);
    fl_buf text = {0};
    assert_ok(fl_buf_add_text(&text, "old"));
    assert_ok(fl_h5_get_text(h5, "/meta/config", &text));
    assert_int_equal(text.length, 12);
    assert_memory_equal(text.data, "seed = 1;\n\0x", 12);
    fl_buf_fini(&text);
    fl_h5_close(h5);
}

static void finds_and_counts(void **state)
{
    (void)state;
    const char *path = temp_path("find.h5");
    write_all(path, NULL);
    fl_h5 *h5;
    assert_ok(fl_h5_open(&h5, path));
    assert_true(fl_h5_has(h5, "/server"));
    assert_true(fl_h5_has(h5, "/server/m/w"));
    assert_false(fl_h5_has(h5, "/server/m/w/x"));
    assert_false(fl_h5_has(h5, "/client/3/c"));
    assert_false(fl_h5_has(h5, "server"));
    assert_false(fl_h5_has(h5, ""));
    size_t count;
    assert_ok(fl_h5_count(&count, h5, "/server"));
    assert_int_equal(count, 2);
    assert_ok(fl_h5_count(&count, h5, "/client"));
    assert_int_equal(count, 0);
    assert_error(fl_h5_count(&count, h5, "/ints"), FL_ERR_INPUT, "find.h5: cannot read group");
    float out[6];
    const int64_t six = 6;
    assert_error(fl_h5_get(h5, "/server/q", FL_F32, 1, &six, out), FL_ERR_INPUT,
                 "find.h5: /server/q is missing");
    assert_error(fl_h5_get(h5, "/server", FL_F32, 1, &six, out), FL_ERR_INPUT,
                 "cannot open /server");
    assert_error(fl_h5_get(h5, "/ints", FL_F32, 1, &six, out), FL_ERR_INPUT, "not of type F32");
    assert_error(fl_h5_get(h5, "/chars", FL_U8, 1, &six, out), FL_ERR_INPUT, "not of type U8");
    assert_error(fl_h5_get(h5, "/ints", FL_I32, 1, &six, out), FL_ERR_INPUT,
                 "/ints has shape [2], expected [6]");
    assert_error(fl_h5_get(h5, "/none", FL_F32, 2, shape, out), FL_ERR_INPUT, "has shape [3, 0]");
    fl_h5_close(h5);
}

static void refuses_bad_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "a", "/a/", "//a", "/a//b", "/./a", "/a/."};
    const int64_t dim = 1;
    fl_h5 *h5;
    assert_ok(fl_h5_create(&h5));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_error(fl_h5_put(h5, bad[i], FL_F32, 1, &dim, floats), FL_ERR_INTERNAL,
                     "cannot be a data set");
    assert_ok(fl_h5_put(h5, "/a/b", FL_F32, 1, &dim, floats));
    assert_error(fl_h5_put(h5, "/a/b", FL_F32, 1, &dim, floats), FL_ERR_INTERNAL,
                 "cannot add /a/b");
    assert_error(fl_h5_put(h5, "/a/b/c", FL_F32, 1, &dim, floats), FL_ERR_INTERNAL, "cannot add");
    assert_error(fl_h5_put(h5, "/a", FL_F32, 1, &dim, floats), FL_ERR_INTERNAL, "cannot add /a");
    fl_h5_close(h5); /* without fl_h5_finish: nothing is written */
    fl_h5_close(NULL);
}

static void same_content_gives_same_bytes(void **state)
{
    (void)state;
    const char *a = temp_path("a.h5"), *b = temp_path("b.h5");
    write_all(a, NULL);
    const struct timespec over_a_second = {1, 100000000}; /* HDF5 stores whole seconds */
    nanosleep(&over_a_second, NULL);
    write_all(b, NULL);
    fl_buf first = {0}, second = {0};
    read_whole(&first, a);
    read_whole(&second, b);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    fl_buf_fini(&first);
    fl_buf_fini(&second);
}

static void keeps_the_previous(void **state)
{
    (void)state;
    const char *path = temp_path("keep.h5"), *previous = temp_path("keep.prev.h5");
    write_all(path, previous);
    assert_false(fl_path_exists(previous));
    write_all(path, previous);
    fl_h5 *h5;
    assert_ok(fl_h5_open(&h5, previous));
    fl_h5_close(h5);
}

static void holds_large_and_many(void **state)
{
    (void)state;
    enum { ROWS = 2500, COLUMNS = 1000, CLIENTS = 300 };
    const int64_t dim[] = {ROWS, COLUMNS}, one = 1;
    float *data, *back;
    assert_ok(fl_alloc(&data, ROWS * COLUMNS, sizeof *data));
    assert_ok(fl_alloc(&back, ROWS * COLUMNS, sizeof *back));
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        data[i] = (float)i;
    fl_h5 *h5;
    fl_buf path = {0};
    assert_ok(fl_h5_create(&h5));
    assert_ok(fl_h5_put(h5, "/large", FL_F32, 2, dim, data));
    for (int64_t id = 0; id < CLIENTS; id++) {
        fl_buf_clear(&path);
        assert_ok(fl_buf_addf(&path, "/client/%d/c", (int)id));
        assert_ok(fl_h5_put(h5, path.data, FL_I64, 1, &one, &id));
    }
    assert_ok(fl_h5_finish(h5, temp_path("many.h5"), NULL));
    fl_h5_close(h5);
    assert_ok(fl_h5_open(&h5, temp_path("many.h5")));
    assert_ok(fl_h5_get(h5, "/large", FL_F32, 2, dim, back));
    assert_memory_equal(back, data, ROWS * COLUMNS * sizeof *data);
    size_t count;
    int64_t id;
    assert_ok(fl_h5_count(&count, h5, "/client"));
    assert_int_equal(count, CLIENTS);
    assert_ok(fl_h5_get(h5, "/client/299/c", FL_I64, 1, &one, &id));
    assert_int_equal(id, 299);
    fl_h5_close(h5);
    fl_buf_fini(&path);
    fl_free(data);
    fl_free(back);
}

static void refuses_other_files(void **state)
{
    (void)state;
    fl_h5 *h5;
    assert_error(fl_h5_open(&h5, temp_path("absent.h5")), FL_ERR_IO, "absent.h5");
    assert_error(fl_h5_open(&h5, temp_path("")), FL_ERR_IO, "");
    write_text(temp_path("empty.h5"), "");
    assert_error(fl_h5_open(&h5, temp_path("empty.h5")), FL_ERR_INPUT, "the file is empty");
    write_text(temp_path("short.h5"), "FEDLLM STATE 1\n");
    assert_error(fl_h5_open(&h5, temp_path("short.h5")), FL_ERR_INPUT, "truncated after 15 bytes");
    write_file(temp_path("plain.h5"), "\x89HDF\r\n\x1a\n", 8);
    assert_error(fl_h5_open(&h5, temp_path("plain.h5")), FL_ERR_INPUT, "not a fedllm state file");
    char text[600] = "FEDLLM STATE 2\n";
    write_file(temp_path("newer.h5"), text, sizeof text);
    assert_error(fl_h5_open(&h5, temp_path("newer.h5")), FL_ERR_UNSUPPORTED, "another version");
}

/* A seal that fits does not make HDF5 data: the library's own refusal must come out as a line. */
static void refuses_sealed_nonsense(void **state)
{
    (void)state;
    char bytes[600] = "FEDLLM STATE 1\nlength 00000000000000000088\ncrc32 17b19b1b\n";
    memset(bytes + 512, 'x', 88);
    write_file(temp_path("nonsense.h5"), bytes, sizeof bytes);
    fl_h5 *h5;
    assert_error(fl_h5_open(&h5, temp_path("nonsense.h5")), FL_ERR_INPUT,
                 "nonsense.h5: file signature not found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back),          cmocka_unit_test(finds_and_counts),
        cmocka_unit_test(refuses_bad_paths),   cmocka_unit_test(same_content_gives_same_bytes),
        cmocka_unit_test(keeps_the_previous),  cmocka_unit_test(holds_large_and_many),
        cmocka_unit_test(refuses_other_files), cmocka_unit_test(refuses_sealed_nonsense),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
