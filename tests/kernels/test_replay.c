/* Replay against the same ops called one by one, and what makes it forget. */
#include "check.h"

enum { T = 5, C = 96, ROWS = 40, MANY = 200 };

/* One sequence of ops over buffers of its own. */
typedef struct work {
    const fl_backend_ops *ops;
    float *x, *y, *out, *norm;
    float *norm_weight;
    fl_weight weight;
    const fl_rng *rng; /* backend memory */
    int calls;
    float seen; /* what `looks` copied out */
    bool looks; /* does what a body may not */
    struct work *inner;
} work;

static fl_replay_key key_of(uint64_t number)
{
    fl_replay_key key = {.word = {number, 1, 2, 3, 4, 5, 6, ~number}};
    return key;
}

static work make_work(const fl_backend_ops *ops, int64_t rows)
{
    float *w = check_random(3, rows * C);
    fl_rng rng = fl_rng_make(7, FL_PURPOSE_TEST, 0, 0, 0, 0);
    work made = {.ops = ops,
                 .x = check_floats((int64_t)T * C),
                 .y = check_floats(T * rows),
                 .out = check_floats(T * rows),
                 .norm = check_floats((int64_t)T * C),
                 .norm_weight = check_copy(check_random(4, C), C),
                 .rng = check_stream(&rng)};
    made.weight = check_weight(w, FL_BF16, rows, C);
    return made;
}

static void fill(work *w, uint64_t seed)
{
    w->ops->copy_in(w->x, check_random(seed, (int64_t)T * C), (size_t)T * C * sizeof *w->x);
}

static void body(void *context)
{
    work *w = context;
    const fl_backend_ops *ops = w->ops;
    int64_t rows = w->weight.rows, count = T * rows;
    fl_act x = fl_f32(w->x, C), norm = fl_f32(w->norm, C);
    fl_act y = fl_f32(w->y, rows), out = fl_f32(w->out, rows);
    w->calls++;
    ops->rmsnorm_fwd(norm, NULL, x, w->norm_weight, T, 1, C, 1e-5f);
    ops->linear_fwd(y, norm, &w->weight, T, (fl_act){0});
    ops->zero(w->out, (size_t)count * sizeof *w->out);
    ops->dropout(out, y, T, rows, 0.25f, w->rng, true);
    if (w->looks) ops->copy_out(&w->seen, w->out, sizeof w->seen);
    ops->copy(w->y, w->out, (size_t)count / 2 * sizeof *w->y);
    ops->add(out, y, T, rows);
    if (w->inner) {
        fl_replay_key key = key_of(1000);
        fl_backend_replay(ops, &key, body, w->inner);
    }
}

/* Runs the body through replay and the same ops one by one; `calls` of the body are expected. */
static void expect(work *w, uint64_t key_number, uint64_t seed, int calls)
{
    int64_t count = T * w->weight.rows;
    fl_replay_key key = key_of(key_number);
    work eager = *w;
    eager.y = check_floats(count);
    eager.out = check_floats(count);
    eager.norm = check_floats((int64_t)T * C);
    eager.inner = NULL;
    fill(w, seed);
    w->calls = 0;
    w->seen = -1;
    fl_backend_replay(w->ops, &key, body, w);
    assert_int_equal(w->calls, w->ops->replay ? calls : 1);
    body(&eager);
    check_same("out", w->out, eager.out, (size_t)count * sizeof *w->out);
    check_same("y", w->y, eager.y, (size_t)count * sizeof *w->y);
    if (w->looks) assert_true(w->seen == eager.seen);
    assert_int_equal(w->ops->status(), FL_OK);
}

static void test_same_bits(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work w = make_work(ops, ROWS), other = make_work(ops, ROWS + 3);
        body(&other);         /* takes the most memory that the ops here keep for themselves */
        expect(&w, 1, 10, 1); /* as it is */
        expect(&w, 1, 11, 1); /* recorded */
        for (uint64_t seed = 12; seed < 15; seed++)
            expect(&w, 1, seed, 0);
        expect(&other, 2, 15, 1); /* another key is another sequence */
        expect(&other, 2, 16, 1);
        expect(&w, 1, 17, 0);
        expect(&other, 2, 18, 0);
        check_release();
    }
}

/* Kept are those that were used last. */
static void test_eviction(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work w = make_work(ops, ROWS);
        fill(&w, 1);
        for (int turn = 0; turn < 2; turn++)
            for (uint64_t i = 0; i < MANY; i++) {
                fl_replay_key key = key_of(2000 + i), kept = key_of(3000);
                fl_backend_replay(ops, &key, body, &w);
                fl_backend_replay(ops, &key, body, &w);
                fl_backend_replay(ops, &kept, body, &w);
            }
        expect(&w, 3000, 20, 0);
        expect(&w, 2000 + MANY - 1, 21, 0);
        expect(&w, 2000, 22, 1);
        expect(&w, 2000, 23, 1);
        expect(&w, 2000, 24, 0);
        check_release();
    }
}

/* Recorded, found out, run again; then never recorded again. */
static void test_forbidden_op(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work w = make_work(ops, ROWS);
        w.looks = true;
        expect(&w, 4000, 30, 1);
        expect(&w, 4000, 31, 2);
        expect(&w, 4000, 32, 1);
        expect(&w, 4000, 33, 1);
        check_release();
    }
}

static void test_release_forgets(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work w = make_work(ops, ROWS);
        void *any = NULL;
        assert_int_equal(ops->alloc(&any, 100), FL_OK);
        expect(&w, 5000, 40, 1);
        expect(&w, 5000, 41, 1);
        expect(&w, 5000, 42, 0);
        ops->release(NULL); /* gives nothing back */
        expect(&w, 5000, 43, 0);
        ops->release(any);
        expect(&w, 5000, 44, 1);
        expect(&w, 5000, 45, 1);
        expect(&w, 5000, 46, 0);
        check_release();
    }
}

/* Weights are widened in memory of the backend: when it moves, what points to it is forgotten, and
 * a recording in which it would have to move is none.  Every turn needs more than all before it. */
static void test_scratch_moves(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    int64_t rows = ROWS + 3;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work small = make_work(ops, ROWS), large = make_work(ops, rows += 8);
        expect(&small, 6000, 50, 1);
        expect(&small, 6000, 51, 1);
        expect(&small, 6000, 52, 0);
        body(&large);
        expect(&small, 6000, 53, 1);
        expect(&small, 6001, 54, 1); /* not the sequence that comes to be recorded: */
        work larger = make_work(ops, rows += 8);
        expect(&larger, 6001, 55, 2);
        check_release();
    }
}

static void test_inside_each_other(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work w = make_work(ops, ROWS), inner = make_work(ops, ROWS);
        w.inner = &inner;
        fill(&inner, 60);
        expect(&w, 7000, 61, 1);
        expect(&w, 7000, 62, 1);
        inner.calls = 0;
        fill(&inner, 63);
        expect(&w, 7000, 64, 0);
        assert_int_equal(inner.calls, ops->replay ? 0 : 1);
        w.inner = NULL;
        expect(&inner, 7001, 63, 1); /* `inner` itself was repeated with its new content */
        check_release();
    }
}

/* Where a replayed body asks for memory it gets none, then the body is run again and gets it. */
static void allocate(void *context)
{
    work *w = context;
    void *data = NULL;
    w->calls++;
    fl_status status = w->ops->alloc(&data, 64);
    w->ops->add(fl_f32(w->x, C), fl_f32(w->x, C), T, C);
    w->ops->release(data);
    if (status != FL_OK) assert_non_null(strstr(fl_error_text(), "in a replayed body"));
}

static void test_memory_in_a_body(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        work w = make_work(ops, ROWS);
        fl_replay_key key = key_of(8000);
        float ones[T * C], got[T * C];
        for (int i = 0; i < T * C; i++)
            ones[i] = 1;
        ops->copy_in(w.x, ones, sizeof ones);
        for (int turn = 0; turn < 3; turn++)
            fl_backend_replay(ops, &key, allocate, &w);
        ops->copy_out(got, w.x, sizeof got);
        for (int i = 0; i < T * C; i++)
            assert_true(got[i] == 8);
        assert_int_equal(ops->status(), FL_OK);
        check_release();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_forbidden_op),     cmocka_unit_test(test_release_forgets),
        cmocka_unit_test(test_scratch_moves),    cmocka_unit_test(test_inside_each_other),
        cmocka_unit_test(test_memory_in_a_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
