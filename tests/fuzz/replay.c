/* Runs a fuzz target without a fuzzer: every seed, and changed copies of it, always the same ones.
 *
 * replay COUNT SEED...: COUNT changed copies of each seed. */
#include "fuzz.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t below(fl_rng *rng, size_t n)
{
    return n == 0 ? 0 : (size_t)fl_rng_below(rng, n);
}

/* One change: a byte, a bit, a piece cut out, a piece repeated, or bytes that mean something. */
static void change(fl_rng *rng, char *data, size_t *size, size_t capacity)
{
    static const char *const words[] = {
        "\xff\xff\xff\xff\x0f", "\\p{", "(?", "[", "{1000}", "-1", "99999999999", "null",
        "\"Sequence\"",         "\xc3", "\\", "*", "{%-",    "{{", "#}"};
    const size_t at = below(rng, *size), length = below(rng, *size - at < 40 ? *size - at : 40);
    const char *word = words[below(rng, sizeof words / sizeof *words)];
    if (*size == 0) return;
    switch (below(rng, 5)) {
    case 0:
        data[at] = (char)fl_rng_u32(rng);
        break;
    case 1:
        data[at] = (char)(data[at] ^ 1 << below(rng, 8));
        break;
    case 2:
        memmove(data + at, data + at + length, *size - at - length);
        *size -= length;
        break;
    case 3:
        if (*size + length > capacity) break;
        memmove(data + at + length, data + at, *size - at);
        *size += length;
        break;
    default:
        if (*size + strlen(word) > capacity) break;
        memmove(data + at + strlen(word), data + at, *size - at);
        memcpy(data + at, word, strlen(word));
        *size += strlen(word);
    }
}

static fl_status run_seed(const char *path, uint64_t number, long count)
{
    fl_buf seed = {0};
    char *copy = NULL;
    fl_status status;
    FL_TRY_GOTO(fl_file_read(&seed, path, 0), out);
    const size_t capacity = seed.length + 4096;
    FL_TRY_GOTO(fl_alloc(&copy, capacity, 1), out);
    LLVMFuzzerTestOneInput((const uint8_t *)fl_buf_text(&seed), seed.length);
    for (long i = 0; i < count; i++) {
        fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, number, (uint64_t)i, 0, 0);
        size_t size = seed.length;
        memcpy(copy, fl_buf_text(&seed), size);
        for (size_t k = below(&rng, 6) + 1; k > 0; k--)
            change(&rng, copy, &size, capacity);
        // A buffer of just this size, so that a byte read behind it is seen.
        uint8_t *exact;
        FL_TRY_GOTO(fl_alloc(&exact, size, 1), out);
        memcpy(exact, copy, size);
        LLVMFuzzerTestOneInput(exact, size);
        fl_free(exact);
    }
out:
    fl_buf_fini(&seed);
    fl_free(copy);
    return status;
}

int main(int argc, char **argv)
{
    const long count = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    for (int i = 2; i < argc; i++) {
        if (run_seed(argv[i], (uint64_t)i, count) != FL_OK) {
            fprintf(stderr, "replay: %s\n", fl_error_text());
            return 1;
        }
    }
    printf("%d seeds, %ld changed copies of each\n", argc - 2, count);
    return argc > 2 ? 0 : 2;
}
