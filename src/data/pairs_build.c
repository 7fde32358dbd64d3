/* Pairs from records: the text of a conversation, its tokens, and where prompt and answer meet. */
#include "data/pairs_build.h"

#include <string.h>

struct maker {
    const fl_tokenizer *tokenizer;
    const fl_conversation *format;
    const fl_pair_rules *rules;
    fl_buf text;
    fl_tokens tokens[FL_NUM_PARTS]; /* of the parts; in the clean form only of the two answers,
                                       each behind the prompt */
    fl_turn *turns;                 /* of the record, and the answer */
    size_t turn_capacity;
    fl_span *spans;
    size_t span_capacity;
    int32_t *ids[FL_NUM_PARTS]; /* answers with eos */
    size_t id_capacity[FL_NUM_PARTS];
};

static void maker_fini(struct maker *maker)
{
    for (int part = 0; part < FL_NUM_PARTS; part++) {
        fl_tokens_fini(&maker->tokens[part]);
        fl_free(maker->ids[part]);
    }
    fl_free(maker->turns);
    fl_free(maker->spans);
    fl_buf_fini(&maker->text);
}

/* Ids from `first` on; an answer with eos behind them, unless it may have one and does. */
static fl_status copy_ids(struct maker *maker, int part, size_t first, bool may_have_eos,
                          fl_pair_ids *pair)
{
    const fl_tokens *tokens = &maker->tokens[part];
    const int32_t eos = maker->rules->eos;
    const size_t count = tokens->count - first;
    FL_TRY(
        fl_grow(&maker->ids[part], &maker->id_capacity[part], count + 1, sizeof *maker->ids[part]));
    int32_t *ids = maker->ids[part];
    if (count > 0) memcpy(ids, tokens->ids + first, count * sizeof *ids);
    pair->ids[part] = ids;
    pair->count[part] = count;
    const bool ends = may_have_eos && count > 0 && ids[count - 1] == eos;
    if (part != FL_PART_PROMPT && !ends) ids[pair->count[part]++] = eos;
    return FL_OK;
}

/* ---- as the reference ----------------------------------------------------------------------- */

/* Each part is tokenised on its own, without special tokens around it. */
static fl_status compat_ids(struct maker *maker, const fl_record *record, fl_pair_ids *pair)
{
    fl_buf_clear(&maker->text);
    FL_TRY(fl_conversation_render(&maker->text, maker->format, record->turns, record->num_turns,
                                  true, NULL));
    const char *const text[FL_NUM_PARTS] = {fl_buf_text(&maker->text), record->chosen,
                                            record->rejected};
    const size_t length[FL_NUM_PARTS] = {maker->text.length, record->chosen_length,
                                         record->rejected_length};
    for (int part = 0; part < FL_NUM_PARTS; part++) {
        FL_TRY(fl_tokenizer_encode(maker->tokenizer, text[part], length[part], false,
                                   &maker->tokens[part]));
        FL_TRY(copy_ids(maker, part, 0, false, pair));
    }
    return FL_OK;
}

/* ---- clean ---------------------------------------------------------------------------------- */

/* Tokens of prompt and one answer as one text; *prompt_tokens = those that end before the answer
 * begins. */
static fl_status encode_whole(struct maker *maker, const fl_record *record, int part,
                              size_t *prompt_tokens)
{
    const bool is_chosen = part == FL_PART_CHOSEN;
    const size_t n = record->num_turns;
    FL_TRY(fl_grow(&maker->turns, &maker->turn_capacity, n + 1, sizeof *maker->turns));
    FL_TRY(fl_grow(&maker->spans, &maker->span_capacity, n + 1, sizeof *maker->spans));
    if (n > 0) memcpy(maker->turns, record->turns, n * sizeof *maker->turns);
    maker->turns[n] =
        (fl_turn){.role = FL_ROLE_ASSISTANT,
                  .trains = true,
                  .text = is_chosen ? record->chosen : record->rejected,
                  .length = is_chosen ? record->chosen_length : record->rejected_length};
    fl_buf_clear(&maker->text);
    FL_TRY(fl_conversation_render(&maker->text, maker->format, maker->turns, n + 1, false,
                                  maker->spans));
    const fl_span answer = maker->spans[n];
    fl_tokens *tokens = &maker->tokens[part];
    FL_TRY(fl_tokenizer_encode(maker->tokenizer, fl_buf_text(&maker->text), answer.end,
                               !maker->format->has_bos, tokens));
    size_t count = 0;
    while (count < tokens->count && tokens->end[count] <= (int64_t)answer.begin)
        count++;
    *prompt_tokens = count;
    return FL_OK;
}

/* The prompt is what both texts begin with: a token across the boundary is part of the answer. */
static fl_status clean_ids(struct maker *maker, const fl_record *record, fl_pair_ids *pair)
{
    size_t chosen, rejected, common = 0;
    FL_TRY(encode_whole(maker, record, FL_PART_CHOSEN, &chosen));
    FL_TRY(encode_whole(maker, record, FL_PART_REJECTED, &rejected));
    const int32_t *a = maker->tokens[FL_PART_CHOSEN].ids, *b = maker->tokens[FL_PART_REJECTED].ids;
    while (common < chosen && common < rejected && a[common] == b[common])
        common++;
    pair->ids[FL_PART_PROMPT] = a;
    pair->count[FL_PART_PROMPT] = common;
    FL_TRY(copy_ids(maker, FL_PART_CHOSEN, common, true, pair));
    return copy_ids(maker, FL_PART_REJECTED, common, true, pair);
}

/* ---- all records ---------------------------------------------------------------------------- */

static fl_status add_record(fl_pairs *pairs, struct maker *maker, const fl_record *record)
{
    fl_pair_ids pair;
    FL_TRY(maker->rules->compat ? compat_ids(maker, record, &pair)
                                : clean_ids(maker, record, &pair));
    return fl_pairs_add(pairs, maker->rules, &pair);
}

fl_status fl_pairs_build(fl_pairs **out, const fl_dataset *dataset, const fl_tokenizer *tokenizer,
                         const fl_conversation *format, const fl_pair_rules *rules)
{
    FL_CHECK(dataset->form == FL_FORM_PREFERENCE, FL_ERR_USAGE,
             "objective = dpo wants records with a chosen and a rejected answer; these are %s",
             dataset->kind);
    fl_pair_rules known = *rules;
    known.bos = fl_tokenizer_special_id(tokenizer, FL_SPECIAL_BOS);
    known.eos = fl_tokenizer_special_id(tokenizer, FL_SPECIAL_EOS);
    FL_CHECK(known.eos >= 0, FL_ERR_UNSUPPORTED, "the tokenizer names no eos token");
    struct maker maker = {.tokenizer = tokenizer, .format = format, .rules = &known};
    fl_pairs *pairs;
    FL_TRY(fl_pairs_create(&pairs));
    fl_status status = FL_OK;
    for (size_t i = 0; i < dataset->count && status == FL_OK; i++) {
        status = add_record(pairs, &maker, &dataset->records[i]);
        if (status == FL_ERR_INPUT) fl_fail_context(status, "record %zu", i + 1);
    }
    maker_fini(&maker);
    if (status != FL_OK) {
        fl_pairs_destroy(pairs);
        return status;
    }
    *out = pairs;
    return FL_OK;
}
