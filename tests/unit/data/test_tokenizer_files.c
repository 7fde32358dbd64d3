/* tokenizer.json: forms that are read, broken and unsupported ones, merges against a plain
 * implementation. */
#include "data_test.h"

#include "base/file.h"

/* Merges as pairs, and as strings of tokens that hold spaces themselves. */
static void test_merge_forms(void **state)
{
    static const char *const forms[] = {
        "[[\"▁\", \"h\"], [\"e\", \"l\"], \"▁h el\", [\"l\", \"o\"], [\"▁hel\", \"lo\"]]",
        "[\"   \", \"     \", \"▁ h\", \"e l\", \"▁h el\", \"l o\", \"▁hel lo\"]"};
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        const tiny parts = {.merges = forms[i],
                            .normalizer = "{\"type\": \"Prepend\", \"prepend\": \"▁\"}",
                            .vocab = ", \" \": 269, \"  \": 270, \"    \": 271"};
        fl_tokenizer *tokenizer = open_tiny(*state, &parts);
        EXPECT_IDS(tokenizer, "hello", TINY_BOS, TINY_MARK_HELLO);
        if (i == 1) EXPECT_IDS(tokenizer, "h    ", TINY_BOS, TINY_MARK_H, 271);
        fl_tokenizer_close(tokenizer);
    }
}

static const struct {
    tiny parts;
    fl_status status;
    const char *error;
} broken[] = {
    {{.vocab = ", \"x\": -1"}, FL_ERR_INPUT, "id -1 of \"x\" is outside [0, "},
    {{.vocab = ", \"x\": 268"}, FL_ERR_INPUT, "\"▁hello\" and \"x\" both have the id 268"},
    {{.vocab = ", \"x\": 4194304"}, FL_ERR_INPUT, "id 4194304 of \"x\" is outside"},
    {{.vocab = ", \"x\": 99999999999999999999999"}, FL_ERR_INPUT, "must be an integer"},
    {{.vocab = ", \"x\": \"y\""}, FL_ERR_INPUT, "the id of \"x\" must be an integer"},
    {{.vocab = ", \"h\": 300"}, FL_ERR_INPUT, "invalid JSON"},
    {{.merges = "[\"h x\"]"}, FL_ERR_INPUT, "merges[0] names a token"},
    {{.merges = "[\"e l\", \"h e\"]"}, FL_ERR_INPUT, "merges[1] names a token"},
    {{.merges = "[\"el\"]"}, FL_ERR_INPUT, "merges[0] names a token"},
    {{.merges = "[\" \"]"}, FL_ERR_INPUT, "merges[0] names a token"},
    {{.merges = "[[\"\", \"h\"]]"}, FL_ERR_INPUT, "merges[0] names a token"},
    {{.merges = "[[\"e\"]]"}, FL_ERR_INPUT, "merges[0] must be two strings"},
    {{.merges = "[[\"e\", 3]]"}, FL_ERR_INPUT, "merges[0] must be two strings"},
    {{.merges = "[null]"}, FL_ERR_INPUT, "merges[0] must be a string or two strings"},
    {{.merges = "{}"}, FL_ERR_INPUT, "merges must be an array"},
    {{.options = "\"type\": \"WordPiece\""},
     FL_ERR_UNSUPPORTED,
     "tokenizer.json: model WordPiece is not supported yet"},
    {{.options = "\"type\": \"Unigram\""}, FL_ERR_INPUT, "vocab must be an array"},
    {{.options = "\"dropout\": 0.1"}, FL_ERR_UNSUPPORTED, "dropout"},
    {{.options = "\"end_of_word_suffix\": \"</w>\""}, FL_ERR_UNSUPPORTED, "end_of_word_suffix"},
    {{.options = "\"unk_token\": \"<UNK>\""}, FL_ERR_INPUT, "unk_token \"<UNK>\" is not in"},
    {{.options = "\"fuse_unk\": 1"}, FL_ERR_INPUT, "fuse_unk must be true or false"},
    {{.added = "{}"}, FL_ERR_INPUT, "added_tokens must be an array"},
    {{.added = "[3]"}, FL_ERR_INPUT, "expected an object"},
    {{.added = "[{\"id\": -2, \"content\": \"x\"}]"}, FL_ERR_INPUT, "id = -2 is outside"},
    {{.added = "[{\"id\": 1, \"content\": \"x\"}]"}, FL_ERR_INPUT, "both have the id 1"},
    {{.added = "[{\"id\": 3, \"content\": \"<s>\"}]"},
     FL_ERR_INPUT,
     "added token \"<s>\" has the id 3, but 1 in the vocabulary"},
    {{.added = "[{\"id\": 1, \"content\": \"<s>\"}, {\"id\": 1, \"content\": \"<s>\"}]"},
     FL_ERR_INPUT,
     "\"<s>\" is listed twice"},
    {{.normalizer = "{\"type\": \"Nmt\"}"}, FL_ERR_UNSUPPORTED, "normalizer Nmt"},
    {{.normalizer = "{\"type\": \"Strip\"}"}, FL_ERR_INPUT, "strip_left is missing"},
    {{.normalizer = "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, \"content\": \"\"}"},
     FL_ERR_INPUT,
     "bad pattern"},
    {{.normalizer = "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(a)\\\\1\"}, "
                    "\"content\": \"\"}"},
     FL_ERR_UNSUPPORTED,
     "a back reference in the pattern"},
    {{.normalizer = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, "
                    "\"content\": \"\"}"},
     FL_ERR_UNSUPPORTED,
     "empty pattern"},
    {{.normalizer = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\"}]}"},
     FL_ERR_UNSUPPORTED,
     "normalizer Sequence"},
    {{.normalizer = "{}"}, FL_ERR_INPUT, "type is missing"},
    {{.pre_tokenizer = "{\"type\": \"ByteLevel\"}"},
     FL_ERR_UNSUPPORTED,
     "byte_fallback together with ByteLevel"},
    {{.pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, "
                       "{\"type\": \"Digits\"}]}"},
     FL_ERR_UNSUPPORTED,
     "pre_tokenizer Digits behind ByteLevel"},
    {{.pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, "
                       "\"behavior\": \"Eaten\"}"},
     FL_ERR_UNSUPPORTED,
     "behavior Eaten"},
    {{.pre_tokenizer = "{\"type\": \"UnicodeScripts\"}"},
     FL_ERR_UNSUPPORTED,
     "tokenizer.json: pre_tokenizer UnicodeScripts is not supported yet"},
    {{.pre_tokenizer = "{\"type\": \"Metaspace\", \"replacement\": \"\"}"},
     FL_ERR_INPUT,
     "needs one character"},
    {{.decoder = "{\"type\": \"CTC\"}"}, FL_ERR_UNSUPPORTED, "decoder CTC"},
    {{.decoder = "{\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}"},
     FL_ERR_INPUT,
     "start = -1 is outside"},
    {{.post_processor = "{\"type\": \"BertProcessing\"}"},
     FL_ERR_UNSUPPORTED,
     "post_processor BertProcessing"},
    {{.post_processor = "{\"type\": \"TemplateProcessing\", \"single\": [], "
                        "\"special_tokens\": {}}"},
     FL_ERR_INPUT,
     "must hold the text once, not 0 times"},
    {{.post_processor = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
                        "{\"id\": \"a\"}}], \"special_tokens\": {\"a\": {\"ids\": [269]}}}"},
     FL_ERR_INPUT,
     "an id of \"a\" is not in the vocabulary"},
    {{.config = "[]"}, FL_ERR_INPUT, "tokenizer_config.json: must hold an object"},
    {{.config = "{\"bos_token\": \"<S>\"}"}, FL_ERR_INPUT, "bos_token \"<S>\" is not in"},
    {{.config = "{\"eos_token\": 3}"}, FL_ERR_INPUT, "eos_token must be a string"},
    {{.config = "{\"eos_token\": {}}"}, FL_ERR_INPUT, "content is missing"},
    {{.config = "{\"add_bos_token\": true}"}, FL_ERR_INPUT, "add_bos_token is true"},
    {{.config = "{\"add_bos_token\": \"yes\"}"}, FL_ERR_INPUT, "add_bos_token must be"},
};

static void test_broken(void **state)
{
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        fl_tokenizer *tokenizer = NULL;
        write_tiny(*state, &broken[i].parts);
        FAILS(fl_tokenizer_open(&tokenizer, *state), broken[i].status, broken[i].error);
        assert_non_null(strstr(fl_error_text(), *state)); // names the file
        assert_null(tokenizer);
    }
}

static void test_broken_whole(void **state)
{
    static const struct {
        const char *text;
        fl_status status;
        const char *error;
    } cases[] = {
        {"", FL_ERR_INPUT, "tokenizer.json:1: invalid JSON"},
        {"[]", FL_ERR_INPUT, "expected an object"},
        {"{}", FL_ERR_INPUT, "tokenizer.json: model is missing"},
        {"{\"model\": []}", FL_ERR_INPUT, "model must be an object"},
        {"{\"model\": {\"merges\": []}}", FL_ERR_INPUT, "vocab is missing"},
        {"{\"model\": {\"vocab\": [], \"merges\": []}}", FL_ERR_INPUT, "vocab must be an object"},
        {"{\"model\": {\"vocab\": {}, \"merges\": []}}", FL_ERR_INPUT, "vocab is empty"},
        {"{\"model\": {\"vocab\": {\"a\": 0}}}", FL_ERR_INPUT, "merges is missing"},
        {"{\"model\": {\"vocab\": {\"a\": 0, \"<0x00>\": 1}, \"merges\": [], "
         "\"byte_fallback\": true}}",
         FL_ERR_UNSUPPORTED, "byte_fallback with 1 of the 256 byte tokens"},
    };
    fl_tokenizer *tokenizer;
    FAILS(fl_tokenizer_open(&tokenizer, *state), FL_ERR_IO, "tokenizer.json");
    write_text(*state, "tokenizer.model", "\n\x0e\n\x05<unk>");
    FAILS(fl_tokenizer_open(&tokenizer, *state), FL_ERR_INPUT,
          "tokenizer.model: not a SentencePiece model, or damaged");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_text(*state, "tokenizer.json", cases[i].text);
        FAILS(fl_tokenizer_open(&tokenizer, *state), cases[i].status, cases[i].error);
    }
    // Ids with gaps, no options, no unk: the least that can be read.
    write_text(*state, "tokenizer.json",
               "{\"model\": {\"vocab\": {\"a\": 3, \"\": 9}, \"merges\": []}}");
    OK(fl_tokenizer_open(&tokenizer, *state));
    assert_int_equal(fl_tokenizer_vocab_size(tokenizer), 10);
    EXPECT_IDS(tokenizer, "abca", 3, 3);
    fl_tokenizer_close(tokenizer);
}

/* Cut short anywhere: an error, never a crash. */
static void test_cut(void **state)
{
    write_tiny(*state, NULL);
    fl_buf whole = {0};
    OK(fl_file_read(&whole, path_in(*state, "tokenizer.json"), 0));
    for (size_t length = 0; length + 2 < whole.length; length += length % 23 + 1) {
        fl_tokenizer *tokenizer;
        write_file(*state, "tokenizer.json", whole.data, length);
        assert_int_equal(fl_tokenizer_open(&tokenizer, *state), FL_ERR_INPUT);
    }
    fl_buf_fini(&whole);
}

/* Random merges, and the plainest way to apply them: again and again the best pair of all. */

enum { NUM_CHARS = 5, MAX_TOKENS = 60, MAX_TEXT_LENGTH = 40 };
typedef struct plain_bpe {
    char text[MAX_TOKENS][64];
    int left[MAX_TOKENS], right[MAX_TOKENS]; // token i >= NUM_CHARS has the rank i
    int count;
} plain_bpe;

static uint32_t next_random(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 16) % below;
}

static bool has_text(const plain_bpe *bpe, const char *text)
{
    for (int i = 0; i < bpe->count; i++)
        if (strcmp(bpe->text[i], text) == 0) return true;
    return false;
}

static void make_bpe(plain_bpe *bpe, uint32_t *seed)
{
    static const char *const chars[NUM_CHARS] = {"▁", "a", "b", "c", "é"};
    for (int i = 0; i < NUM_CHARS; i++)
        strcpy(bpe->text[i], chars[i]);
    bpe->count = NUM_CHARS;
    for (int i = 0; i < MAX_TOKENS - NUM_CHARS; i++) {
        const int left = (int)next_random(seed, (uint32_t)bpe->count);
        const int right = (int)next_random(seed, (uint32_t)bpe->count);
        char text[128];
        snprintf(text, sizeof text, "%s%s", bpe->text[left], bpe->text[right]);
        if (strlen(text) >= sizeof bpe->text[0] || has_text(bpe, text)) continue;
        strcpy(bpe->text[bpe->count], text);
        bpe->left[bpe->count] = left;
        bpe->right[bpe->count++] = right;
    }
}

static fl_tokenizer *open_bpe(const plain_bpe *bpe, const char *folder)
{
    fl_buf vocab = {0}, merges = {0};
    for (int i = 0; i < bpe->count; i++) {
        OK(fl_buf_addf(&vocab, "%s\"%s\": %d", i ? ", " : "", bpe->text[i], i));
        if (i >= NUM_CHARS)
            OK(fl_buf_addf(&merges, "%s[\"%s\", \"%s\"]", i > NUM_CHARS ? ", " : "",
                           bpe->text[bpe->left[i]], bpe->text[bpe->right[i]]));
    }
    fl_buf text = {0};
    OK(fl_buf_addf(&text, "{\"model\": {\"vocab\": {%s}, \"merges\": [%s]}}", fl_buf_text(&vocab),
                   fl_buf_text(&merges)));
    write_file(folder, "tokenizer.json", text.data, text.length);
    fl_tokenizer *tokenizer = NULL;
    OK(fl_tokenizer_open(&tokenizer, folder));
    fl_buf_fini(&vocab);
    fl_buf_fini(&merges);
    fl_buf_fini(&text);
    return tokenizer;
}

static size_t merge_plainly(const plain_bpe *bpe, int32_t *ids, size_t count)
{
    for (;;) {
        size_t best = count;
        int rank = bpe->count;
        for (size_t i = 0; i + 1 < count; i++)
            for (int token = NUM_CHARS; token < rank; token++)
                if (bpe->left[token] == ids[i] && bpe->right[token] == ids[i + 1]) {
                    rank = token;
                    best = i;
                }
        if (best == count) return count;
        ids[best] = rank;
        memmove(ids + best + 1, ids + best + 2, (count - best - 2) * sizeof *ids);
        count--;
    }
}

static void test_merges(void **state)
{
    uint32_t seed = 1;
    for (int round = 0; round < 60; round++) {
        plain_bpe bpe;
        make_bpe(&bpe, &seed);
        fl_tokenizer *tokenizer = open_bpe(&bpe, *state);
        for (int i = 0; i < 40; i++) {
            char text[MAX_TEXT_LENGTH * 4] = "";
            int32_t ids[MAX_TEXT_LENGTH + 1];
            size_t count = next_random(&seed, MAX_TEXT_LENGTH);
            for (size_t k = 0; k < count; k++) {
                ids[k] = (int32_t)next_random(&seed, NUM_CHARS);
                strcat(text, bpe.text[ids[k]]);
            }
            ids[merge_plainly(&bpe, ids, count)] = -1;
            expect_ids(tokenizer, text, strlen(text), true, ids);
        }
        fl_tokenizer_close(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_merge_forms), FOLDER_TEST(test_broken), FOLDER_TEST(test_broken_whole),
        FOLDER_TEST(test_cut),         FOLDER_TEST(test_merges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
