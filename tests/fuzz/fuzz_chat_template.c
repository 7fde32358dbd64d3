#include "fuzz_file.h"

#include "base/status.h"
#include "data/text_format.h"

#include <stdlib.h>
#include <string.h>

enum { NUM_TURNS = 5 };

/* A tokenizer without the special tokens that a template may name. */
static const char plain_model[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"<\": 1, \"|\": 2, \">\": 3}, "
    "\"merges\": []}}";

static fl_tokenizer *tokenizer;

static void close_tokenizer(void)
{
    fl_tokenizer_close(tokenizer);
}

static void open_tokenizer(void)
{
    fuzz_require(fl_tokenizer_open_memory(&tokenizer, plain_model, sizeof plain_model - 1,
                                          "tokenizer.json") == FL_OK);
    atexit(close_tokenizer);
}

/* What a conversation's text is; NULL: the format does not hold these turns. */
static const char *render(fl_buf *out, const fl_conversation *format, const fl_turn *turns,
                          size_t count, bool is_open)
{
    fl_span spans[NUM_TURNS];
    fl_buf_clear(out);
    if (fl_conversation_render(out, format, turns, count, is_open, spans) != FL_OK) {
        fuzz_require(*fl_error_text());
        return NULL;
    }
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].begin == spans[i].end) continue;
        fuzz_require(turns[i].trains && spans[i].begin >= at && spans[i].begin < spans[i].end);
        at = spans[i].end;
    }
    fuzz_require(at <= out->length && strlen(fl_buf_text(out)) == out->length);
    return out->data;
}

/* Every beginning of a conversation, with a system turn and without. */
static void use(const fl_text_format *format)
{
    static const char says[] = " \n<think>a</think>\n{1} b ";
    const size_t length = sizeof says - 1;
    const fl_turn turns[NUM_TURNS] = {{.role = FL_ROLE_SYSTEM, .text = "s", .length = 1},
                                      {.role = FL_ROLE_USER, .text = says, .length = length},
                                      {FL_ROLE_ASSISTANT, true, says, length},
                                      {.role = FL_ROLE_USER, .text = "", .length = 0},
                                      {FL_ROLE_ASSISTANT, true, "", 0}};
    fl_buf text = {0};
    for (size_t first = 0; first < 2; first++)
        for (size_t count = 0; first + count <= NUM_TURNS; count++)
            for (int is_open = 0; is_open < 2; is_open++) {
                const char *found =
                    render(&text, &format->conversation, turns + first, count, is_open);
                if (found)
                    fuzz_require(fl_text_format_cut(format, found, text.length) <= text.length);
            }
    fl_conversation_drops_space(&format->conversation);
    fl_buf_fini(&text);
}

/* A first byte '{' says that it is a tokenizer_config.json, else it is a chat_template.jinja. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fl_custom_format none = {0};
    if (!tokenizer) open_tokenizer();
    const bool is_config = size > 1 && data[0] == '{' && data[1] != '{' && data[1] != '%';
    fuzz_file(is_config ? "tokenizer_config.json" : "chat_template.jinja", data, size);
    fl_text_format format;
    if (fl_text_format_open(&format, "chat", &none, tokenizer, fuzz_folder()) == FL_OK)
        use(&format);
    else
        fuzz_require(*fl_error_text());
    fl_text_format_fini(&format);
    return 0;
}
