#include "base/file.h"
#include "io/safetensors.h"
#include "unit/io/io_test.h"

#include <math.h>
#include <string.h>

enum { MAX_FILE = 4096 };

/* What save_file(tensors, path, metadata={"format": "pt"}) of safetensors 0.8.0 writes. */
static const char python_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
    "\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[32,32]},"
    "\"layers.10.x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[32,36]},"
    "\"layers.2.x\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[36,44]},"
    "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[44,48]}}    ";
static const float python_data[] = {1.5f, -2, 0, 1, 2, 3, 4, 5, 0, 1, 1, 3};

static const char mixed_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"l\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
    "\"z\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]},"
    "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]},"
    "\"q\\\"\\\\\xc3\xa9\\n\x7f/\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]},"
    "\"i\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[24,28]},"
    "\"bf\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[28,32]},"
    "\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[32,36]},"
    "\"i8\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[36,37]},"
    "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[37,38]}} ";

/* bytes[...] = the file; returns its length. */
static size_t make_file(unsigned char *bytes, const char *header, size_t header_length,
                        const void *data, size_t data_length)
{
    const uint64_t length = header_length;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, header_length);
    if (data_length) memcpy(bytes + 8 + header_length, data, data_length);
    return 8 + header_length + data_length;
}

static size_t make_python_file(unsigned char *bytes)
{
    return make_file(bytes, python_header, strlen(python_header), python_data, sizeof python_data);
}

static void assert_file_equals(const char *path, const unsigned char *bytes, size_t length)
{
    fl_buf written = {0};
    read_whole(&written, path);
    assert_int_equal(written.length, length);
    assert_memory_equal(written.data, bytes, length);
    fl_buf_fini(&written);
}

static void writes_what_python_writes(void **state)
{
    (void)state;
    const float *d = python_data;
    const fl_tensor tensors[] = {
        {.name = "b", .ndim = 2, .dim = {2, 3}, .data = d + 2},
        {.name = "a", .ndim = 1, .dim = {2}, .data = d},
        {.name = "layers.10.x", .ndim = 1, .dim = {1}, .data = d + 8},
        {.name = "layers.2.x", .ndim = 2, .dim = {2, 1}, .data = d + 9},
        {.name = "e", .ndim = 2, .dim = {0, 3}},
        {.name = "scalar", .ndim = 0, .data = d + 11},
    };
    unsigned char bytes[MAX_FILE];
    size_t length = make_python_file(bytes);
    assert_ok(fl_safetensors_write(temp_path("py"), tensors, 6));
    assert_file_equals(temp_path("py"), bytes, length);
    assert_ok(fl_safetensors_write(temp_path("none"), NULL, 0));
    length = make_file(bytes, "{\"__metadata__\":{\"format\":\"pt\"}}", 32, NULL, 0);
    assert_file_equals(temp_path("none"), bytes, length);
}

static void writes_mixed_types_as_python(void **state)
{
    (void)state;
    static const double zeros[2];
    const fl_tensor tensors[] = {
        {"z", FL_F64, 1, {1}, zeros},
        {"h", FL_F16, 1, {2}, zeros},
        {"bf", FL_BF16, 1, {2}, zeros},
        {"i", FL_I32, 1, {1}, zeros},
        {"u", FL_U8, 1, {1}, zeros},
        {"l", FL_I64, 1, {1}, zeros},
        {"f", FL_F32, 1, {1}, zeros},
        {"i8", FL_I8, 1, {1}, zeros},
        {"q\"\\\xc3\xa9\n\x7f/", FL_F32, 1, {1}, zeros},
    };
    unsigned char bytes[MAX_FILE], data[38] = {0};
    size_t length = make_file(bytes, mixed_header, strlen(mixed_header), data, sizeof data);
    assert_ok(fl_safetensors_write(temp_path("mixed"), tensors, 9));
    assert_file_equals(temp_path("mixed"), bytes, length);
    fl_safetensors *file;
    assert_ok(fl_safetensors_open(&file, temp_path("mixed")));
    assert_int_equal(fl_safetensors_count(file), 9);
    for (size_t i = 0; i < 9; i++) {
        const fl_tensor *found = fl_safetensors_find(file, tensors[i].name);
        assert_non_null(found);
        assert_int_equal(found->dtype, tensors[i].dtype);
    }
    fl_safetensors_close(file);
}

static void refuses_to_write_nonsense(void **state)
{
    (void)state;
    static const float zero;
    fl_tensor tensors[] = {{"a", FL_F32, 0, {0}, &zero}, {"a", FL_F32, 0, {0}, &zero}};
    const char *path = temp_path("twice");
    assert_error(fl_safetensors_write(path, tensors, 2), FL_ERR_INTERNAL,
                 "tensor a is given twice");
    tensors[1].name = "\xff";
    assert_error(fl_safetensors_write(path, tensors, 2), FL_ERR_INTERNAL, "cannot be written");
    assert_false(fl_path_exists(path));
    assert_error(fl_safetensors_write(temp_path("no/folder"), tensors, 1), FL_ERR_IO, "no/folder");
}

static void reads_back(void **state)
{
    (void)state;
    unsigned char bytes[MAX_FILE];
    write_file(temp_path("back"), bytes, make_python_file(bytes));
    fl_safetensors *file;
    assert_ok(fl_safetensors_open(&file, temp_path("back")));
    static const char *const names[] = {"a", "b", "e", "layers.10.x", "layers.2.x", "scalar"};
    assert_int_equal(fl_safetensors_count(file), 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(fl_safetensors_at(file, i)->name, names[i]);
    const fl_tensor *b = fl_safetensors_find(file, "b");
    assert_int_equal(b->ndim, 2);
    assert_int_equal(b->dim[1], 3);
    assert_memory_equal(b->data, python_data + 2, 24);
    assert_int_equal(fl_safetensors_find(file, "scalar")->ndim, 0);
    assert_null(fl_safetensors_find(file, "c"));
    assert_null(fl_safetensors_find(file, "__metadata__"));
    fl_safetensors_close(file);
    fl_safetensors_close(NULL);
}

#define F32(name, shape, offsets) \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* Headers for 16 bytes of data, all of them wrong. */
static const struct {
    const char *header;
    fl_status status;
    const char *words;
} broken[] = {
    {"", FL_ERR_INPUT, "does not begin with '{'"},
    {"[]      ", FL_ERR_INPUT, "does not begin with '{'"},
    {" {}     ", FL_ERR_INPUT, "does not begin with '{'"},
    {"{", FL_ERR_INPUT, "not valid JSON"},
    {"{} x", FL_ERR_INPUT, "not valid JSON"},
    {"{\"a\":\"\xff\"}", FL_ERR_INPUT, "not valid JSON"},
    {"{\"a\\u0000b\":1}", FL_ERR_INPUT, "not valid JSON"},
    {"{\"a\":1,\"a\":1}", FL_ERR_INPUT, "duplicate"},
    {"{" F32("a", "[4]", "[0,16]") "," F32("a", "[4]", "[0,16]") "}", FL_ERR_INPUT, "duplicate"},
    {"{}", FL_ERR_INPUT, "16 bytes behind the last tensor"},
    {"{\"a\":1}", FL_ERR_INPUT, "tensor a: is not described by an object"},
    {"{\"__metadata__\":3," F32("a", "[4]", "[0,16]") "}", FL_ERR_INPUT, "not an object"},
    {"{\"__metadata__\":{\"k\":1}," F32("a", "[4]", "[0,16]") "}", FL_ERR_INPUT,
     "__metadata__.k is not a string"},
    {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", FL_ERR_INPUT, "dtype is missing"},
    {"{\"a\":{\"dtype\":7,\"shape\":[4],\"data_offsets\":[0,16]}}", FL_ERR_INPUT, "dtype is"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[16],\"data_offsets\":[0,16]}}", FL_ERR_UNSUPPORTED,
     "tensor a: dtype F8_E4M3 is not supported"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[4],\"data_offsets\":[0,16]}}", FL_ERR_UNSUPPORTED,
     "dtype f32"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", FL_ERR_INPUT, "shape is missing"},
    {"{" F32("a", "4", "[0,16]") "}", FL_ERR_INPUT, "shape is missing or not an array"},
    {"{" F32("a", "[-4]", "[0,16]") "}", FL_ERR_INPUT, "shape[0] is not a non-negative integer"},
    {"{" F32("a", "[4.0]", "[0,16]") "}", FL_ERR_INPUT, "shape[0] is not a non-negative integer"},
    {"{" F32("a", "[2,\"2\"]", "[0,16]") "}", FL_ERR_INPUT, "shape[1] is not"},
    {"{" F32("a", "[1,1,1,1,4]", "[0,16]") "}", FL_ERR_UNSUPPORTED, "5 dimensions, at most 4"},
    {"{" F32("a", "[4294967296,4294967296]", "[0,16]") "}", FL_ERR_INPUT, "overflows"},
    {"{" F32("a", "[4611686018427387904]", "[0,0]") "," F32("b", "[4]", "[0,16]") "}", FL_ERR_INPUT,
     "overflows"},
    {"{" F32("a", "[99999999999999999999]", "[0,16]") "}", FL_ERR_INPUT, "too big integer"},
    {"{" F32("a", "[5]", "[0,16]") "}", FL_ERR_INPUT, "span 16 bytes, dtype and shape need 20"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", FL_ERR_INPUT, "data_offsets is missing"},
    {"{" F32("a", "[4]", "[0]") "}", FL_ERR_INPUT, "not an array of two"},
    {"{" F32("a", "[4]", "[0,16,16]") "}", FL_ERR_INPUT, "not an array of two"},
    {"{" F32("a", "[4]", "[-16,0]") "}", FL_ERR_INPUT, "data_offsets are not non-negative"},
    {"{" F32("a", "[4]", "[0.0,16.0]") "}", FL_ERR_INPUT, "data_offsets are not non-negative"},
    {"{" F32("a", "[4]", "[16,0]") "}", FL_ERR_INPUT, "data_offsets [16, 0] are reversed"},
    {"{" F32("a", "[8]", "[0,32]") "}", FL_ERR_INPUT, "outside the 16 bytes of data"},
    {"{" F32("a", "[4]", "[9223372036854775792,9223372036854775807]") "}", FL_ERR_INPUT, "outside"},
    {"{" F32("a", "[4]", "[0,16]") "," F32("b", "[2]", "[8,16]") "}", FL_ERR_INPUT,
     "tensor b: its data overlaps that of a"},
    {"{" F32("a", "[4]", "[0,16]") "," F32("b", "[4]", "[0,16]") "}", FL_ERR_INPUT, "overlaps"},
    {"{" F32("a", "[1]", "[0,4]") "," F32("b", "[2]", "[8,16]") "}", FL_ERR_INPUT,
     "tensor b: a hole of 4 bytes before its data"},
    {"{" F32("a", "[2]", "[8,16]") "}", FL_ERR_INPUT, "tensor a: a hole of 8 bytes"},
    {"{" F32("a", "[2]", "[0,8]") "}", FL_ERR_INPUT, "8 bytes behind the last tensor"},
    {"{" F32("a", "[4]", "[0,16]") "," F32("b", "[0]", "[8,8]") "}", FL_ERR_INPUT, "overlaps"},
    {"{" F32("\\n\\u001b[31m", "[5]", "[0,16]") "}", FL_ERR_INPUT, "tensor ??[31m: data_offsets"},
};

static void refuses_broken_headers(void **state)
{
    (void)state;
    static const unsigned char data[16];
    unsigned char bytes[MAX_FILE];
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        /* padded, so that only the intended thing is wrong */
        char header[1024];
        size_t length = strlen(broken[i].header);
        memcpy(header, broken[i].header, length);
        while (length % 8)
            header[length++] = ' ';
        const char *path = temp_path("broken.safetensors");
        write_file(path, bytes, make_file(bytes, header, length, data, sizeof data));
        fl_safetensors *file;
        assert_error(fl_safetensors_open(&file, path), broken[i].status, broken[i].words);
        assert_error(fl_safetensors_open(&file, path), broken[i].status, path);
    }
}

static void refuses_misaligned_data(void **state)
{
    (void)state;
    static const char header[] = "{" F32("a", "[1]", "[0,4]") "}";
    unsigned char bytes[MAX_FILE];
    const char *path = temp_path("misaligned");
    write_file(path, bytes, make_file(bytes, header, strlen(header), python_data, 4));
    fl_safetensors *file;
    assert_true(strlen(header) % 4 != 0);
    assert_error(fl_safetensors_open(&file, path), FL_ERR_UNSUPPORTED,
                 "tensor a: data is not aligned");
}

static void refuses_other_files(void **state)
{
    (void)state;
    fl_safetensors *file;
    assert_error(fl_safetensors_open(&file, temp_path("absent")), FL_ERR_IO, "absent");
    assert_error(fl_safetensors_open(&file, temp_path("")), FL_ERR_IO, "");
    write_text(temp_path("empty"), "");
    assert_error(fl_safetensors_open(&file, temp_path("empty")), FL_ERR_INPUT,
                 "0 bytes are too short");
    write_text(temp_path("text"), "version https://git-lfs.github.com/spec/v1\noid sha256:00");
    assert_error(fl_safetensors_open(&file, temp_path("text")), FL_ERR_INPUT, "over the limit");
    write_file(temp_path("long"), "\x00\x01\0\0\0\0\0\0{}", 10);
    assert_error(fl_safetensors_open(&file, temp_path("long")), FL_ERR_INPUT, "truncated");
    write_file(temp_path("nul"), "\x08\0\0\0\0\0\0\0{}\0\0\0\0\0\0", 16);
    assert_error(fl_safetensors_open(&file, temp_path("nul")), FL_ERR_INPUT, "not valid JSON");
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    unsigned char bytes[MAX_FILE];
    char header[3000] = "{\"a\":";
    memset(header + 5, '[', sizeof header - 5);
    write_file(temp_path("deep"), bytes, make_file(bytes, header, sizeof header, NULL, 0));
    fl_safetensors *file;
    assert_error(fl_safetensors_open(&file, temp_path("deep")), FL_ERR_INPUT, "depth");
}

/* Touches every byte an open file hands out, so that the sanitizers see a view that leaves it. */
static unsigned read_everything(const fl_safetensors *file)
{
    unsigned sum = 0;
    for (size_t i = 0; i < fl_safetensors_count(file); i++) {
        const fl_tensor *tensor = fl_safetensors_at(file, i);
        const unsigned char *data = tensor->data;
        size_t bytes = (size_t)fl_tensor_count(tensor) * fl_dtype_size(tensor->dtype);
        for (size_t k = 0; k < bytes; k++)
            sum += data[k];
    }
    return sum;
}

static void survives_any_changed_byte(void **state)
{
    (void)state;
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x10};
    unsigned char bytes[MAX_FILE];
    size_t opened = 0;
    const char *path = temp_path("changed");
    write_file(path, bytes, make_python_file(bytes));
    for (size_t i = 0; i < 8 + strlen(python_header); i++)
        for (size_t c = 0; c < sizeof changes; c++) {
            flip_byte(path, i, changes[c]);
            fl_safetensors *file;
            fl_status status = fl_safetensors_open(&file, path);
            if (status == FL_OK) {
                read_everything(file);
                fl_safetensors_close(file);
                opened++; /* a letter of a name, for example */
            } else {
                assert_true(status == FL_ERR_INPUT || status == FL_ERR_UNSUPPORTED);
            }
            flip_byte(path, i, changes[c]);
        }
    assert_true(opened > 0);
}

static void refuses_any_truncation(void **state)
{
    (void)state;
    unsigned char bytes[MAX_FILE];
    size_t length = make_python_file(bytes);
    const char *path = temp_path("cut");
    fl_safetensors *file;
    for (size_t cut = 0; cut < length; cut++) {
        write_file(path, bytes, cut);
        assert_error(fl_safetensors_open(&file, path), FL_ERR_INPUT, path);
    }
    bytes[length] = 0;
    write_file(path, bytes, length + 1);
    assert_error(fl_safetensors_open(&file, path), FL_ERR_INPUT, "1 bytes behind the last tensor");
}

static void opens_published_models(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-2m-fresh", "stories260K-hf"};
    for (size_t i = 0; i < 2; i++) {
        fl_buf path = {0};
        assert_ok(
            fl_buf_addf(&path, "%s/models/%s/model.safetensors", FL_TEST_SHARED_DATA, models[i]));
        if (!fl_path_exists(path.data)) {
            fl_buf_fini(&path);
            skip();
        }
        fl_safetensors *file;
        assert_ok(fl_safetensors_open(&file, path.data));
        const fl_tensor *norm = fl_safetensors_find(file, "model.norm.weight");
        assert_non_null(norm);
        assert_int_equal(norm->ndim, 1);
        read_everything(file);
        fl_safetensors_close(file);
        fl_buf_fini(&path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_python_writes), cmocka_unit_test(writes_mixed_types_as_python),
        cmocka_unit_test(refuses_to_write_nonsense), cmocka_unit_test(reads_back),
        cmocka_unit_test(refuses_broken_headers),    cmocka_unit_test(refuses_misaligned_data),
        cmocka_unit_test(refuses_other_files),       cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(survives_any_changed_byte), cmocka_unit_test(refuses_any_truncation),
        cmocka_unit_test(opens_published_models),
    };
    return cmocka_run_group_tests(tests, enter_temp_dir, leave_temp_dir);
}
