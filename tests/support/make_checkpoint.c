/* Writes a randomly initialised Llama of any size as a Hugging Face folder: for tests and for
 * measurements whose figures depend on the shape only.
 *
 *     make_checkpoint OUT TOKENIZER_FOLDER [key=value ...]
 *
 * Without keys the shape is TinyLlama-1.1B's, in bf16.  Matrices are drawn from N(0, 0.02^2), a sum
 * of four bytes each; every value is a function of (seed, tensor, index).  Memory stays below 1 MB.
 *
 * pool=N draws N values only and repeats them, each tensor from a place of its own: as fast as the
 * disk, for measurements of large models.  jobs=N writes that many shards at a time.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shape {
    int64_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
    int64_t num_key_value_heads, vocab_size, max_position_embeddings, shards, seed, float32;
    int64_t pool, jobs;
} shape = {2048, 5632, 22, 32, 4, 32000, 2048, 2, 1, 0, 0, 1};

static const struct key {
    const char *name;
    int64_t *value;
} keys[] = {{"hidden_size", &shape.hidden_size},
            {"intermediate_size", &shape.intermediate_size},
            {"num_hidden_layers", &shape.num_hidden_layers},
            {"num_attention_heads", &shape.num_attention_heads},
            {"num_key_value_heads", &shape.num_key_value_heads},
            {"vocab_size", &shape.vocab_size},
            {"max_position_embeddings", &shape.max_position_embeddings},
            {"shards", &shape.shards},
            {"seed", &shape.seed},
            {"float32", &shape.float32},
            {"pool", &shape.pool},
            {"jobs", &shape.jobs}};
enum { NUM_KEYS = sizeof keys / sizeof keys[0] };

static fl_status read_key(const char *argument)
{
    for (size_t i = 0; i < NUM_KEYS; i++) {
        size_t length = strlen(keys[i].name);
        char *end;
        if (strncmp(argument, keys[i].name, length) != 0 || argument[length] != '=') continue;
        *keys[i].value = strtoll(argument + length + 1, &end, 10);
        FL_CHECK(*end == 0 && *keys[i].value >= 0 && *keys[i].value <= 1 << 26, FL_ERR_USAGE,
                 "%s: not a number in [0, 2^26]", argument);
        return FL_OK;
    }
    FL_FAIL(FL_ERR_USAGE, "unknown key in %s", argument);
}

/* ---- tensors -------------------------------------------------------------------------------- */

enum { MAX_TENSORS = 16384, NAME_SIZE = 80 };
static fl_tensor tensors[MAX_TENSORS]; /* in the order in which models run */
static char names[MAX_TENSORS][NAME_SIZE];
static size_t num_tensors;

static void add(const char *name, int64_t rows, int64_t cols)
{
    FL_ASSERT(num_tensors < MAX_TENSORS);
    snprintf(names[num_tensors], NAME_SIZE, "%s", name);
    tensors[num_tensors] = (fl_tensor){.name = names[num_tensors],
                                       .dtype = shape.float32 ? FL_F32 : FL_BF16,
                                       .ndim = cols ? 2 : 1,
                                       .dim = {rows, cols}};
    num_tensors++;
}

static void add_layers(void)
{
    const int64_t C = shape.hidden_size, F = shape.intermediate_size;
    const int64_t D = C / shape.num_attention_heads, KVD = shape.num_key_value_heads * D;
    const struct {
        const char *path;
        int64_t rows, cols;
    } parts[] = {{"input_layernorm", C, 0},    {"self_attn.q_proj", C, C},
                 {"self_attn.k_proj", KVD, C}, {"self_attn.v_proj", KVD, C},
                 {"self_attn.o_proj", C, C},   {"post_attention_layernorm", C, 0},
                 {"mlp.gate_proj", F, C},      {"mlp.up_proj", F, C},
                 {"mlp.down_proj", C, F}};
    for (int64_t l = 0; l < shape.num_hidden_layers; l++)
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            char name[NAME_SIZE];
            snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)l, parts[p].path);
            add(name, parts[p].rows, parts[p].cols);
        }
}

static size_t bytes_of(const fl_tensor *t)
{
    return (size_t)fl_tensor_count(t) * fl_dtype_size(t->dtype);
}

/* ---- values --------------------------------------------------------------------------------- */

enum { BYTE_SUMS = 4 * 255 + 1 };

/* What a sum of four uniform bytes becomes; its standard deviation is sqrt(4 (256^2 - 1) / 12). */
static float value_of(int sum, bool is_norm)
{
    return is_norm ? 1.0f : (float)((sum - 510) * (0.02 / 147.8012));
}

/* out[count] in that dtype, the next of the stream. */
static void draw(char *out, fl_dtype dtype, bool is_norm, size_t count, fl_rng *rng)
{
    static float wide[BYTE_SUMS];
    static unsigned char narrow[BYTE_SUMS * sizeof(float)];
    size_t size = fl_dtype_size(dtype);
    for (int sum = 0; sum < BYTE_SUMS; sum++)
        wide[sum] = value_of(sum, is_norm);
    FL_ASSERT(fl_from_f32(narrow, dtype, wide, BYTE_SUMS));
    for (size_t i = 0; i < count; i++) {
        uint32_t word = fl_rng_u32(rng);
        uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
        memcpy(out + i * size, narrow + sum * size, size);
    }
}

static fl_status put_drawn(const fl_tensor *tensor, uint64_t key, fl_file_writer *file)
{
    enum { PIECE = 1 << 15 };
    static float piece[PIECE];
    size_t left = (size_t)fl_tensor_count(tensor), size = fl_dtype_size(tensor->dtype);
    fl_rng rng = fl_rng_make((uint64_t)shape.seed, FL_PURPOSE_TEST, key, 0, 0, 0);
    while (left) {
        size_t count = left < PIECE ? left : PIECE;
        draw((char *)piece, tensor->dtype, tensor->ndim == 1, count, &rng);
        FL_TRY(fl_file_put(file, piece, count * size));
        left -= count;
    }
    return FL_OK;
}

static char *pool; /* shape.pool values */

static fl_status fill_pool(void)
{
    fl_dtype dtype = shape.float32 ? FL_F32 : FL_BF16;
    fl_rng rng = fl_rng_make((uint64_t)shape.seed, FL_PURPOSE_TEST, 0, 0, 0, 0);
    FL_TRY(fl_alloc(&pool, (size_t)shape.pool, fl_dtype_size(dtype)));
    draw(pool, dtype, false, (size_t)shape.pool, &rng);
    return FL_OK;
}

static fl_status put_pool(const fl_tensor *tensor, uint64_t key, fl_file_writer *file)
{
    size_t size = fl_dtype_size(tensor->dtype), left = (size_t)fl_tensor_count(tensor);
    size_t all = (size_t)shape.pool, at = (size_t)(key % all);
    while (left) {
        size_t count = all - at < left ? all - at : left;
        FL_TRY(fl_file_put(file, pool + at * size, count * size));
        left -= count;
        at = 0;
    }
    return FL_OK;
}

static fl_status put_values(void *context, const fl_tensor *tensor, fl_file_writer *file)
{
    (void)context;
    uint64_t key = 0; /* of the name, so that values do not depend on the other tensors */
    for (const char *c = tensor->name; *c; c++)
        key = key * 131 + (unsigned char)*c;
    return shape.pool && tensor->ndim == 2 ? put_pool(tensor, key, file)
                                           : put_drawn(tensor, key, file);
}

/* Nobody needs these files after a power cut: the flushes of base/file.h do nothing here. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

/* ---- files ---------------------------------------------------------------------------------- */

static const char *shard_name(size_t shard)
{
    static char name[64];
    snprintf(name, sizeof name, "model-%05zu-of-%05lld.safetensors", shard + 1,
             (long long)shape.shards);
    return name;
}

static fl_status write_text(const char *dir, const char *name, const fl_buf *text)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, name);
    if (status == FL_OK)
        status = fl_file_write_atomic(fl_buf_text(&path), text->data, text->length);
    fl_buf_fini(&path);
    return status;
}

enum { MAX_SHARDS = 1024 };
static size_t shard_first[MAX_SHARDS + 1]; /* tensors of shard i are [first[i], first[i + 1]) */
static size_t num_shards;

/* The tensors in their order, cut into shards of about the same size. */
static size_t cut_into_shards(void)
{
    size_t total = 0, done = 0;
    for (size_t i = 0; i < num_tensors; i++)
        total += bytes_of(&tensors[i]);
    for (size_t i = 0; i < num_tensors; i++) {
        done += bytes_of(&tensors[i]);
        bool last = i + 1 == num_tensors;
        if (last || (done >= total / (size_t)shape.shards * (num_shards + 1) &&
                     num_shards + 1 < (size_t)shape.shards))
            shard_first[++num_shards] = i + 1;
    }
    return total;
}

/* Every `stride`-th shard from `shard` on. */
static fl_status write_shards(const char *dir, size_t shard, size_t stride)
{
    fl_buf path = {0};
    fl_status status = FL_OK;
    for (; shard < num_shards && status == FL_OK; shard += stride) {
        size_t first = shard_first[shard];
        status = fl_path_join(&path, dir, shard_name(shard));
        if (status == FL_OK)
            status = fl_safetensors_stream(fl_buf_text(&path), tensors + first,
                                           shard_first[shard + 1] - first, put_values, NULL);
    }
    fl_buf_fini(&path);
    return status;
}

/* The same in `jobs` processes; their errors are printed by themselves. */
static fl_status write_in_parallel(const char *dir, size_t jobs)
{
    int failed = 0, code;
    for (size_t job = 0; job < jobs; job++) {
        pid_t child = fork();
        FL_CHECK(child >= 0, FL_ERR_IO, "no further process");
        if (child > 0) continue;
        fl_status status = write_shards(dir, job, jobs);
        if (status != FL_OK) fprintf(stderr, "%s\n", fl_error_text());
        _exit(fl_status_exit_code(status));
    }
    while (wait(&code) > 0)
        failed += code != 0;
    FL_CHECK(!failed, FL_ERR_IO, "%d of %zu writers failed", failed, jobs);
    return FL_OK;
}

static fl_status write_index(const char *dir, size_t total)
{
    fl_buf index = {0};
    fl_status status =
        fl_buf_addf(&index, "{\"metadata\": {\"total_size\": %zu}, \"weight_map\": {", total);
    for (size_t shard = 0; shard < num_shards; shard++)
        for (size_t i = shard_first[shard]; i < shard_first[shard + 1]; i++)
            FL_TRY_GOTO(fl_buf_addf(&index, "%s\n \"%s\": \"%s\"", i ? "," : "", tensors[i].name,
                                    shard_name(shard)),
                        out);
    FL_TRY_GOTO(fl_buf_add_text(&index, "}}\n"), out);
    status = write_text(dir, "model.safetensors.index.json", &index);
out:
    fl_buf_fini(&index);
    return status;
}

static fl_status write_weights(const char *dir)
{
    size_t total = cut_into_shards();
    if (shape.pool) FL_TRY(fill_pool());
    fl_status status =
        shape.jobs > 1 ? write_in_parallel(dir, (size_t)shape.jobs) : write_shards(dir, 0, 1);
    fl_free(pool);
    FL_TRY(status);
    return write_index(dir, total);
}

static fl_status write_config(const char *dir)
{
    fl_buf text = {0};
    fl_status status = fl_buf_addf(
        &text,
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\",\n"
        " \"hidden_size\": %lld, \"intermediate_size\": %lld, \"num_hidden_layers\": %lld,\n"
        " \"num_attention_heads\": %lld, \"num_key_value_heads\": %lld, \"vocab_size\": %lld,\n"
        " \"max_position_embeddings\": %lld, \"rope_theta\": 10000.0, \"rope_scaling\": null,\n"
        " \"rms_norm_eps\": 1e-05, \"hidden_act\": \"silu\", \"attention_bias\": false,\n"
        " \"mlp_bias\": false, \"tie_word_embeddings\": false, \"initializer_range\": 0.02,\n"
        " \"bos_token_id\": 1, \"eos_token_id\": 2, \"torch_dtype\": \"%s\"}\n",
        (long long)shape.hidden_size, (long long)shape.intermediate_size,
        (long long)shape.num_hidden_layers, (long long)shape.num_attention_heads,
        (long long)shape.num_key_value_heads, (long long)shape.vocab_size,
        (long long)shape.max_position_embeddings, shape.float32 ? "float32" : "bfloat16");
    if (status == FL_OK) status = write_text(dir, "config.json", &text);
    fl_buf_clear(&text);
    if (status == FL_OK)
        status = fl_buf_add_text(&text, "{\"bos_token_id\": 1, \"eos_token_id\": 2}\n");
    if (status == FL_OK) status = write_text(dir, "generation_config.json", &text);
    fl_buf_fini(&text);
    return status;
}

static fl_status copy_tokenizer(const char *dir, const char *from)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer.model",
                                        "tokenizer_config.json", "special_tokens_map.json"};
    fl_buf path = {0}, text = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == FL_OK; i++) {
        FL_TRY_GOTO(fl_path_join(&path, from, files[i]), out);
        if (!fl_path_exists(fl_buf_text(&path))) continue;
        fl_buf_clear(&text);
        FL_TRY_GOTO(fl_file_read(&text, fl_buf_text(&path), 0), out);
        FL_TRY_GOTO(write_text(dir, files[i], &text), out);
    }
out:
    fl_buf_fini(&path);
    fl_buf_fini(&text);
    return status;
}

static fl_status make(int argc, char **argv)
{
    FL_CHECK(argc >= 3, FL_ERR_USAGE,
             "usage: make_checkpoint OUT TOKENIZER_FOLDER [key=value ...]");
    for (int i = 3; i < argc; i++)
        FL_TRY(read_key(argv[i]));
    FL_CHECK(shape.hidden_size && shape.num_attention_heads && shape.shards &&
                 shape.hidden_size % shape.num_attention_heads == 0 &&
                 shape.num_hidden_layers <= 1024 && shape.shards <= MAX_SHARDS,
             FL_ERR_USAGE, "a shape that no Llama has");
    add("model.embed_tokens.weight", shape.vocab_size, shape.hidden_size);
    add_layers();
    add("model.norm.weight", shape.hidden_size, 0);
    add("lm_head.weight", shape.vocab_size, shape.hidden_size);
    FL_TRY(fl_make_dirs(argv[1]));
    FL_TRY(copy_tokenizer(argv[1], argv[2]));
    FL_TRY(write_config(argv[1]));
    return write_weights(argv[1]);
}

int main(int argc, char **argv)
{
    fl_status status = make(argc, argv);
    if (status != FL_OK) fprintf(stderr, "%s\n", fl_error_text());
    return fl_status_exit_code(status);
}
