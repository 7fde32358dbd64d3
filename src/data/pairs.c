#include "data/pairs.h"

#include <string.h>

fl_status fl_pairs_create(fl_pairs **out)
{
    fl_pairs *pairs;
    FL_TRY(fl_alloc(&pairs, 1, sizeof *pairs));
    const fl_status status =
        fl_grow(&pairs->offset, &pairs->offset_capacity, 1, sizeof *pairs->offset);
    if (status != FL_OK) {
        fl_free(pairs);
        return status;
    }
    pairs->offset[0] = 0;
    *out = pairs;
    return FL_OK;
}

void fl_pairs_destroy(fl_pairs *pairs)
{
    if (!pairs) return;
    fl_free(pairs->ids);
    fl_free(pairs->pos);
    fl_free(pairs->offset);
    fl_free(pairs);
}

int64_t fl_pair_tokens(const fl_pairs *pairs, size_t i, bool shared)
{
    const int64_t prompt = fl_pair_length(pairs, i, FL_PART_PROMPT) - 1;
    return (shared ? 1 : 2) * prompt + fl_pair_length(pairs, i, FL_PART_CHOSEN) +
           fl_pair_length(pairs, i, FL_PART_REJECTED);
}

/* What is kept of a prompt: [first, first + count). */
typedef struct cut {
    size_t first, count;
    bool keeps_bos; /* the first id of all stands in front of it */
} cut;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t longer_answer(const fl_pair_ids *pair)
{
    const size_t chosen = pair->count[FL_PART_CHOSEN], rejected = pair->count[FL_PART_REJECTED];
    return chosen > rejected ? chosen : rejected;
}

/* The last `count` ids of the prompt; the bos in front counts among them when `keeps_bos`. */
static cut last_of(size_t length, size_t count, bool keeps_bos)
{
    count = smaller(count, length);
    keeps_bos = keeps_bos && count < length && count > 1;
    if (keeps_bos) count--;
    return (cut){.first = length - count, .count = count, .keeps_bos = keeps_bos};
}

/* Tokens that are left of prompt and answers; false when nothing had to go. */
static bool cut_pair(const fl_pair_rules *rules, const fl_pair_ids *pair, cut *prompt,
                     size_t *answer)
{
    const size_t length = pair->count[FL_PART_PROMPT], longer = longer_answer(pair);
    const size_t limit = (size_t)rules->max_length, least = (size_t)rules->max_prompt_length;
    *prompt = last_of(length, length, false);
    *answer = longer;
    if (length + longer <= limit) return false;
    if (rules->compat) {
        *prompt = last_of(length, least, false);
        if (prompt->count + longer > limit) *answer = limit - least;
        return true;
    }
    const size_t room = longer < limit ? limit - longer : 0;
    const bool has_bos = rules->bos >= 0 && pair->ids[FL_PART_PROMPT][0] == rules->bos;
    *prompt = last_of(length, room > least ? room : least, has_bos);
    *answer = smaller(longer, limit - prompt->count - prompt->keeps_bos);
    return true;
}

static fl_status reserve(fl_pairs *pairs, size_t more)
{
    size_t ids_capacity = pairs->token_capacity, pos_capacity = ids_capacity;
    const size_t needed = pairs->num_tokens + more;
    FL_TRY(fl_grow(&pairs->ids, &ids_capacity, needed, sizeof *pairs->ids));
    FL_TRY(fl_grow(&pairs->pos, &pos_capacity, needed, sizeof *pairs->pos));
    pairs->token_capacity = ids_capacity;
    return fl_grow(&pairs->offset, &pairs->offset_capacity, FL_NUM_PARTS * (pairs->count + 1) + 1,
                   sizeof *pairs->offset);
}

static void put(fl_pairs *pairs, int32_t id, size_t pos)
{
    pairs->ids[pairs->num_tokens] = id;
    pairs->pos[pairs->num_tokens++] = (int32_t)pos;
}

/* Returns the position of the first token of an answer. */
static size_t put_prompt(fl_pairs *pairs, const fl_pair_rules *rules, const int32_t *ids,
                         const cut *kept)
{
    size_t pos = 0;
    if (kept->keeps_bos) put(pairs, ids[0], pos++);
    for (size_t i = 0; i < kept->count; i++, pos++) {
        const int32_t id = ids[kept->first + i];
        if (rules->compat && id == rules->eos && i + 1 < kept->count) continue;
        put(pairs, id, pos);
    }
    return pos;
}

static bool answers_alike(const fl_pairs *pairs, size_t i)
{
    const int64_t length = fl_pair_length(pairs, i, FL_PART_CHOSEN);
    return length == fl_pair_length(pairs, i, FL_PART_REJECTED) &&
           memcmp(pairs->ids + fl_pair_begin(pairs, i, FL_PART_CHOSEN),
                  pairs->ids + fl_pair_begin(pairs, i, FL_PART_REJECTED),
                  (size_t)length * sizeof *pairs->ids) == 0;
}

static void note_maxima(fl_pairs *pairs, size_t i, size_t length)
{
    if ((int64_t)length > pairs->max_length) pairs->max_length = (int64_t)length;
    for (int shared = 0; shared < 2; shared++) {
        const int64_t tokens = fl_pair_tokens(pairs, i, shared);
        if (tokens > pairs->max_tokens[shared]) pairs->max_tokens[shared] = tokens;
    }
    pairs->num_alike += answers_alike(pairs, i);
}

fl_status fl_pairs_add(fl_pairs *pairs, const fl_pair_rules *rules, const fl_pair_ids *pair)
{
    FL_CHECK(rules->max_prompt_length >= 1 && rules->max_prompt_length < rules->max_length &&
                 rules->max_length <= INT32_MAX,
             FL_ERR_USAGE, "dpo_max_prompt_length = %lld leaves no answer of dpo_max_length = %lld",
             (long long)rules->max_prompt_length, (long long)rules->max_length);
    static const char *const names[FL_NUM_PARTS] = {"prompt", "chosen", "rejected"};
    size_t total = 0;
    for (int part = 0; part < FL_NUM_PARTS; part++) {
        FL_CHECK(pair->count[part] > 0, FL_ERR_INPUT, "\"%s\" has no token", names[part]);
        total += pair->count[part];
    }
    cut prompt;
    size_t answer;
    FL_TRY(reserve(pairs, total));
    pairs->num_cut += cut_pair(rules, pair, &prompt, &answer);
    size_t *offset = pairs->offset + FL_NUM_PARTS * pairs->count;
    const size_t after = put_prompt(pairs, rules, pair->ids[FL_PART_PROMPT], &prompt);
    offset[FL_PART_PROMPT + 1] = pairs->num_tokens;
    for (int part = FL_PART_CHOSEN; part < FL_NUM_PARTS; part++) {
        const size_t count = smaller(pair->count[part], answer);
        for (size_t i = 0; i < count; i++)
            put(pairs, pair->ids[part][i], after + i);
        offset[part + 1] = pairs->num_tokens;
    }
    pairs->num_targets += pairs->num_tokens - offset[FL_PART_CHOSEN];
    note_maxima(pairs, pairs->count++, after + smaller(longer_answer(pair), answer));
    return FL_OK;
}
