/* Memory of devices: one reservation, what lies beyond it, how much there is; and copies from the
 * host of all sizes around those in which they are cut into pieces. */
#include "check.h"
#include "emulation.h"

static void fill_bytes(unsigned char *data, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)((i * 131 + (i >> 8) * 7 + seed) % 251);
}

/* Copies that overwrite their source at once, several in a row: nothing of the later ones may be
 * seen in the earlier. */
static void run_copies(const fl_backend_ops *ops, size_t bytes)
{
    enum { COPIES = 3 };
    unsigned char *host = NULL, *want = NULL, *device[COPIES];
    assert_int_equal(fl_alloc(&host, bytes + 1, 1), FL_OK);
    assert_int_equal(fl_alloc(&want, bytes + 1, 1), FL_OK);
    for (unsigned c = 0; c < COPIES; c++) {
        assert_int_equal(ops->alloc(&device[c], bytes), FL_OK);
        fill_bytes(host, bytes, c);
        ops->copy_in(device[c], host, bytes);
    }
    for (unsigned c = 0; c < COPIES; c++) {
        fill_bytes(want, bytes, c);
        memset(host, 0xee, bytes + 1);
        ops->copy_out(host, device[c], bytes);
        assert_memory_equal(host, want, bytes);
        assert_int_equal(host[bytes], 0xee);
        ops->release(device[c]);
    }
    assert_int_equal(ops->status(), FL_OK);
    fl_free(host);
    fl_free(want);
}

static void test_copies(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        size_t piece = ops->host_bytes ? ops->host_bytes / 2 : 4096;
        const size_t sizes[] = {
            0,        1, 63, piece - 1, piece, piece + 1, 2 * piece, 3 * piece - 1, 3 * piece + 5,
            5 * piece};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            run_copies(ops, sizes[i]);
    }
}

/* ---- one reservation ------------------------------------------------------------------------ */

enum { BLOCKS = 12, BLOCK_BYTES = 1000, BLOCK_TAKES = 1024 };

static size_t free_bytes(const fl_backend_ops *ops)
{
    fl_device_memory memory;
    assert_int_equal(ops->memory(&memory), FL_OK);
    assert_true(memory.free <= memory.total);
    return memory.free;
}

static void take(const fl_backend_ops *ops, void **block, size_t bytes)
{
    unsigned char *host = NULL;
    assert_int_equal(ops->alloc(block, bytes), FL_OK);
    assert_int_equal((uintptr_t)*block % 64, 0);
    assert_int_equal(fl_alloc(&host, bytes, 1), FL_OK);
    memset(host, 1, bytes);
    ops->copy_out(host, *block, bytes);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(host[i], 0); /* zeroed, also where something lay before */
    memset(host, 0xab, bytes);
    ops->copy_in(*block, host, bytes);
    fl_free(host);
}

/* Blocks come and go inside the reservation; nothing of the device is taken. */
static void run_blocks(const fl_backend_ops *ops)
{
    void *blocks[BLOCKS], *large = NULL, *all = NULL;
    size_t left = free_bytes(ops);
    for (int i = 0; i < BLOCKS; i++)
        take(ops, &blocks[i], BLOCK_BYTES);
    for (int i = 0; i < BLOCKS; i++) /* all but the last two, the odd ones first */
        if (i % 2 == 1 && i < BLOCKS - 2) ops->release(blocks[i]);
    for (int i = 0; i < BLOCKS - 2; i += 2)
        ops->release(blocks[i]);
    take(ops, &large, (BLOCKS - 2) * BLOCK_TAKES); /* the neighbours are one stretch again */
    ops->release(large);
    ops->release(blocks[BLOCKS - 1]);
    ops->release(blocks[BLOCKS - 2]);
    take(ops, &all, BLOCKS * BLOCK_TAKES);
    bool is_ours = strcmp(ops->name, "cuda_emu") == 0; /* others may use a device, too */
    assert_true(!is_ours || free_bytes(ops) == left);
    void *beyond = NULL; /* not in the plan, and there all the same */
    take(ops, &beyond, BLOCK_BYTES);
    assert_true(!is_ours || free_bytes(ops) == left - BLOCK_BYTES);
    ops->release(beyond);
    ops->release(all);
    assert_int_equal(ops->status(), FL_OK);
}

static void test_reservation(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        assert_int_equal(ops->reserve == NULL, ops->host_memory);
        assert_int_equal(ops->memory == NULL, ops->host_memory);
        if (!ops->reserve) continue;
        fl_scratch_need need = {
            .product = 1000, .matrix = 5000, .longest_row = 10, .stored = FL_BF16, .squares = 100};
        assert_true(ops->scratch_bytes(&need) >= 5000 * sizeof(float));
        assert_int_equal(ops->reserve(BLOCKS * BLOCK_TAKES, &need), FL_OK);
        run_blocks(ops);
        void *block = NULL; /* not while it is in use */
        assert_int_equal(ops->alloc(&block, 1), FL_OK);
        assert_int_equal(ops->reserve(1, &need), FL_ERR_INTERNAL);
        assert_non_null(strstr(fl_error_text(), "reserved memory is in use"));
        ops->release(block);
        assert_int_equal(ops->reserve(0, &(fl_scratch_need){0}), FL_OK);
    }
}

/* ---- a device that is full ------------------------------------------------------------------ */

static void test_full_device(void **state)
{
    (void)state;
    const fl_backend_ops *ops = fl_backend_find("cuda_emu");
    if (!ops) skip();
    assert_int_equal(ops->open(0), FL_OK);
    fl_scratch_need none = {0};
    void *a = NULL, *b = NULL;
    fl_device_memory memory;
    assert_int_equal(ops->memory(&memory), FL_OK);
    size_t used = memory.total - memory.free;
    check_emulation_memory(used + 10000);
    assert_int_equal(free_bytes(ops), 10000);
    assert_int_equal(ops->alloc(&a, 6000), FL_OK);
    assert_int_equal(free_bytes(ops), 4000);
    assert_int_equal(ops->alloc(&b, 6000), FL_ERR_MEMORY);
    assert_string_equal(fl_error_text(),
                        "cuda_emu backend: 6000 bytes of device memory: out of memory");
    assert_int_equal(ops->reserve(6000, &none), FL_ERR_MEMORY);
    ops->release(a);
    assert_int_equal(ops->status(), FL_OK); /* no failure of the backend */
    assert_int_equal(ops->reserve(6000, &none), FL_OK);
    assert_int_equal(ops->alloc(&a, 6000), FL_OK);
    assert_int_equal(ops->alloc(&b, 6000), FL_ERR_MEMORY); /* neither inside nor beyond */
    /* scratch that does not fit is a failure of the op that asks for it, and that stays: the last
     * test */
    check_emulation_memory(used);
    assert_true(ops->sum_squares(a, 16) == 0);
    assert_int_equal(ops->status(), FL_ERR_MEMORY);
    assert_string_equal(fl_error_text(), "cuda_emu backend: scratch memory: out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_reservation),
        cmocka_unit_test(test_full_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
