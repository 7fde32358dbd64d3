/* Memory, arenas and buffers: sizes that overflow, alignment, what is zeroed and what is kept. */
#include "base/buf.h"
#include "base/mem.h"
#include "support.h"

static bool is_aligned(const void *pointer)
{
    return (uintptr_t)pointer % 64 == 0;
}

static bool is_zero(const void *data, size_t length)
{
    const char *bytes = data;
    for (size_t i = 0; i < length; i++)
        if (bytes[i]) return false;
    return true;
}

static void test_mul_size(void **state)
{
    (void)state;
    size_t out = 1;
    assert_true(fl_mul_size(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_true(fl_mul_size(SIZE_MAX, 0, &out));
    assert_true(fl_mul_size(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(fl_mul_size(SIZE_MAX / 3, 3, &out));
    assert_false(fl_mul_size(SIZE_MAX / 3 + 1, 3, &out));
    assert_false(fl_mul_size((size_t)1 << 32, (size_t)1 << 32, &out));
}

static void test_alloc(void **state)
{
    (void)state;
    uint64_t before = fl_alloc_count();
    double *numbers;
    EXPECT_OK(fl_alloc(&numbers, 1000, sizeof *numbers));
    assert_true(is_aligned(numbers));
    assert_true(is_zero(numbers, 1000 * sizeof *numbers));
    assert_int_equal(fl_alloc_count(), before + 1);
    fl_free(numbers);

    char *nothing = NULL;
    EXPECT_OK(fl_alloc(&nothing, 0, 8));
    assert_non_null(nothing);
    fl_free(nothing);
    fl_free(NULL);
}

static void test_alloc_refuses_overflow(void **state)
{
    (void)state;
    char *pointer = NULL;
    EXPECT_FAIL(fl_alloc(&pointer, SIZE_MAX, 2), FL_ERR_MEMORY, "elements of 2 bytes");
    EXPECT_FAIL(fl_alloc(&pointer, SIZE_MAX, 1), FL_ERR_MEMORY, "cannot allocate");
    EXPECT_FAIL(fl_alloc(&pointer, SIZE_MAX / 2 + 1, 1), FL_ERR_MEMORY, "cannot allocate");
    assert_null(pointer);
}

static void test_grow(void **state)
{
    (void)state;
    int *items = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        EXPECT_OK(fl_grow(&items, &capacity, (size_t)i + 1, sizeof *items));
        items[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    assert_true(is_aligned(items));
    assert_in_range(capacity, 1000, 2000);

    int *same = items;
    EXPECT_OK(fl_grow(&items, &capacity, 3, sizeof *items));
    assert_ptr_equal(items, same);
    size_t old_capacity = capacity;
    EXPECT_FAIL(fl_grow(&items, &capacity, SIZE_MAX / 2, sizeof *items), FL_ERR_MEMORY, "allocate");
    assert_ptr_equal(items, same); /* still ours, still usable */
    assert_int_equal(capacity, old_capacity);
    assert_int_equal(items[999], 999);
    fl_free(items);
}

static void test_arena(void **state)
{
    (void)state;
    fl_arena *arena;
    EXPECT_OK(fl_arena_create(&arena));
    static char *pieces[500];
    for (size_t i = 0; i < 500; i++) { /* crosses blocks, of 1 to 2 KiB each */
        EXPECT_OK(fl_arena_alloc(arena, &pieces[i], 1000 + i, 2));
        assert_true(is_aligned(pieces[i]));
        assert_true(is_zero(pieces[i], (1000 + i) * 2));
        memset(pieces[i], (int)(i % 255 + 1), (1000 + i) * 2);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k < (1000 + i) * 2; k++)
            assert_int_equal((unsigned char)pieces[i][k], i % 255 + 1);

    char *large; /* more than a block */
    EXPECT_OK(fl_arena_alloc(arena, &large, 1 << 20, 1));
    assert_true(is_zero(large, 1 << 20));
    char *text;
    EXPECT_OK(fl_arena_text(arena, &text, "adapter_model", 7));
    assert_string_equal(text, "adapter");
    EXPECT_OK(fl_arena_text(arena, &text, "", 0));
    assert_string_equal(text, "");
    EXPECT_FAIL(fl_arena_alloc(arena, &large, SIZE_MAX / 4, 8), FL_ERR_MEMORY, "allocate");
    EXPECT_FAIL(fl_arena_text(arena, &text, "x", SIZE_MAX), FL_ERR_MEMORY, "");
    fl_arena_destroy(arena);
    fl_arena_destroy(NULL);
}

static void test_buf(void **state)
{
    (void)state;
    fl_buf buf = {0};
    assert_string_equal(fl_buf_text(&buf), "");
    EXPECT_OK(fl_buf_add(&buf, NULL, 0));
    assert_string_equal(fl_buf_text(&buf), "");
    EXPECT_OK(fl_buf_add_text(&buf, "round "));
    EXPECT_OK(fl_buf_addf(&buf, "%d of %s", 3, "100"));
    assert_string_equal(fl_buf_text(&buf), "round 3 of 100");
    assert_int_equal(buf.length, 14);
    EXPECT_OK(fl_buf_add(&buf, "a\0b", 3));
    assert_int_equal(buf.length, 17);
    assert_memory_equal(buf.data + 14, "a\0b", 4);
    fl_buf_clear(&buf);
    assert_string_equal(fl_buf_text(&buf), "");
    for (int i = 0; i < 10000; i++)
        EXPECT_OK(fl_buf_addf(&buf, "%04d", i));
    assert_int_equal(buf.length, 40000);
    assert_memory_equal(buf.data + 4 * 1234, "1234", 4);
    assert_int_equal(buf.data[40000], 0);
    EXPECT_FAIL(fl_buf_add(&buf, "x", SIZE_MAX - 1), FL_ERR_MEMORY, "too long");
    assert_int_equal(buf.length, 40000);
    fl_buf_fini(&buf);
    assert_null(buf.data);
    fl_buf_fini(&buf);
}

static fl_status fails_with(fl_status status)
{
    FL_CHECK(status == FL_OK, status, "%s", "the reason");
    return FL_OK;
}

static fl_status passes_on(fl_status inner, int *cleaned)
{
    fl_status status;
    FL_TRY_GOTO(fails_with(inner), out);
    FL_CHECK_GOTO(inner == FL_OK && *cleaned == 0, out, FL_ERR_LIMIT, "own reason");
out:
    (*cleaned)++;
    return status;
}

static void test_status(void **state)
{
    (void)state;
    int cleaned = 0;
    EXPECT_OK(passes_on(FL_OK, &cleaned));
    EXPECT_FAIL(passes_on(FL_OK, &cleaned), FL_ERR_LIMIT, "own reason");
    EXPECT_FAIL(passes_on(FL_ERR_COMM, &cleaned), FL_ERR_COMM, "the reason");
    assert_int_equal(cleaned, 3);
    EXPECT_FAIL(fl_fail_context(FL_ERR_COMM, "client %d", 7), FL_ERR_COMM, "client 7: the reason");
    EXPECT_FAIL(fl_fail(FL_ERR_IO, "%s", fl_error_text()), FL_ERR_IO, "client 7: the reason");
    fl_fail(FL_ERR_INPUT, "a\033[2Jb\nc");
    assert_string_equal(fl_error_text(), "a?[2Jb?c");
    assert_int_equal(fl_status_exit_code(FL_OK), 0);
    assert_int_equal(fl_status_exit_code(FL_ERR_INPUT), 2);
    assert_int_equal(fl_status_exit_code(FL_ERR_LIMIT), 3);
    assert_string_equal(fl_status_word(FL_ERR_NUMERIC), "numeric");
}

static void test_trim(void **state)
{
    (void)state;
    static const struct {
        const char *text, *trimmed;
    } cases[] = {{"", ""}, {" \n\t ", ""}, {"a", "a"}, {"  a b\n", "a b"}, {"a ", "a"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length = strlen(cases[i].text);
        const char *text = fl_trim(cases[i].text, &length);
        assert_int_equal(length, strlen(cases[i].trimmed));
        assert_memory_equal(text, cases[i].trimmed, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mul_size),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_alloc_refuses_overflow),
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
