/* Byte-level vocabularies without a tokenizer.json: tiktoken's rank files, and GPT-2's vocab.json
 * with merges.txt.  They do not say how a text is split and which special tokens there are; that is
 * known from the number of tokens, for the families below.  Only Llama 3's way of naming its file,
 * tokenizer.model, stands for its family at any size. */
#include "data/alphabet.h"
#include "data/charsmap.h"
#include "data/tokenizer_load.h"

#include <string.h>

/* Splits of Llama 3, cl100k and Qwen2: the same but for the digits. */
#define PATTERN(digits)                                                  \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Ids of special tokens count from the number of ranks. */
typedef struct special {
    const char *text;
    int32_t offset;
} special;

typedef struct family {
    int32_t num_ranks;
    const char *pattern;
    bool is_nfc;
    special specials[11]; /* closed by a NULL */
    int32_t reserved;     /* Llama 3: reserved tokens from this offset on, numbered from 5 */
    bool adds_bos;
    int32_t bos, eos, pad; /* offsets or -1 */
} family;

// clang-format off
static const family families[] = {
    {50256, FL_PATTERN_GPT2, false, {{"<|endoftext|>", 0}}, 0, false, 0, 0, -1},
    {151643, PATTERN("\\p{N}"), true,
     {{"<|endoftext|>", 0}, {"<|im_start|>", 1}, {"<|im_end|>", 2}}, 0, false, -1, 0, 0},
    {100256, PATTERN("\\p{N}{1,3}"), false,
     {{"<|endoftext|>", 1}, {"<|fim_prefix|>", 2}, {"<|fim_middle|>", 3}, {"<|fim_suffix|>", 4},
      {"<|endofprompt|>", 20}}, 0, false, -1, 1, -1},
    {128000, PATTERN("\\p{N}{1,3}"), false,
     {{"<|begin_of_text|>", 0}, {"<|end_of_text|>", 1}, {"<|reserved_special_token_0|>", 2},
      {"<|reserved_special_token_1|>", 3}, {"<|reserved_special_token_2|>", 4},
      {"<|reserved_special_token_3|>", 5}, {"<|start_header_id|>", 6}, {"<|end_header_id|>", 7},
      {"<|reserved_special_token_4|>", 8}, {"<|eot_id|>", 9}}, 10, true, 0, 1, -1},
};
// clang-format on
enum { LLAMA3 = 3, NUM_FAMILIES = 4, NUM_RESERVED = 246, FIRST_RESERVED = 5 };

static const family *find_family(size_t count, const char *path)
{
    for (size_t i = 0; i < NUM_FAMILIES; i++)
        if ((size_t)families[i].num_ranks == count) return &families[i];
    const char *end = strrchr(path, '.');
    return end && strcmp(end, ".model") == 0 ? &families[LLAMA3] : NULL;
}

static fl_status add_special(fl_tokenizer *tokenizer, int64_t id, const char *text,
                             const char *path)
{
    // GPT-2's vocab.json holds its special token.
    const int32_t present = fl_vocab_find(&tokenizer->vocab, text, strlen(text));
    FL_CHECK(present < 0 || present == id, FL_ERR_INPUT, "%s: \"%s\" has the id %d instead of %lld",
             path, text, (int)present, (long long)id);
    if (present < 0) FL_TRY(fl_load_token(tokenizer, id, text, false, path));
    tokenizer->vocab.entries[id].is_added = true;
    fl_add_special(tokenizer, (int32_t)id);
    return FL_OK;
}

/* What the family adds to vocabulary and merges; the ids of its special tokens begin at `base`. */
static fl_status finish(fl_tokenizer *tokenizer, const family *kind, int32_t base, const char *path)
{
    tokenizer->byte_level = true;
    tokenizer->model_unk = -1;
    FL_TRY(fl_bpe_prepare(tokenizer, path));
    for (int i = 0; i < 256; i++)
        FL_CHECK(tokenizer->bytes[i] >= 0, FL_ERR_INPUT, "%s: the byte 0x%02x has no token", path,
                 (unsigned)i);
    FL_TRY(fl_add_split(tokenizer, kind->pattern, FL_SPLIT_ISOLATED, false, path));
    if (kind->is_nfc) tokenizer->normalizer.step[tokenizer->normalizer.count++].kind = FL_STEP_NFC;
    tokenizer->has_decoder = true;
    tokenizer->decoder.step[tokenizer->decoder.count++].kind = FL_STEP_BYTE_LEVEL;
    FL_TRY(fl_added_sets_init(tokenizer,
                              sizeof kind->specials / sizeof *kind->specials + NUM_RESERVED));
    for (const special *s = kind->specials; s->text; s++)
        FL_TRY(add_special(tokenizer, (int64_t)base + s->offset, s->text, path));
    for (int32_t i = 0; kind->reserved && i < NUM_RESERVED; i++) {
        fl_buf text = {0};
        fl_status status =
            fl_buf_addf(&text, "<|reserved_special_token_%d|>", (int)(FIRST_RESERVED + i));
        if (status == FL_OK)
            status = add_special(tokenizer, (int64_t)base + kind->reserved + i, text.data, path);
        fl_buf_fini(&text);
        FL_TRY(status);
    }
    const int32_t offsets[] = {kind->bos, kind->eos, -1, kind->pad};
    for (size_t i = 0; i < FL_NUM_SPECIALS; i++)
        if (offsets[i] >= 0) tokenizer->special[i] = base + offsets[i];
    if (kind->adds_bos)
        tokenizer->before.ids[tokenizer->before.count++] = tokenizer->special[FL_SPECIAL_BOS];
    return FL_OK;
}

/* Rank files: "base64(token) rank" in every line. */

typedef struct rank_line {
    char token[FL_MAX_TOKEN]; /* bytes */
    size_t length;
    int64_t rank;
} rank_line;

/* Reads one line and moves *at behind it; false when it is none. */
static bool read_line(rank_line *line, const char *data, size_t length, size_t *at)
{
    uint32_t bits = 0;
    int count = 0, digits = 0;
    size_t i = *at;
    line->length = 0;
    for (; i < length && fl_base64_value(data[i]) >= 0; i++) {
        bits = bits << 6 | (uint32_t)fl_base64_value(data[i]);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        if (line->length == FL_MAX_TOKEN) return false;
        line->token[line->length++] = (char)(bits >> count);
    }
    for (; i < length && data[i] == '='; i++)
        continue;
    if (line->length == 0 || i == length || data[i++] != ' ') return false;
    for (line->rank = 0; i < length && data[i] >= '0' && data[i] <= '9' && digits < 9; digits++)
        line->rank = 10 * line->rank + (data[i++] - '0');
    if (i < length && data[i] == '\r') i++;
    if (digits == 0 || (i < length && data[i] != '\n')) return false;
    *at = i + (i < length);
    return true;
}

bool fl_is_tiktoken(const char *data, size_t length)
{
    rank_line line;
    size_t at = 0;
    return read_line(&line, data, length, &at);
}

/* Counts the lines before anything is allocated. */
static fl_status scan_lines(const char *data, size_t length, const char *path, size_t *count,
                            int64_t *largest)
{
    rank_line line;
    *largest = -1;
    for (size_t at = 0; at < length; ++*count) {
        FL_CHECK(read_line(&line, data, length, &at), FL_ERR_INPUT,
                 "%s:%zu: not a token in base64, of at most %d bytes, and its rank", path,
                 *count + 1, FL_MAX_TOKEN);
        FL_CHECK(line.rank < FL_MAX_VOCAB, FL_ERR_INPUT, "%s:%zu: rank %lld is too large", path,
                 *count + 1, (long long)line.rank);
        if (line.rank > *largest) *largest = line.rank;
    }
    return FL_OK;
}

static fl_status put_lines(fl_tokenizer *tokenizer, const char *data, size_t length,
                           uint32_t *ranks, const char *path)
{
    rank_line line;
    fl_buf text = {0};
    fl_status status = FL_OK;
    for (size_t at = 0; at < length && status == FL_OK;) {
        if (!read_line(&line, data, length, &at)) break;
        fl_buf_clear(&text);
        FL_TRY_GOTO(fl_alphabet_write(&text, line.token, line.length), out);
        FL_CHECK_GOTO(fl_vocab_find(&tokenizer->vocab, text.data, text.length) < 0, out,
                      FL_ERR_INPUT, "%s: the token of rank %lld is listed twice", path,
                      (long long)line.rank);
        FL_TRY_GOTO(fl_load_token(tokenizer, line.rank, text.data, true, path), out);
        if (line.length > 1) ranks[line.rank] = (uint32_t)line.rank;
    }
out:
    fl_buf_fini(&text);
    return status;
}

fl_status fl_load_tiktoken(fl_tokenizer *tokenizer, const char *data, size_t length,
                           const char *path)
{
    size_t count = 0;
    int64_t largest;
    FL_TRY(scan_lines(data, length, path, &count, &largest));
    const family *kind = find_family(count, path);
    FL_CHECK(kind, FL_ERR_UNSUPPORTED,
             "%s: with %zu ranks this is none of the known families (GPT-2, cl100k, Llama 3, "
             "Qwen2); make a tokenizer.json of it",
             path, count);
    const int32_t base = (int32_t)(kind == &families[LLAMA3] ? (size_t)largest + 1 : count);
    const size_t size = (size_t)(largest > base ? largest : base) + 1 + 256;
    FL_TRY(fl_vocab_init(&tokenizer->vocab, tokenizer->arena, (int32_t)size, count + 256));
    uint32_t *ranks;
    FL_TRY(fl_alloc(&ranks, size, sizeof *ranks));
    memset(ranks, 0xff, size * sizeof *ranks);
    fl_status status = put_lines(tokenizer, data, length, ranks, path);
    if (status == FL_OK) status = fl_imply_merges(tokenizer, ranks);
    fl_free(ranks);
    FL_TRY(status);
    tokenizer->ignore_merges = true; // tiktoken looks whole words up first
    FL_TRY(finish(tokenizer, kind, base, path));
    fl_vocab_trim(&tokenizer->vocab);
    return FL_OK;
}

/* merges.txt: two tokens in every line, after a first line that begins with "#version". */
static fl_status put_merges(fl_tokenizer *tokenizer, const char *merges, const char *path)
{
    size_t count = 0;
    for (const char *at = strchr(merges, '\n'); at; at = strchr(at + 1, '\n'))
        count++;
    FL_TRY(fl_merges_init(&tokenizer->merges, tokenizer->arena, count + 1));
    fl_buf scratch = {0};
    fl_status status = FL_OK;
    uint32_t rank = 0;
    const char *line = merges;
    for (size_t number = 1; *line && status == FL_OK; number++) {
        const size_t length = strcspn(line, "\r\n");
        const char *space = memchr(line, ' ', length);
        const bool is_comment = number == 1 && strncmp(line, "#version", 8) == 0;
        if (length > 0 && !is_comment) {
            fl_merge merge = {.rank = rank++};
            const size_t at = space ? (size_t)(space - line) : length;
            const bool found = space && fl_load_find_merge(&tokenizer->vocab, (fl_piece){line, at},
                                                           (fl_piece){space + 1, length - at - 1},
                                                           &scratch, &merge, &status);
            if (status == FL_OK && !found)
                status = FL_FAIL_VALUE(FL_ERR_INPUT,
                                       "%s:%zu: not two tokens of the vocabulary that join to a "
                                       "third",
                                       path, number);
            if (found) fl_merges_put(&tokenizer->merges, merge);
        }
        line += length;
        line += strspn(line, "\r") + (line[strspn(line, "\r")] == '\n');
    }
    fl_buf_fini(&scratch);
    return status;
}

fl_status fl_load_gpt2(fl_tokenizer *tokenizer, const json_t *vocab, const char *merges,
                       const char *path)
{
    FL_CHECK(json_is_object(vocab), FL_ERR_INPUT, "%s: vocab.json must hold an object", path);
    const size_t count = json_object_size(vocab);
    const bool is_gpt2 = count == 50257 || count == 50256;
    const family *kind = is_gpt2 ? &families[0] : find_family(count, path);
    FL_CHECK(kind, FL_ERR_UNSUPPORTED,
             "%s: a vocab.json of %zu tokens is of none of the known families (GPT-2, Qwen2); make "
             "a tokenizer.json of it",
             path, count);
    json_t *more = json_pack("[{s:i}]", "id", (int)(kind->num_ranks + 255));
    FL_CHECK(more, FL_ERR_MEMORY, "out of memory for the vocabulary");
    const fl_status status = fl_load_vocab(tokenizer, vocab, more, path);
    json_decref(more);
    FL_TRY(status);
    FL_TRY(put_merges(tokenizer, merges, path));
    FL_TRY(finish(tokenizer, kind, kind->num_ranks, path));
    fl_vocab_trim(&tokenizer->vocab);
    return FL_OK;
}
