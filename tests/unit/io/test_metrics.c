#include "base/file.h"
#include "io/metrics.h"
#include "unit/io/io_test.h"

#include <math.h>
#include <string.h>

static json_t *make_line(int round, double loss)
{
    json_t *line = json_object();
    json_object_set_new(line, "event", json_string("round"));
    json_object_set_new(line, "round", json_integer(round));
    json_object_set_new(line, "loss", fl_metrics_real(loss));
    return line;
}

static fl_status append(fl_metrics *metrics, int round, double loss)
{
    json_t *line = make_line(round, loss);
    fl_status status = fl_metrics_append(metrics, line);
    json_decref(line);
    return status;
}

static void assert_content(const char *path, const char *expected)
{
    fl_buf text = {0};
    read_whole(&text, path);
    assert_string_equal(fl_buf_text(&text), expected);
    fl_buf_fini(&text);
}

#define LINE(round, loss) "{\"event\":\"round\",\"round\":" round ",\"loss\":" loss "}\n"

static void appends_lines(void **state)
{
    (void)state;
    const char *path = temp_path("lines.jsonl");
    fl_metrics *metrics;
    assert_ok(fl_metrics_open(&metrics, path, 0));
    assert_int_equal(fl_metrics_bytes(metrics), 0);
    assert_ok(append(metrics, 1, 2.5));
    assert_ok(append(metrics, 2, NAN));
    assert_ok(append(metrics, 3, -INFINITY));
    assert_content(path, LINE("1", "2.5") LINE("2", "null") LINE("3", "null")); /* before close */
    assert_int_equal(fl_metrics_bytes(metrics),
                     strlen(LINE("1", "2.5") LINE("2", "null")) * 2 - strlen(LINE("1", "2.5")));
    assert_ok(fl_metrics_sync(metrics));
    fl_metrics_close(metrics);
    fl_metrics_close(NULL);
}

static void reals_read_back_exactly(void **state)
{
    (void)state;
    static const double values[] = {1.0 / 3, 0.1, 5e-324, 1.7976931348623157e308, -0.0, 123456789};
    const char *path = temp_path("reals.jsonl");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        fl_metrics *metrics;
        assert_ok(fl_metrics_open(&metrics, path, 0));
        assert_ok(append(metrics, 1, values[i]));
        fl_metrics_close(metrics);
        json_t *line = json_load_file(path, 0, NULL);
        assert_non_null(line);
        assert_true(json_real_value(json_object_get(line, "loss")) == values[i]);
        json_decref(line);
    }
}

static void cuts_back_and_goes_on(void **state)
{
    (void)state;
    const char *path = temp_path("cut.jsonl");
    fl_metrics *metrics;
    assert_ok(fl_metrics_open(&metrics, path, 0));
    assert_ok(append(metrics, 1, 1));
    const int64_t keep = fl_metrics_bytes(metrics);
    assert_ok(append(metrics, 2, 2));
    fl_metrics_close(metrics);
    assert_ok(fl_metrics_open(&metrics, path, keep));
    assert_int_equal(fl_metrics_bytes(metrics), keep);
    assert_ok(append(metrics, 2, 3));
    fl_metrics_close(metrics);
    assert_content(path, LINE("1", "1.0") LINE("2", "3.0"));
    assert_ok(fl_metrics_open(&metrics, path, 0));
    fl_metrics_close(metrics);
    assert_content(path, "");
}

static void refuses_a_file_that_does_not_fit(void **state)
{
    (void)state;
    const char *path = temp_path("other.jsonl");
    fl_metrics *metrics;
    write_text(path, "{}\n{}\n");
    assert_error(fl_metrics_open(&metrics, path, 7), FL_ERR_INPUT,
                 "other.jsonl: has 6 bytes, the saved state needs its first 7");
    assert_error(fl_metrics_open(&metrics, path, 4), FL_ERR_INPUT, "inside a line");
    assert_content(path, "{}\n{}\n");
    assert_error(fl_metrics_open(&metrics, temp_path("new.jsonl"), 1), FL_ERR_IO, "new.jsonl");
    assert_false(fl_path_exists(temp_path("new.jsonl")));
    assert_error(fl_metrics_open(&metrics, temp_path(""), 0), FL_ERR_IO, "cannot open");
    assert_error(fl_metrics_open(&metrics, temp_path("no/where"), 0), FL_ERR_IO, "no/where");
}

static void a_full_disk_leaves_no_broken_line(void **state)
{
    (void)state;
    const char *path = temp_path("full.jsonl");
    fl_metrics *metrics;
    assert_ok(fl_metrics_open(&metrics, path, 0));
    assert_ok(append(metrics, 1, 1));
    limit_file_size((size_t)fl_metrics_bytes(metrics) + 10); /* room for part of a line */
    fl_status status = append(metrics, 2, 2);
    limit_file_size(0);
    assert_error(status, FL_ERR_IO, "cannot write");
    assert_content(path, LINE("1", "1.0"));
    assert_ok(append(metrics, 2, 2));
    assert_content(path, LINE("1", "1.0") LINE("2", "2.0"));
    fl_metrics_close(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_lines),
        cmocka_unit_test(reals_read_back_exactly),
        cmocka_unit_test(cuts_back_and_goes_on),
        cmocka_unit_test(refuses_a_file_that_does_not_fit),
        cmocka_unit_test(a_full_disk_leaves_no_broken_line),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
