#include "base/file.h"
#include "io/safetensors.h"
#include "io/weights.h"
#include "unit/io/io_test.h"

#include <sys/stat.h>

static const float values[6] = {1, 2, 3, 4, 5, 6};

static void write_tensors(const char *path, const char *first, const char *second)
{
    const fl_tensor tensors[] = {{first, FL_F32, 2, {2, 3}, values},
                                 {second, FL_I64, 1, {2}, values}};
    assert_ok(fl_safetensors_write(path, tensors, 2));
}

/* DIR with two shards and this index. */
static void write_sharded(const char *dir, const char *index)
{
    fl_buf path = {0};
    assert_ok(fl_make_dirs(dir));
    assert_ok(fl_path_join(&path, dir, "model-1.safetensors"));
    write_tensors(path.data, "a", "both");
    assert_ok(fl_path_join(&path, dir, "model-2.safetensors"));
    write_tensors(path.data, "b", "both");
    assert_ok(fl_path_join(&path, dir, "model.safetensors.index.json"));
    write_text(path.data, index);
    fl_buf_fini(&path);
}

static void opens_one_file(void **state)
{
    (void)state;
    const char *dir = temp_path("one");
    assert_ok(fl_make_dirs(dir));
    write_tensors(temp_path("one/model.safetensors"), "w", "ids");
    fl_weights *weights;
    assert_ok(fl_weights_open(&weights, dir));
    assert_int_equal(fl_weights_count(weights), 2);
    assert_true(fl_weights_has(weights, "w"));
    assert_false(fl_weights_has(weights, "v"));
    const fl_tensor *w;
    const int64_t dim[] = {2, 3}, turned[] = {3, 2};
    assert_ok(fl_weights_get(weights, "w", 2, dim, &w));
    assert_memory_equal(w->data, values, sizeof values);
    assert_error(fl_weights_get(weights, "w", 2, turned, &w), FL_ERR_INPUT,
                 "one/model.safetensors: tensor w has shape [2, 3], expected [3, 2]");
    assert_error(fl_weights_get(weights, "w", 1, dim, &w), FL_ERR_INPUT, "expected [2]");
    assert_error(fl_weights_get(weights, "v", 2, dim, &w), FL_ERR_INPUT, "there is no tensor v");
    assert_error(fl_weights_get(weights, "ids", 1, dim, &w), FL_ERR_UNSUPPORTED, "dtype I64");
    fl_weights_close(weights);
    fl_weights_close(NULL);
}

static void opens_shards(void **state)
{
    (void)state;
    write_sharded(temp_path("shards"),
                  "{\"metadata\":{\"total_size\":80},\"weight_map\":{\"b\":\"model-2.safetensors\","
                  "\"a\":\"model-1.safetensors\",\"both\":\"model-2.safetensors\"}}");
    fl_weights *weights;
    assert_ok(fl_weights_open(&weights, temp_path("shards")));
    assert_int_equal(fl_weights_count(weights), 3);
    const fl_tensor *a, *b;
    const int64_t dim[] = {2, 3};
    assert_ok(fl_weights_get(weights, "a", 2, dim, &a));
    assert_ok(fl_weights_get(weights, "b", 2, dim, &b));
    assert_true(a->data != b->data);
    assert_error(fl_weights_get(weights, "both", 2, dim, &a), FL_ERR_INPUT,
                 "shards/model-2.safetensors: tensor both");
    fl_weights_close(weights);
}

static const struct {
    const char *index;
    fl_status status;
    const char *words;
} broken[] = {
    {"{}", FL_ERR_INPUT, "weight_map is missing"},
    {"[]", FL_ERR_INPUT, "weight_map"},
    {"{\"weight_map\":{\"a\":\"model-1.safetensors\"", FL_ERR_INPUT, "invalid JSON"},
    {"{\"weight_map\":[1]}", FL_ERR_INPUT, "weight_map must be an object"},
    {"{\"weight_map\":{\"a\":1}}", FL_ERR_INPUT, "the file of tensor a is not a string"},
    {"{\"weight_map\":{\"a\":\"\"}}", FL_ERR_INPUT, "not a plain file name"},
    {"{\"weight_map\":{\"a\":\"..\"}}", FL_ERR_INPUT, "not a plain file name"},
    {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", FL_ERR_INPUT, "not a plain file name"},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", FL_ERR_INPUT, "not a plain file name"},
    {"{\"weight_map\":{\"a\":\"sub/model-1.safetensors\"}}", FL_ERR_INPUT, "not a plain file name"},
    {"{\"weight_map\":{\"a\":\"model-3.safetensors\"}}", FL_ERR_IO, "tensor a: cannot open"},
    {"{\"weight_map\":{\"c\":\"model-1.safetensors\"}}", FL_ERR_INPUT, "tensor c is listed in"},
    {"{\"weight_map\":{\"b\":\"model-1.safetensors\"}}", FL_ERR_INPUT, "not in that file"},
};

static void refuses_broken_indexes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *dir = temp_path("index");
        write_sharded(dir, broken[i].index);
        fl_weights *weights;
        assert_error(fl_weights_open(&weights, dir), broken[i].status, broken[i].words);
        assert_error(fl_weights_open(&weights, dir), broken[i].status,
                     "model.safetensors.index.json");
    }
}

static void says_what_is_missing(void **state)
{
    (void)state;
    fl_weights *weights;
    assert_error(fl_weights_open(&weights, temp_path("absent")), FL_ERR_IO, "no such model folder");
    assert_ok(fl_make_dirs(temp_path("bare")));
    assert_error(fl_weights_open(&weights, temp_path("bare")), FL_ERR_IO,
                 "bare: neither model.safetensors nor");
    write_text(temp_path("bare/pytorch_model.bin"), "x");
    assert_error(fl_weights_open(&weights, temp_path("bare")), FL_ERR_UNSUPPORTED,
                 "safetensors is needed");
}

static void opens_published_models(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t vocab, hidden;
    } models[] = {{"llama-2m-fresh", 1024, 64}, {"stories260K-hf", 512, 64}};
    for (size_t i = 0; i < 2; i++) {
        fl_buf dir = {0};
        assert_ok(fl_buf_addf(&dir, "%s/models/%s", FL_TEST_SHARED_DATA, models[i].name));
        if (!fl_path_is_dir(dir.data)) {
            fl_buf_fini(&dir);
            skip();
        }
        fl_weights *weights;
        assert_ok(fl_weights_open(&weights, dir.data));
        const fl_tensor *embedding;
        const int64_t dim[] = {models[i].vocab, models[i].hidden};
        assert_ok(fl_weights_get(weights, "model.embed_tokens.weight", 2, dim, &embedding));
        fl_weights_close(weights);
        fl_buf_fini(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_one_file),         cmocka_unit_test(opens_shards),
        cmocka_unit_test(refuses_broken_indexes), cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(opens_published_models),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
