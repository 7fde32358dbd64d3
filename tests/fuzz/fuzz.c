#include "fuzz.h"

#include "base/status.h"
#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static void require(bool condition)
{
    if (!condition) abort();
}

/* What holds for any tokenizer and any text. */
static void use(const fl_tokenizer *tokenizer, const char *text, size_t length)
{
    fl_tokens tokens = {0};
    fl_buf decoded = {0}, streamed = {0};
    fl_decode_stream *stream = NULL;
    if (fl_tokenizer_encode(tokenizer, text, length, true, &tokens) == FL_OK) {
        for (size_t i = 0; i < tokens.count; i++) {
            require(tokens.ids[i] >= 0 && tokens.ids[i] < fl_tokenizer_vocab_size(tokenizer));
            require(tokens.begin[i] >= 0 && tokens.begin[i] <= tokens.end[i]);
            require(tokens.end[i] <= (int64_t)length);
        }
        require(fl_tokenizer_decode(tokenizer, tokens.ids, tokens.count, false, &decoded) == FL_OK);
        if (fl_decode_stream_create(&stream, tokenizer, false) == FL_OK) {
            for (size_t i = 0; i < tokens.count; i++)
                require(fl_decode_stream_add(stream, tokens.ids[i], &streamed) == FL_OK);
            require(fl_decode_stream_finish(stream, &streamed) == FL_OK);
        }
    } else {
        require(*fl_error_text());
    }
    fl_decode_stream_destroy(stream);
    fl_buf_fini(&decoded);
    fl_buf_fini(&streamed);
    fl_tokens_fini(&tokens);
}

void fuzz_tokenizer(const uint8_t *data, size_t size, const char *name)
{
    static const char text[] =
        "Hello  hello, w\xc3\xb6rld's </s><unk> 1234\n\t\xe6\x97\xa5\xff\xcc\x81\xcc\xa3"
        " \xf0\x9f\x98\x80<|endoftext|>hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh aaab";
    fl_tokenizer *tokenizer = NULL;
    if (fl_tokenizer_open_memory(&tokenizer, (const char *)data, size, name) != FL_OK) {
        require(*fl_error_text() && !tokenizer);
        return;
    }
    use(tokenizer, text, sizeof text - 1);
    // The end of the file is a text that fits the file.
    const size_t tail = size < 200 ? size : 200;
    use(tokenizer, (const char *)data + size - tail, tail);
    fl_tokenizer_close(tokenizer);
}
