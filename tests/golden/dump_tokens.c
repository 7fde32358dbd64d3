/* For check_tokenizers.py, by hand: our ids for a file of texts, and how fast they come.
 *
 * dump_tokens TOKENIZER TEXTS OUT: texts are records of a 32-bit length and bytes; for each, OUT
 * gets a 32-bit count and the ids, then a 32-bit length and the decoded bytes.  Prints megabytes of
 * text per second of processor time. */
#include "base/clock.h"
#include "base/file.h"
#include "data/tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void put_number(FILE *file, size_t value)
{
    const uint32_t number = (uint32_t)value;
    fwrite(&number, sizeof number, 1, file);
}

static fl_status dump(const fl_tokenizer *tokenizer, const fl_buf *texts, FILE *file)
{
    fl_tokens tokens = {0};
    fl_buf text = {0};
    fl_status status = FL_OK;
    double seconds = 0.0;
    for (size_t at = 0; at + sizeof(uint32_t) <= texts->length && status == FL_OK;) {
        uint32_t length;
        memcpy(&length, texts->data + at, sizeof length);
        at += sizeof length;
        const clock_t start = clock();
        FL_TRY_GOTO(fl_tokenizer_encode(tokenizer, texts->data + at, length, false, &tokens), out);
        seconds += (double)(clock() - start) / CLOCKS_PER_SEC;
        at += length;
        put_number(file, tokens.count);
        fwrite(tokens.ids, sizeof *tokens.ids, tokens.count, file);
        fl_buf_clear(&text);
        FL_TRY_GOTO(fl_tokenizer_decode(tokenizer, tokens.ids, tokens.count, false, &text), out);
        put_number(file, text.length);
        fwrite(fl_buf_text(&text), 1, text.length, file);
    }
    printf("%.1f MB/s\n", (double)texts->length / seconds / 1e6);
out:
    fl_tokens_fini(&tokens);
    fl_buf_fini(&text);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: dump_tokens TOKENIZER TEXTS OUT\n");
        return 2;
    }
    fl_tokenizer *tokenizer = NULL;
    fl_buf texts = {0};
    FILE *file = fopen(argv[3], "wb");
    fl_status status = file ? FL_OK : FL_FAIL_VALUE(FL_ERR_IO, "%s cannot be written", argv[3]);
    const double start = fl_clock_seconds();
    if (status == FL_OK) status = fl_tokenizer_open(&tokenizer, argv[1]);
    if (status == FL_OK) printf("opened in %.2f s, ", fl_clock_seconds() - start);
    if (status == FL_OK) status = fl_file_read(&texts, argv[2], 0);
    if (status == FL_OK) status = dump(tokenizer, &texts, file);
    if (status != FL_OK) fprintf(stderr, "dump_tokens: %s\n", fl_error_text());
    if (file) fclose(file);
    fl_buf_fini(&texts);
    fl_tokenizer_close(tokenizer);
    return fl_status_exit_code(status);
}
