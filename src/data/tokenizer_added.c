/* Added tokens in a text: the longest one at the first place where there is one.  Files have up to
 * thousands of them that begin alike ("<|reserved_..."), so they are found by one walk in a trie,
 * and most places are passed by their first byte. */
#include "data/tokenizer_encode.h"
#include "data/utf8.h"

#include <string.h>
#include <utf8proc.h>

/* Of two tokens with one text the one with the smaller id is found. */
fl_status fl_added_set_prepare(fl_added_set *set)
{
    fl_trie_fini(&set->trie);
    memset(set->starts, 0, sizeof set->starts);
    for (size_t i = 0; i < set->count; i++) {
        const fl_added *added = &set->items[i];
        uint32_t node = 0;
        size_t at = 0;
        while (at < added->text.length &&
               (node = fl_trie_step(&set->trie, node, added->text.text[at])) != 0)
            at++;
        const int32_t other = at < added->text.length ? -1 : set->trie.values[node];
        if (other >= 0 && set->items[other].id < added->id) continue;
        FL_TRY(fl_trie_put(&set->trie, added->text.text, added->text.length, (int32_t)i));
        set->starts[(unsigned char)added->text.text[0]] = true;
    }
    return FL_OK;
}

void fl_added_set_fini(fl_added_set *set)
{
    fl_trie_fini(&set->trie);
}

/* The longest added token that starts at text[at], or NULL. */
static const fl_added *match_at(const fl_added_set *set, const char *text, size_t length, size_t at)
{
    const fl_added *longest = NULL;
    uint32_t node = 0;
    while (at < length && (node = fl_trie_step(&set->trie, node, text[at])) != 0) {
        if (set->trie.values[node] >= 0) longest = &set->items[set->trie.values[node]];
        at++;
    }
    return longest;
}

/* Letters, marks, numbers of decimal digits, connectors and joiners: Rust's \w. */
static bool is_word(const char *text, size_t length)
{
    bool valid;
    utf8proc_int32_t code;
    const size_t size = fl_utf8_next(text, length, &valid);
    if (!valid) return false;
    utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &code);
    const utf8proc_category_t category = utf8proc_category(code);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || code == 0x200c || code == 0x200d ||
           (code >= 0x24b6 && code <= 0x24e9); // circled letters
}

/* Stands text[begin, end) between characters that belong to no word? */
static bool is_single(const char *text, size_t length, size_t begin, size_t end)
{
    if (end < length && is_word(text + end, length - end)) return false;
    size_t before = begin;
    while (before > 0 && begin - before < 4 && ((unsigned char)text[before - 1] & 0xc0) == 0x80)
        before--;
    return before == 0 || !is_word(text + before - 1, begin - before + 1);
}

bool fl_added_find(const fl_added_set *set, const char *text, size_t length, size_t from,
                   fl_added_match *out)
{
    if (set->count == 0) return false;
    for (size_t at = from; at < length; at++) {
        if (!set->starts[(unsigned char)text[at]]) continue;
        const fl_added *added = match_at(set, text, length, at);
        if (!added) continue;
        size_t begin = at, end = at + added->text.length;
        if (added->single_word && !is_single(text, length, begin, end)) {
            at = end - 1; // Hugging Face looks on behind it
            continue;
        }
        if (added->lstrip) begin -= fl_utf8_trailing_space(text + from, at - from);
        if (added->rstrip) end += fl_utf8_leading_space(text + end, length - end);
        *out = (fl_added_match){begin, end, added->id};
        return true;
    }
    return false;
}
