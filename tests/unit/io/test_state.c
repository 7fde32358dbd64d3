#include "base/file.h"
#include "io/h5.h"
#include "io/state.h"
#include "unit/io/io_test.h"

#include <stdio.h>
#include <string.h>

/* A run with an adapter, two server states. */
typedef struct run {
    fl_params adapter, m, v;
    fl_named_params server[2];
    fl_state state;
} run;

static void open_run(run *r, double first)
{
    *r = (run){0};
    make_params(&r->adapter, first);
    make_params(&r->m, first + 100);
    make_params(&r->v, first + 200);
    r->server[0] = (fl_named_params){.name = "m", .params = &r->m};
    r->server[1] = (fl_named_params){.name = "v", .params = &r->v};
    r->state = (fl_state){
        .program = "0.1.0", .adapter = &r->adapter, .server = r->server, .num_server = 2};
}

static void close_run(run *r)
{
    fl_state_fini(&r->state);
    fl_params_fini(&r->adapter);
    fl_params_fini(&r->m);
    fl_params_fini(&r->v);
}

/* Two rounds done. */
static void do_rounds(run *r)
{
    assert_ok(fl_state_add_round(&r->state, 2.5));
    assert_ok(fl_state_add_round(&r->state, 1.0 / 3));
    r->state.metrics_bytes = 1234;
    assert_ok(fl_buf_add_text(&r->state.config, "seed = 7;\n"));
}

static const char *make_dir(const char *name)
{
    const char *dir = temp_path(name);
    assert_ok(fl_make_dirs(dir));
    return dir;
}

static void save_run(const char *dir, double first)
{
    run r;
    open_run(&r, first);
    do_rounds(&r);
    assert_ok(fl_state_save(dir, &r.state));
    close_run(&r);
}

static void comes_back(void **state)
{
    (void)state;
    const char *dir = make_dir("back");
    run saved, loaded;
    open_run(&saved, 1);
    do_rounds(&saved);
    assert_ok(fl_state_save(dir, &saved.state));
    open_run(&loaded, 50);
    bool found;
    assert_ok(fl_state_load(dir, &loaded.state, &found));
    assert_true(found);
    assert_false(loaded.state.recovered);
    assert_int_equal(loaded.state.round, 2);
    assert_int_equal(loaded.state.metrics_bytes, 1234);
    assert_memory_equal(loaded.state.loss, saved.state.loss, 2 * sizeof(double));
    assert_string_equal(fl_buf_text(&loaded.state.config), "seed = 7;\n");
    const size_t bytes = saved.adapter.count * sizeof(float);
    assert_memory_equal(loaded.adapter.data, saved.adapter.data, bytes);
    assert_memory_equal(loaded.m.data, saved.m.data, bytes);
    assert_memory_equal(loaded.v.data, saved.v.data, bytes);
    assert_ok(fl_state_add_round(&loaded.state, 0.25)); /* goes on from there */
    assert_true(loaded.state.loss[0] == 2.5 && loaded.state.loss[2] == 0.25);
    close_run(&saved);
    close_run(&loaded);
}

static void starts_without_a_state(void **state)
{
    (void)state;
    run r;
    open_run(&r, 0);
    bool found = true;
    assert_ok(fl_state_load(temp_path("nowhere"), &r.state, &found));
    assert_false(found);
    assert_int_equal(r.state.round, 0);
    const char *dir = make_dir("fresh");
    assert_ok(fl_state_save(dir, &r.state)); /* before the first round */
    assert_ok(fl_state_load(dir, &r.state, &found));
    assert_true(found);
    assert_int_equal(r.state.round, 0);
    assert_int_equal(r.state.config.length, 0);
    close_run(&r);
}

static void set_length(fl_params *vector, int64_t length)
{
    assert_ok(fl_params_init(vector, 1));
    assert_ok(fl_params_add(vector, "values", 1, &length));
    assert_ok(fl_params_allocate(vector));
    for (int64_t i = 0; i < length; i++)
        vector->data[i] = (float)i + 0.5f;
}

/* A vector that grew comes back in its length, also as nothing at all; one that may not does not.
 */
static void vectors_come_back_in_their_length(void **state)
{
    (void)state;
    const char *dir = make_dir("grows");
    for (int64_t length = 0; length < 6; length += 5) {
        run saved, loaded;
        bool found;
        open_run(&saved, 1);
        open_run(&loaded, 1);
        fl_params_fini(&saved.m);
        fl_params_fini(&loaded.m);
        set_length(&saved.m, length);
        set_length(&loaded.m, 2);
        assert_ok(fl_state_save(dir, &saved.state));
        assert_error(fl_state_load(dir, &loaded.state, &found), FL_ERR_INPUT, "another model");
        loaded.server[0].grows = true;
        assert_ok(fl_state_load(dir, &loaded.state, &found));
        assert_int_equal(loaded.m.count, length);
        assert_memory_equal(loaded.m.data, saved.m.data, (size_t)length * sizeof(float));
        close_run(&saved);
        close_run(&loaded);
    }
}

static void saves_the_same_bytes(void **state)
{
    (void)state;
    fl_buf first = {0}, second = {0};
    save_run(make_dir("same"), 1);
    read_whole(&first, temp_path("same/state.h5"));
    save_run(temp_path("same"), 1);
    read_whole(&second, temp_path("same/state.h5"));
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    assert_true(fl_path_exists(temp_path("same/state.prev.h5")));
    fl_buf_fini(&first);
    fl_buf_fini(&second);
}

/* Round `round` is what a load finds; says whether it came from the previous file. */
static void assert_loads(const char *dir, float first, bool recovered)
{
    run r;
    bool found;
    open_run(&r, 0);
    assert_ok(fl_state_load(dir, &r.state, &found));
    assert_true(found);
    assert_int_equal(r.state.recovered, recovered);
    assert_true(r.adapter.data[0] == first);
    close_run(&r);
}

static void assert_load_fails(const char *dir, fl_status status, const char *words)
{
    run r;
    bool found;
    open_run(&r, 0);
    assert_error(fl_state_load(dir, &r.state, &found), status, words);
    close_run(&r);
}

static void falls_back_to_the_previous(void **state)
{
    (void)state;
    const char *dir = make_dir("fall");
    const char *path = temp_path("fall/state.h5"), *previous = temp_path("fall/state.prev.h5");
    save_run(dir, 1);
    save_run(dir, 2);
    assert_loads(dir, 2, false);
    write_text(path, "FEDLLM STATE 1\n"); /* as after a crash of the disk */
    assert_loads(dir, 1, true);
    assert_int_equal(remove(path), 0); /* killed between two renames */
    assert_loads(dir, 1, true);
    write_text(path, "x");
    write_text(previous, "");
    assert_load_fails(dir, FL_ERR_INPUT, "not a fedllm state file, and");
    assert_load_fails(dir, FL_ERR_INPUT, "state.prev.h5: the file is empty");
    assert_int_equal(remove(previous), 0);
    assert_load_fails(dir, FL_ERR_INPUT, "state.h5: not a fedllm state file");
}

/* The damaged file must not push out the good one it was recovered from. */
static void a_recovered_run_keeps_the_good_file(void **state)
{
    (void)state;
    const char *dir = make_dir("recover");
    save_run(dir, 1);
    save_run(dir, 2);
    write_text(temp_path("recover/state.h5"), "damaged");
    run r;
    bool found;
    open_run(&r, 0);
    assert_ok(fl_state_load(dir, &r.state, &found));
    assert_true(r.state.recovered);
    r.adapter.data[0] = 3;
    assert_ok(fl_state_save(dir, &r.state));
    assert_false(r.state.recovered);
    assert_loads(dir, 3, false);
    assert_int_equal(remove(temp_path("recover/state.h5")), 0);
    assert_loads(dir, 1, true);
    close_run(&r);
}

static void refuses_another_set_up(void **state)
{
    (void)state;
    const char *dir = make_dir("other");
    save_run(dir, 1);
    bool found;
    run r;
    open_run(&r, 0);
    fl_params other;
    assert_ok(fl_params_init(&other, 4));
    assert_ok(fl_params_add(&other, "layers.0.q_proj.lora_A.weight", 2, (const int64_t[]){2, 3}));
    assert_ok(fl_params_allocate(&other));
    r.state.adapter = &other;
    assert_error(fl_state_load(dir, &r.state, &found), FL_ERR_INPUT,
                 "another model or LoRA set-up (it has more tensors)");
    assert_ok(fl_params_add(&other, "layers.0.q_proj.lora_B.weight", 2, (const int64_t[]){2, 3}));
    assert_ok(fl_params_allocate(&other));
    assert_error(fl_state_load(dir, &r.state, &found), FL_ERR_INPUT, "has shape [3, 2]");
    fl_params_fini(&other);
    make_params(&other, 0);
    other.params[2].name[0] = 'B';
    r.state.adapter = &other;
    assert_error(fl_state_load(dir, &r.state, &found), FL_ERR_INPUT, "/adapter/Bias is missing");
    r.state.adapter = &r.adapter;
    r.state.num_server = 1;
    assert_error(fl_state_load(dir, &r.state, &found), FL_ERR_INPUT,
                 "another algorithm (the server");
    r.state.num_server = 2;
    r.server[1].name = "delta";
    assert_error(fl_state_load(dir, &r.state, &found), FL_ERR_INPUT,
                 "another algorithm (the server");
    fl_params_fini(&other);
    close_run(&r);
}

/* A sealed file whose content is not a state. */
static void put_number(const char *name, int64_t format, int64_t round)
{
    const int64_t one = 1, huge = 1;
    const double loss = 0;
    fl_h5 *h5;
    assert_ok(fl_h5_create(&h5));
    assert_ok(fl_h5_put(h5, "/meta/format", FL_I64, 1, &one, &format));
    assert_ok(fl_h5_put_text(h5, "/meta/config", "", 0));
    assert_ok(fl_h5_put(h5, "/progress/round", FL_I64, 1, &one, &round));
    assert_ok(fl_h5_put(h5, "/progress/metrics_bytes", FL_I64, 1, &one, &one));
    assert_ok(fl_h5_put(h5, "/history/loss", FL_F64, 1, &huge, &loss));
    assert_ok(fl_h5_finish(h5, name, NULL));
    fl_h5_close(h5);
}

static void refuses_nonsense(void **state)
{
    (void)state;
    const char *dir = make_dir("nonsense"), *path = temp_path("nonsense/state.h5");
    put_number(path, 2, 1);
    assert_load_fails(dir, FL_ERR_UNSUPPORTED, "schema version 2");
    put_number(path, 1, -1);
    assert_load_fails(dir, FL_ERR_INPUT, "/progress/round = -1 is negative");
    put_number(path, 1, INT64_MAX);
    assert_load_fails(dir, FL_ERR_INPUT, "one value per round");
    put_number(path, 1, 1);
    assert_load_fails(dir, FL_ERR_INPUT, "another model or LoRA set-up");
}

static void a_full_disk_changes_nothing(void **state)
{
    (void)state;
    const char *dir = make_dir("full");
    save_run(dir, 1);
    save_run(dir, 2);
    run r;
    open_run(&r, 3);
    do_rounds(&r);
    limit_file_size(1000);
    fl_status status = fl_state_save(dir, &r.state);
    limit_file_size(0);
    assert_error(status, FL_ERR_IO, "full/state.h5");
    close_run(&r);
    assert_loads(dir, 2, false);
    assert_int_equal(remove(temp_path("full/state.h5")), 0);
    assert_loads(dir, 1, true);
}

/* Every byte of the file counts: none may be changed or missing unnoticed. */
static void finds_any_changed_byte(void **state)
{
    (void)state;
    const char *path = temp_path("any/state.h5");
    save_run(make_dir("any"), 1);
    fl_buf bytes = {0};
    read_whole(&bytes, path);
    fl_h5 *h5;
    for (size_t i = 0; i < bytes.length; i++) {
        const unsigned char bits = (unsigned char)(1 << i % 8);
        flip_byte(path, i, bits);
        fl_status status = fl_h5_open(&h5, path);
        assert_true(status == FL_ERR_INPUT || status == FL_ERR_UNSUPPORTED);
        flip_byte(path, i, bits);
    }
    assert_ok(fl_h5_open(&h5, path));
    fl_h5_close(h5);
    for (size_t cut = 0; cut < bytes.length; cut += cut < 600 ? 1 : 97) {
        write_file(path, bytes.data, cut);
        assert_error(fl_h5_open(&h5, path), FL_ERR_INPUT, path);
    }
    assert_ok(fl_buf_add(&bytes, "", 1));
    write_file(path, bytes.data, bytes.length);
    assert_error(fl_h5_open(&h5, path), FL_ERR_INPUT, "damaged");
    fl_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(starts_without_a_state),
        cmocka_unit_test(vectors_come_back_in_their_length),
        cmocka_unit_test(saves_the_same_bytes),
        cmocka_unit_test(falls_back_to_the_previous),
        cmocka_unit_test(a_recovered_run_keeps_the_good_file),
        cmocka_unit_test(refuses_another_set_up),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(a_full_disk_changes_nothing),
        cmocka_unit_test(finds_any_changed_byte),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
