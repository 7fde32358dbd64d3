#include "data_test.h"

int make_folder(void **state)
{
    char *folder = strdup("data-test-XXXXXX");
    *state = folder;
    return folder && mkdtemp(folder) ? 0 : -1;
}

int remove_folder(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
    const int failed = system(command);
    free(*state);
    return failed;
}

const char *path_in(const char *folder, const char *name)
{
    static char paths[8][512];
    static size_t next;
    char *path = paths[next++ % COUNT_OF(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void write_file(const char *folder, const char *name, const void *data, size_t length)
{
    FILE *file = fopen(path_in(folder, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

void write_text(const char *folder, const char *name, const char *text)
{
    write_file(folder, name, text, strlen(text));
}

const char *shared_file(const char *name)
{
    const char *path = path_in(FL_TEST_SHARED_DATA, name);
    return access(path, R_OK) == 0 ? path : NULL;
}

static const tiny defaults = {
    .added = "[{\"id\": 0, \"content\": \"<unk>\", \"special\": true, \"normalized\": false},"
             "{\"id\": 1, \"content\": \"<s>\", \"special\": true, \"normalized\": false},"
             "{\"id\": 2, \"content\": \"</s>\", \"special\": true, \"normalized\": false}]",
    .normalizer = "{\"type\": \"Sequence\", \"normalizers\": ["
                  "{\"type\": \"Prepend\", \"prepend\": \"▁\"},"
                  "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}]}",
    .pre_tokenizer = "null",
    .post_processor =
        "{\"type\": \"TemplateProcessing\", \"single\": ["
        "{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},"
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [],"
        "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}}",
    .decoder = "{\"type\": \"Sequence\", \"decoders\": ["
               "{\"type\": \"Replace\", \"pattern\": {\"String\": \"▁\"}, \"content\": \" \"},"
               "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},"
               "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}",
    .options = "\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\","
               "\"fuse_unk\": true, \"byte_fallback\": true",
    .vocab = "",
    .merges = "[\"▁ h\", \"e l\", \"▁h el\", \"l o\", \"▁hel lo\"]",
    .config = "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"},"
              "\"unk_token\": \"<unk>\", \"pad_token\": null,"
              "\"model_max_length\": 1000000000000000019884624838656}",
};

void write_tiny(const char *folder, const tiny *parts)
{
    static const tiny none;
    const tiny *given = parts ? parts : &none;
#define PART(name) (given->name ? given->name : defaults.name)
    fl_buf out = {0};
    OK(fl_buf_addf(&out,
                   "{\"version\": \"1.0\", \"added_tokens\": %s, \"normalizer\": %s,"
                   "\"pre_tokenizer\": %s, \"post_processor\": %s, \"decoder\": %s,\n"
                   "\"model\": {%s, \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2,\n",
                   PART(added), PART(normalizer), PART(pre_tokenizer), PART(post_processor),
                   PART(decoder), PART(options)));
    for (int i = 0; i < 256; i++)
        OK(fl_buf_addf(&out, "\"<0x%02X>\": %d,", (unsigned)i, TINY_BYTE + i));
    static const char *const tokens[] = {"▁",  "h",  "e",    "l",  "o",
                                         "▁h", "el", "▁hel", "lo", "▁hello"};
    for (size_t i = 0; i < COUNT_OF(tokens); i++)
        OK(fl_buf_addf(&out, "%s\"%s\": %zu", i ? "," : "\n", tokens[i], TINY_MARK + i));
    OK(fl_buf_addf(&out, "%s},\n\"merges\": %s}}\n", PART(vocab), PART(merges)));
    write_file(folder, "tokenizer.json", out.data, out.length);
    fl_buf_fini(&out);
    if (*PART(config))
        write_text(folder, "tokenizer_config.json", PART(config));
    else
        unlink(path_in(folder, "tokenizer_config.json"));
#undef PART
}

fl_tokenizer *open_tiny(const char *folder, const tiny *parts)
{
    fl_tokenizer *tokenizer = NULL;
    write_tiny(folder, parts);
    OK(fl_tokenizer_open(&tokenizer, folder));
    return tokenizer;
}

void expect_ids(const fl_tokenizer *tokenizer, const char *text, size_t length, bool add_special,
                const int32_t *ids)
{
    fl_tokens tokens = {0};
    fl_buf got = {0};
    OK(fl_tokenizer_encode(tokenizer, text, length, add_special, &tokens));
    bool same = true;
    for (size_t i = 0; i < tokens.count; i++) {
        same = same && ids[i] == tokens.ids[i]; // stops looking at the closing -1
        OK(fl_buf_addf(&got, " %d", (int)tokens.ids[i]));
    }
    if (!same || ids[tokens.count] >= 0)
        fail_msg("\"%.60s\" gives the %zu ids%s", text, tokens.count, fl_buf_text(&got));
    fl_buf_fini(&got);
    fl_tokens_fini(&tokens);
}
