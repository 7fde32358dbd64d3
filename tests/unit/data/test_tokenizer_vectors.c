/* Published tokenizers with published ids; skipped where the shared test data are not there. */
#include "data_test.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

static fl_tokenizer *open_shared(const char *name)
{
    const char *path = shared_file(name);
    if (!path) skip();
    fl_tokenizer *tokenizer = NULL;
    OK(fl_tokenizer_open(&tokenizer, path));
    return tokenizer;
}

static void expect_back(const fl_tokenizer *tokenizer, const int32_t *ids, size_t count,
                        const char *text, size_t length)
{
    fl_buf out = {0};
    OK(fl_tokenizer_decode(tokenizer, ids, count, false, &out));
    assert_int_equal(out.length, length);
    assert_memory_equal(fl_buf_text(&out), text, length);
    fl_buf_fini(&out);
}

/* Ids without bos and the text again. */
static void check_vector(const fl_tokenizer *tokenizer, const char *text, size_t length,
                         const char *numbers, bool comes_back)
{
    int32_t ids[512];
    size_t count = 0;
    char *end;
    for (long id = strtol(numbers, &end, 10); end != numbers && *numbers != '\n';
         id = strtol(numbers, &end, 10)) {
        ids[count++] = (int32_t)id;
        for (numbers = end; *numbers == ' '; numbers++)
            continue;
        if (*numbers == '\n') break;
    }
    ids[count] = -1;
    expect_ids(tokenizer, text, length, false, ids);
    if (comes_back) expect_back(tokenizer, ids, count, text, length);
}

/* llama.cpp's 47 texts with the ids of the tokenizer's own library. */
static void check_vectors(const fl_tokenizer *tokenizer, const char *name, bool comes_back)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char file[128];
    fl_buf texts = {0}, ids = {0};
    snprintf(file, sizeof file, "tokenizers/gguf/ggml-vocab-%s.gguf.inp", name);
    OK(fl_file_read(&texts, shared_file(file), 0));
    snprintf(file, sizeof file, "tokenizers/gguf/ggml-vocab-%s.gguf.out", name);
    OK(fl_file_read(&ids, shared_file(file), 0));
    size_t count = 0;
    const char *text = texts.data, *line = ids.data;
    for (bool last = false; !last; count++) {
        const char *end = strstr(text, separator);
        last = !end;
        if (last) end = texts.data + texts.length;
        check_vector(tokenizer, text, (size_t)(end - text), line, comes_back);
        text = end + (last ? 0 : strlen(separator));
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "";
    }
    assert_int_equal(count, 47);
    fl_buf_fini(&texts);
    fl_buf_fini(&ids);
}

static void test_llama2(void **state)
{
    (void)state;
    static const char *const names[] = {"tokenizers/llama2", "tokenizers/llama2/tokenizer.json",
                                        "tokenizers/llama2/tokenizer.model"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        fl_tokenizer *tokenizer = open_shared(names[i]);
        check_vectors(tokenizer, "llama-spm", true);
        assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 32000);
        assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_PAD), 0);
        EXPECT_IDS(tokenizer, "Hello</s>", 1, 15043, 2);
        fl_tokenizer_close(tokenizer);
    }
}

static void test_llama3(void **state)
{
    (void)state;
    fl_tokenizer *tokenizer = open_shared("tokenizers/llama3");
    check_vectors(tokenizer, "llama-bpe", true);
    assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 128256);
    assert_string_equal(fl_tokenizer_token(tokenizer, 128255), "<|reserved_special_token_250|>");
    EXPECT_IDS(tokenizer, "<|start_header_id|>user<|eot_id|>", 128000, 128006, 882, 128009);
    fl_tokenizer_close(tokenizer);
}

static void test_qwen2(void **state)
{
    (void)state;
    fl_tokenizer *tokenizer = open_shared("tokenizers/qwen2");
    check_vectors(tokenizer, "qwen2", true);
    assert_int_equal(fl_tokenizer_special_id(tokenizer, FL_SPECIAL_PAD), 151643);
    EXPECT_IDS(tokenizer, "<|im_start|><|im_end|>", 151644, 151645);
    fl_tokenizer_close(tokenizer);
}

/* A list of ids of a file of 24 kB. */
static void check_lib_rs(const fl_tokenizer *tokenizer, const char *name)
{
    fl_buf text = {0};
    fl_tokens tokens = {0};
    json_t *ids;
    OK(fl_file_read(&text, shared_file("tokenizers/vectors/lib.rs.txt"), 0));
    OK(fl_json_load_file(&ids, shared_file(name)));
    OK(fl_tokenizer_encode(tokenizer, text.data, text.length, false, &tokens));
    assert_int_equal(tokens.count, json_array_size(ids));
    for (size_t i = 0; i < tokens.count; i++)
        assert_int_equal(tokens.ids[i], json_integer_value(json_array_get(ids, i)));
    expect_back(tokenizer, tokens.ids, tokens.count, text.data, text.length);
    json_decref(ids);
    fl_tokens_fini(&tokens);
    fl_buf_fini(&text);
}

static void test_gpt2(void **state)
{
    (void)state;
    static const char *const names[] = {"tokenizers/gpt2/gpt2.tiktoken",
                                        "tokenizers/gpt2/vocab.json"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        fl_tokenizer *tokenizer = open_shared(names[i]);
        check_vectors(tokenizer, "gpt-2", true);
        check_lib_rs(tokenizer, "tokenizers/vectors/lib.rs.gpt2_ids.json");
        assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 50257);
        EXPECT_IDS(tokenizer, "a<|endoftext|>", 64, 50256);
        fl_tokenizer_close(tokenizer);
    }
}

static void test_cl100k(void **state)
{
    (void)state;
    fl_tokenizer *tokenizer = open_shared("tokenizers/cl100k");
    check_lib_rs(tokenizer, "tokenizers/vectors/lib.rs.cl100k_ids.json");
    EXPECT_IDS(tokenizer, "<|endofprompt|><|endoftext|>", 100276, 100257);
    fl_tokenizer_close(tokenizer);
}

/* Small files that are only there to be read. */
static void test_small(void **state)
{
    (void)state;
    fl_tokenizer *tokenizer = open_shared("tokenizers/small/tiktoken_small.model");
    assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 2000 + 256);
    fl_tokenizer_close(tokenizer);
    tokenizer = open_shared("tokenizers/small/tiny_bpe_tokenizer.json");
    assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 2003);
    fl_tokenizer_close(tokenizer);
}

static void test_stories(void **state)
{
    (void)state;
    fl_tokenizer *tokenizer = open_shared("models/stories260K-hf");
    json_t *root, *scored, *value;
    OK(fl_json_load_file(&root, shared_file("models/stories260K/oracle.json")));
    OK(fl_json_get_array(&scored, root, "scored", "oracle.json"));
    assert_true(json_array_size(scored) > 0);
    for (size_t i = 0; i < json_array_size(scored); i++) {
        const json_t *entry = json_array_get(scored, i);
        int32_t ids[512];
        size_t k;
        json_array_foreach(json_object_get(entry, "ids_after_bos"), k, value) ids[k] =
            (int32_t)json_integer_value(value);
        ids[k] = -1;
        const char *text = json_string_value(json_object_get(entry, "text"));
        expect_ids(tokenizer, text, strlen(text), false, ids);
    }
    json_decref(root);
    fl_tokenizer_close(tokenizer);
}

/* Vocabularies that are there as GGUF only: tokens and merges become a tokenizer.json. */

typedef struct gguf {
    fl_buf data;
    size_t at;
} gguf;

static uint64_t read_number(gguf *file, size_t size)
{
    uint64_t value = 0;
    assert_true(file->data.length - file->at >= size);
    memcpy(&value, file->data.data + file->at, size);
    file->at += size;
    return value;
}

static json_t *read_string(gguf *file)
{
    const size_t length = (size_t)read_number(file, 8);
    assert_true(file->data.length - file->at >= length);
    json_t *text = json_stringn(file->data.data + file->at, length);
    file->at += length;
    assert_non_null(text);
    return text;
}

static json_t *read_value(gguf *file, uint32_t type)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    assert_in_range(type, 0, 12);
    if (type == 8) return read_string(file);
    if (type != 9) return json_integer((json_int_t)read_number(file, sizes[type]));
    const uint32_t inner = (uint32_t)read_number(file, 4);
    json_t *array = json_array();
    assert_int_not_equal(inner, 9);
    for (uint64_t count = read_number(file, 8); count > 0; count--)
        assert_int_equal(json_array_append_new(array, read_value(file, inner)), 0);
    return array;
}

static json_t *read_gguf(const char *path)
{
    gguf file = {0};
    OK(fl_file_read(&file.data, path, 0));
    file.at = 16; // magic, version, number of tensors
    json_t *root = json_object();
    for (uint64_t count = read_number(&file, 8); count > 0; count--) {
        json_t *key = read_string(&file);
        json_t *value = read_value(&file, (uint32_t)read_number(&file, 4));
        assert_int_equal(json_object_set_new(root, json_string_value(key), value), 0);
        json_decref(key);
    }
    fl_buf_fini(&file.data);
    return root;
}

/* Tokens that are not of the model: control tokens (3) and those of the user (4). */
static json_t *added_tokens(const json_t *tokens, const json_t *types)
{
    json_t *added = json_array();
    for (size_t i = 0; i < json_array_size(types); i++) {
        const json_int_t type = json_integer_value(json_array_get(types, i));
        if (type == 3 || type == 4)
            json_array_append_new(
                added, json_pack("{s:i, s:O}", "id", (int)i, "content", json_array_get(tokens, i)));
    }
    return added;
}

static void check_gguf(const char *folder, const char *name, const char *pre_tokenizer)
{
    char file[128];
    snprintf(file, sizeof file, "tokenizers/gguf/ggml-vocab-%s.gguf", name);
    if (!shared_file(file)) skip();
    json_t *meta = read_gguf(shared_file(file)), *vocab = json_object();
    const json_t *tokens = json_object_get(meta, "tokenizer.ggml.tokens");
    for (size_t i = 0; i < json_array_size(tokens); i++)
        json_object_set_new(vocab, json_string_value(json_array_get(tokens, i)),
                            json_integer((json_int_t)i));
    json_t *steps = json_loads(pre_tokenizer, 0, NULL);
    json_t *added = added_tokens(tokens, json_object_get(meta, "tokenizer.ggml.token_type"));
    json_t *root = json_pack(
        "{s:o,s:{s:s,s:o,s:O},s:{s:s,s:o},s:{s:s}}", "added_tokens", added, "model", "type", "BPE",
        "vocab", vocab, "merges", json_object_get(meta, "tokenizer.ggml.merges"), "pre_tokenizer",
        "type", "Sequence", "pretokenizers", steps, "decoder", "type", "ByteLevel");
    assert_non_null(root);
    assert_int_equal(json_dump_file(root, path_in(folder, "tokenizer.json"), 0), 0);
    json_decref(root);
    json_decref(meta);
    fl_tokenizer *tokenizer = NULL;
    OK(fl_tokenizer_open(&tokenizer, folder));
    // Hugging Face's decoder reads DeepSeek's added token "ü" as the byte 0xfc.
    check_vectors(tokenizer, name, strcmp(name, "deepseek-coder") != 0);
    fl_tokenizer_close(tokenizer);
}

#define SPLIT(pattern)                                                  \
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" pattern "\"}, " \
    "\"behavior\": \"Isolated\", \"invert\": false}, "
#define DIGITS "{\"type\": \"Digits\", \"individual_digits\": true}, "
#define LEVEL(regex) \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": " regex "}"

static void test_starcoder(void **state)
{
    check_gguf(*state, "starcoder", "[" DIGITS LEVEL("true") "]");
}

static void test_deepseek_coder(void **state)
{
    check_gguf(*state, "deepseek-coder",
               "[" SPLIT("[\\r\\n]") SPLIT("\\\\s?\\\\p{L}+") SPLIT("\\\\s?\\\\p{P}+")
                   SPLIT("[一-龥ࠀ-一가-퟿]+") DIGITS LEVEL("false") "]");
}

/* Long texts take time in proportion; figures are printed, only seconds are judged. */
static void test_speed(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    static const char *const units[] = {"the client sends its update to the server, again; ",
                                        "a",
                                        " ",
                                        "ab",
                                        "日",
                                        "\xcc\x81\xcc\xa3",
                                        "\r",
                                        "-="};
    static const char *const names[] = {"tokenizers/llama2/tokenizer.model", "tokenizers/llama3",
                                        "tokenizers/qwen2", "tokenizers/gpt2"};
    fl_tokens tokens = {0};
    for (size_t k = 0; k < COUNT_OF(names); k++) {
        fl_tokenizer *tokenizer = open_shared(names[k]);
        print_message("%s:", names[k]);
        for (size_t i = 0; i < COUNT_OF(units); i++) {
            fl_buf text = {0};
            while (text.length < LENGTH)
                OK(fl_buf_add_text(&text, units[i]));
            const double start = fl_clock_seconds();
            OK(fl_tokenizer_encode(tokenizer, text.data, text.length, false, &tokens));
            const double seconds = fl_clock_seconds() - start;
            print_message(" %.1f", (double)text.length / 1e6 / seconds);
            assert_true(seconds < 20.0); // a quadratic one takes hours
            fl_buf_fini(&text);
        }
        print_message(" MB/s\n");
        fl_tokenizer_close(tokenizer);
    }
    fl_tokens_fini(&tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama2),    cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_qwen2),     cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_cl100k),    cmocka_unit_test(test_small),
        cmocka_unit_test(test_stories),   FOLDER_TEST(test_starcoder),
        FOLDER_TEST(test_deepseek_coder), cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
