#include "data/example.h"

#include "data/span.h"

#include <string.h>

void fl_examples_destroy(fl_examples *examples)
{
    if (!examples) return;
    fl_free(examples->ids);
    fl_free(examples->labels);
    fl_free(examples->offset);
    fl_free(examples);
}

static fl_status create(fl_examples **out)
{
    fl_examples *examples;
    FL_TRY(fl_alloc(&examples, 1, sizeof *examples));
    const fl_status status =
        fl_grow(&examples->offset, &examples->offset_capacity, 1, sizeof *examples->offset);
    if (status != FL_OK) {
        fl_free(examples);
        return status;
    }
    examples->offset[0] = 0;
    *out = examples;
    return FL_OK;
}

/* Adds a sequence with labels = ids, to be masked by the caller through *labels. */
static fl_status add_sequence(fl_examples *examples, const int32_t *ids, size_t length,
                              int32_t **labels)
{
    size_t ids_capacity = examples->token_capacity, labels_capacity = ids_capacity;
    const size_t needed = examples->num_tokens + length;
    FL_TRY(fl_grow(&examples->ids, &ids_capacity, needed, sizeof *examples->ids));
    FL_TRY(fl_grow(&examples->labels, &labels_capacity, needed, sizeof *examples->labels));
    examples->token_capacity = ids_capacity;
    FL_TRY(fl_grow(&examples->offset, &examples->offset_capacity, examples->count + 2,
                   sizeof *examples->offset));
    *labels = examples->labels + examples->num_tokens;
    if (length > 0) {
        memcpy(examples->ids + examples->num_tokens, ids, length * sizeof *ids);
        memcpy(*labels, ids, length * sizeof *ids);
    }
    examples->num_tokens = needed;
    examples->offset[++examples->count] = needed;
    if ((int64_t)length > examples->max_length) examples->max_length = (int64_t)length;
    return FL_OK;
}

/* The first label of a sequence is nobody's target: no token stands in front of it. */
static size_t count_targets(const int32_t *labels, size_t length)
{
    size_t count = 0;
    for (size_t i = 1; i < length; i++)
        count += labels[i] != FL_LABEL_IGNORE;
    return count;
}

fl_status fl_examples_from_ids(fl_examples **out, const int32_t *ids, const int32_t *labels,
                               const int64_t *lengths, size_t count)
{
    fl_examples *examples;
    FL_TRY(create(&examples));
    fl_status status = FL_OK;
    size_t at = 0;
    for (size_t i = 0; i < count && status == FL_OK; i++) {
        const size_t length = (size_t)lengths[i];
        int32_t *copy;
        status = add_sequence(examples, ids + at, length, &copy);
        if (status != FL_OK) break;
        if (length > 0) memcpy(copy, labels + at, length * sizeof *copy);
        examples->num_targets += count_targets(copy, length);
        at += length;
    }
    if (status != FL_OK) {
        fl_examples_destroy(examples);
        return status;
    }
    *out = examples;
    return FL_OK;
}

/* What making examples from texts needs. */
struct maker {
    const fl_tokenizer *tokenizer;
    const fl_text_format *format;
    int64_t seq_length;
    int32_t eos, pad;
    fl_buf text;
    fl_tokens tokens;
    size_t kept;    /* tokens that are left of the text */
    fl_tokens key;  /* of the response key alone */
    size_t skipped; /* tokens of `key` that are not part of the marker */
    bool use_ids;   /* look for the marker's ids, not for the key's text */
    fl_span *spans; /* of the turns of a conversation */
    size_t span_capacity;
};

/* How many of the kept tokens, up to and with the last marker, the loss leaves out; 0: no marker.
 */
static size_t find_marker_ids(const struct maker *maker)
{
    const int32_t *marker = maker->key.ids + maker->skipped;
    const size_t length = maker->key.count - maker->skipped;
    for (size_t end = maker->kept; end >= length; end--)
        if (memcmp(maker->tokens.ids + end - length, marker, length * sizeof *marker) == 0)
            return end;
    return 0;
}

/* End of the last response key in text[0, limit), 0 when there is none.  The limit is where the
 * kept tokens end: a key that was cut off must not be found. */
static size_t find_key_text(const struct maker *maker, size_t limit)
{
    const char *key = maker->format->template->response_key;
    const size_t length = strlen(key);
    for (size_t end = limit; end >= length; end--)
        if (memcmp(maker->text.data + end - length, key, length) == 0) return end;
    return 0;
}

static size_t find_marker_text(const struct maker *maker)
{
    size_t limit = 0;
    for (size_t i = 0; i < maker->kept; i++)
        if ((size_t)maker->tokens.end[i] > limit) limit = (size_t)maker->tokens.end[i];
    const size_t key_end = find_key_text(maker, limit);
    if (key_end == 0) return 0;
    size_t count = 0;
    while (count < maker->kept && (size_t)maker->tokens.end[count] <= key_end)
        count++;
    return count;
}

/* Encodes maker->text; maker->kept tokens of it count. */
static fl_status encode(struct maker *maker, bool add_special)
{
    FL_TRY(fl_tokenizer_encode(maker->tokenizer, fl_buf_text(&maker->text), maker->text.length,
                               add_special, &maker->tokens));
    maker->kept = maker->tokens.count;
    if (maker->kept > (size_t)maker->seq_length) maker->kept = (size_t)maker->seq_length;
    return FL_OK;
}

static fl_status encode_record(struct maker *maker, const fl_record *record)
{
    fl_buf_clear(&maker->text);
    FL_TRY(fl_template_render(&maker->text, maker->format->template, record->instruction,
                              record->instruction_length, record->response, record->response_length,
                              maker->format->eos));
    return encode(maker, true);
}

/* Decides how the response key is found.
 *
 * The reference system drops two ids of the encoded key, since for Llama these are the piece for
 * the start of a text and the key's first character, and both come out otherwise behind other text.
 * We do the same where these two ids are just that, and where what is left is found in a sample. */
static fl_status prepare_marker(struct maker *maker)
{
    const char *key = maker->format->template->response_key;
    FL_TRY(fl_tokenizer_encode(maker->tokenizer, key, strlen(key), false, &maker->key));
    while (maker->skipped < maker->key.count && maker->key.begin[maker->skipped] == 0)
        maker->skipped++;
    if (maker->skipped != 2 || maker->key.count == 2) return FL_OK;

    const fl_record sample = {
        .instruction = "a", .response = "b", .instruction_length = 1, .response_length = 1};
    const int64_t seq_length = maker->seq_length;
    maker->seq_length = INT32_MAX;
    FL_TRY(encode_record(maker, &sample));
    maker->seq_length = seq_length;
    const size_t end = find_marker_ids(maker);
    maker->use_ids =
        end > 0 && (size_t)maker->tokens.end[end - 1] == find_key_text(maker, maker->text.length);
    return FL_OK;
}

/* The pad rule stands behind the other rules in the code and before them in the reference; all of
 * them only take labels away, so the order does not matter as long as no marker holds the pad
 * token. */
static void finish_labels(fl_examples *examples, const struct maker *maker, int32_t *labels)
{
    for (size_t i = 0; i < maker->kept; i++)
        if (labels[i] == maker->pad && labels[i] != maker->eos) labels[i] = FL_LABEL_IGNORE;
    examples->num_targets += count_targets(labels, maker->kept);
}

static fl_status add_response(fl_examples *examples, struct maker *maker, const fl_record *record)
{
    int32_t *labels;
    FL_TRY(encode_record(maker, record));
    FL_TRY(add_sequence(examples, maker->tokens.ids, maker->kept, &labels));
    size_t masked = maker->use_ids ? find_marker_ids(maker) : find_marker_text(maker);
    if (masked == 0) {
        masked = maker->kept;
        examples->num_unmarked++;
    }
    for (size_t i = 0; i < masked; i++)
        labels[i] = FL_LABEL_IGNORE;
    finish_labels(examples, maker, labels);
    return FL_OK;
}

static fl_status add_conversation(fl_examples *examples, struct maker *maker, const fl_turn *turns,
                                  size_t n)
{
    int32_t *labels;
    const fl_conversation *format = &maker->format->conversation;
    FL_TRY(fl_grow(&maker->spans, &maker->span_capacity, n, sizeof *maker->spans));
    fl_buf_clear(&maker->text);
    FL_TRY(fl_conversation_render(&maker->text, format, turns, n, false, maker->spans));
    FL_TRY(encode(maker, !format->has_bos));
    FL_TRY(add_sequence(examples, maker->tokens.ids, maker->kept, &labels));
    if (fl_spans_mask(labels, FL_LABEL_IGNORE, &maker->tokens, maker->kept, maker->spans, n) == 0)
        examples->num_unmarked++;
    finish_labels(examples, maker, labels);
    return FL_OK;
}

static fl_status add_record(fl_examples *examples, struct maker *maker, const fl_record *record)
{
    if (record->turns) return add_conversation(examples, maker, record->turns, record->num_turns);
    if (maker->format->template) return add_response(examples, maker, record);
    const fl_turn turns[] = {
        {FL_ROLE_USER, false, record->instruction, record->instruction_length},
        {FL_ROLE_ASSISTANT, true, record->response, record->response_length},
    };
    return add_conversation(examples, maker, turns, 2);
}

fl_status fl_examples_build(fl_examples **out, const fl_dataset *dataset,
                            const fl_tokenizer *tokenizer, const fl_text_format *format,
                            int64_t seq_length)
{
    FL_CHECK(seq_length > 0 && seq_length <= INT32_MAX, FL_ERR_USAGE,
             "seq_length = %lld is outside [1, %d]", (long long)seq_length, INT32_MAX);
    FL_CHECK(!format->template || format->eos[0], FL_ERR_UNSUPPORTED,
             "the tokenizer names no eos token");
    struct maker maker = {.tokenizer = tokenizer,
                          .format = format,
                          .seq_length = seq_length,
                          .eos = fl_tokenizer_special_id(tokenizer, FL_SPECIAL_EOS),
                          .pad = fl_tokenizer_special_id(tokenizer, FL_SPECIAL_PAD)};
    FL_CHECK(dataset->form != FL_FORM_PREFERENCE, FL_ERR_UNSUPPORTED,
             "%zu records of the kind %s: pairs of answers are no examples to learn from by SFT",
             dataset->count, dataset->kind);
    fl_examples *examples = NULL;
    fl_status status;
    FL_TRY_GOTO(create(&examples), out);
    if (format->template) FL_TRY_GOTO(prepare_marker(&maker), out);
    for (size_t i = 0; i < dataset->count; i++) {
        status = add_record(examples, &maker, &dataset->records[i]);
        if (status != FL_OK) {
            fl_fail_context(status, "record %zu", i + 1);
            goto out;
        }
    }
    *out = examples;
    examples = NULL;
out:
    fl_tokens_fini(&maker.key);
    fl_tokens_fini(&maker.tokens);
    fl_buf_fini(&maker.text);
    fl_free(maker.spans);
    fl_examples_destroy(examples);
    return status;
}
