#include "fed/partition.h"

#include <stdlib.h>
#include <string.h>

/* A record and the text it is grouped by. */
typedef struct entry {
    const char *text;
    uint32_t record;
} entry;

static int compare(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->record > y->record) - (x->record < y->record);
}

static const char *text_of(const fl_record *record, fl_record_key key)
{
    return key == FL_KEY_LABEL ? record->label : key == FL_KEY_CLIENT ? record->client : "";
}

static fl_status read_entries(entry *entries, const fl_dataset *dataset, fl_record_key key,
                              const char *where, const char *field)
{
    for (size_t i = 0; i < dataset->count; i++) {
        const char *text = text_of(&dataset->records[i], key);
        FL_CHECK(text, FL_ERR_INPUT, "%s: record %zu has no field \"%s\"", where, i + 1, field);
        entries[i] = (entry){text, (uint32_t)i};
    }
    return FL_OK;
}

/* Equal texts are neighbours, the first record of each in front.  The groups are numbered in the
 * order of these records: leader[i] is the first record that has record i's text. */
static void number(fl_record_groups *groups, const entry *entries, uint32_t *leader)
{
    size_t count = groups->num_records;
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && strcmp(entries[i].text, entries[i - 1].text) == 0;
        leader[entries[i].record] = same ? leader[entries[i - 1].record] : entries[i].record;
    }
    for (size_t i = 0; i < count; i++)
        groups->of[i] = leader[i] == i ? (uint32_t)groups->count++ : groups->of[leader[i]];
}

static fl_status make(fl_record_groups *groups, const fl_dataset *dataset, fl_record_key key,
                      entry *entries)
{
    uint32_t *leader;
    FL_TRY(fl_arena_create(&groups->arena));
    FL_TRY(fl_arena_alloc(groups->arena, &groups->of, dataset->count, sizeof *groups->of));
    FL_TRY(fl_arena_alloc(groups->arena, &leader, dataset->count, sizeof *leader));
    qsort(entries, dataset->count, sizeof *entries, compare);
    number(groups, entries, leader);
    FL_TRY(fl_arena_alloc(groups->arena, &groups->names, groups->count, sizeof *groups->names));
    for (size_t i = 0; i < dataset->count; i++)
        groups->names[groups->of[i]] = text_of(&dataset->records[i], key);
    return FL_OK;
}

fl_status fl_record_groups_make(fl_record_groups *out, const fl_dataset *dataset, fl_record_key key,
                                const char *where, const char *field)
{
    fl_record_groups groups = {.num_records = dataset->count};
    entry *entries;
    FL_CHECK(dataset->count <= UINT32_MAX, FL_ERR_UNSUPPORTED, "%s: %zu records are too many",
             where, dataset->count);
    FL_TRY(fl_alloc(&entries, dataset->count, sizeof *entries));
    fl_status status = read_entries(entries, dataset, key, where, field);
    if (status == FL_OK) status = make(&groups, dataset, key, entries);
    fl_free(entries);
    if (status == FL_OK)
        *out = groups;
    else
        fl_record_groups_fini(&groups);
    return status;
}

void fl_record_groups_fini(fl_record_groups *groups)
{
    fl_arena_destroy(groups->arena);
    *groups = (fl_record_groups){0};
}
