/* Reading of held-out records. */
#include "base/file.h"
#include "data/data_files.h"
#include "data/dataset.h"
#include "fed/evaluate.h"

#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(fl_eval_config, field)

// clang-format off
const fl_conf_row fl_eval_rows[] = {
    {"eval_data", FL_CONF_STRING, AT(eval_data), "", 0, 0, NULL,
     "held-out records: a file, or a folder with one file per domain; empty = no evaluation"},
    {"eval_freq", FL_CONF_INT, AT(eval_freq), "0", 0, 1000000, NULL,
     "rounds between evaluations; 0 = before the first round and after the last"},
    {"eval_samples", FL_CONF_INT, AT(eval_samples), "0", 0, 1e9, NULL,
     "records per file at the most; 0 = all"},
    {"eval_batch", FL_CONF_INT, AT(eval_batch), "16", 1, 256, NULL,
     "prompts answered at a time; never more than batch_size"},
    {"max_new_tokens", FL_CONF_INT, AT(max_new_tokens), "24", 1, 65536, NULL,
     "tokens of an answer at the most"},
};
// clang-format on
const size_t fl_eval_row_count = sizeof fl_eval_rows / sizeof fl_eval_rows[0];

enum { MAX_FILES = 256 };

/* Copies text without white space at its ends. */
static fl_status trimmed(fl_arena *arena, const char **out, const char *text, size_t length)
{
    text = fl_trim(text, &length);
    char *copy;
    FL_TRY(fl_arena_text(arena, &copy, text, length));
    *out = copy;
    return FL_OK;
}

typedef struct reader {
    fl_eval_set *set;
    const fl_eval_config *config;
    const fl_tokenizer *tokenizer;
    const fl_text_format *format;
    size_t capacity; /* of set->items */
    fl_buf text;
    fl_tokens tokens;
} reader;

static fl_status add_item(reader *r, const fl_record *record)
{
    fl_eval_set *set = r->set;
    fl_buf_clear(&r->text);
    FL_TRY(fl_text_format_prompt(r->format, &r->text, record->instruction,
                                 record->instruction_length));
    FL_TRY(fl_tokenizer_encode(r->tokenizer, fl_buf_text(&r->text), r->text.length,
                               fl_text_format_adds_special(r->format), &r->tokens));
    FL_TRY(fl_grow(&set->items, &r->capacity, set->count + 1, sizeof *set->items));
    fl_eval_item item = {.domain = set->num_domains, .prompt_length = (int64_t)r->tokens.count};
    int32_t *ids;
    FL_TRY(fl_arena_alloc(set->arena, &ids, r->tokens.count, sizeof *ids));
    memcpy(ids, r->tokens.ids, r->tokens.count * sizeof *ids);
    item.prompt = ids;
    char *instruction;
    FL_TRY(
        fl_arena_text(set->arena, &instruction, record->instruction, record->instruction_length));
    item.instruction = instruction;
    FL_TRY(trimmed(set->arena, &item.expected, record->response, record->response_length));
    if (item.prompt_length > set->longest_prompt) set->longest_prompt = item.prompt_length;
    set->items[set->count++] = item;
    return FL_OK;
}

/* All records of one file, as the domain called like the file. */
static fl_status add_file(reader *r, const char *path)
{
    fl_eval_set *set = r->set;
    fl_dataset *dataset = NULL;
    FL_TRY(fl_dataset_load(&dataset, path, NULL));
    size_t limit = r->config->eval_samples ? (size_t)r->config->eval_samples : dataset->count;
    fl_status status = FL_OK;
    if (dataset->form != FL_FORM_INSTRUCTION)
        status = fl_fail(FL_ERR_UNSUPPORTED, "%s: records of the kind %s cannot be evaluated on",
                         path, dataset->kind);
    for (size_t i = 0; i < dataset->count && i < limit && status == FL_OK; i++)
        status = add_item(r, &dataset->records[i]);
    fl_dataset_destroy(dataset);
    FL_TRY(status);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *domain;
    FL_TRY(fl_arena_text(set->arena, &domain, name, strcspn(name, ".")));
    set->domains[set->num_domains++] = domain;
    return FL_OK;
}

static fl_status add_files(reader *r, const char *folder, const fl_data_files *files)
{
    FL_CHECK(files->count, FL_ERR_INPUT, "%s: no .json, .jsonl or .csv file in this folder",
             folder);
    FL_CHECK(files->count <= MAX_FILES, FL_ERR_INPUT, "%s: more than %d data files", folder,
             MAX_FILES);
    fl_buf path = {0};
    fl_status status = FL_OK;
    for (size_t i = 0; i < files->count && status == FL_OK; i++) {
        status = fl_path_join(&path, folder, files->names[i]);
        if (status == FL_OK) status = add_file(r, fl_buf_text(&path));
    }
    fl_buf_fini(&path);
    return status;
}

static fl_status add_folder(reader *r, const char *folder)
{
    fl_data_files files;
    fl_status status = fl_data_files_list(&files, r->set->arena, folder, 1);
    if (status == FL_OK) status = add_files(r, folder, &files);
    fl_data_files_fini(&files);
    return status;
}

fl_status fl_eval_set_load(fl_eval_set *out, const fl_eval_config *config,
                           const fl_tokenizer *tokenizer, const fl_text_format *format)
{
    *out = (fl_eval_set){.format = format};
    if (!config->eval_data[0]) return FL_OK;
    reader r = {.set = out, .config = config, .tokenizer = tokenizer, .format = format};
    fl_status status = fl_arena_create(&out->arena);
    if (status == FL_OK)
        status = fl_arena_alloc(out->arena, &out->domains, MAX_FILES, sizeof *out->domains);
    if (status == FL_OK)
        status = fl_path_is_dir(config->eval_data) ? add_folder(&r, config->eval_data)
                                                   : add_file(&r, config->eval_data);
    fl_buf_fini(&r.text);
    fl_tokens_fini(&r.tokens);
    if (status != FL_OK) fl_eval_set_fini(out);
    return status;
}

void fl_eval_set_fini(fl_eval_set *set)
{
    fl_free(set->items);
    fl_arena_destroy(set->arena);
    *set = (fl_eval_set){0};
}
