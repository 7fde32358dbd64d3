/* Data sets by the names that the reference system knows, looked for on the local disk. */
#include "base/file.h"
#include "data/data_files.h"
#include "data/dataset_impl.h"
#include "data/vocab.h"

#include <string.h>

typedef struct known {
    const char *name;
    const char *kind;    /* where the fields alone do not tell; NULL: by the fields */
    const char *split;   /* NULL: "train" */
    const char *folder;  /* of the configuration that counts, where there is one */
    bool first_distinct; /* keeps the first record of each distinct instruction */
} known;

static const known names[] = {
    {.name = "lucasmccabe-lmi/CodeAlpaca-20k"},
    {.name = "yahma/alpaca-cleaned"},
    {.name = "FinGPT/fingpt-sentiment-train"},
    {.name = "tatsu-lab/alpaca"},
    {.name = "vicgalle/alpaca-gpt4"},
    {.name = "gbharti/finance-alpaca"},
    {.name = "WizardLM/WizardLM_evol_instruct_70k"},
    {.name = "TIGER-Lab/MathInstruct", .first_distinct = true},
    {.name = "lighteval/MATH", .folder = "all"},
    {.name = "gsm8k", .folder = "main"},
    {.name = "medalpaca/medical_meadow_medical_flashcards", .kind = "flashcards"},
    {.name = "HuggingFaceH4/ultrafeedback_binarized", .split = "train_sft"},
    {.name = "Anthropic/hh-rlhf"},
};

/* The path of a file or folder may go on with an ending. */
static bool is_named(const char *path, const char *name)
{
    const size_t length = strlen(name), stem = fl_data_stem(path);
    const size_t end = stem ? stem : strlen(path);
    if (end < length || memcmp(path + end - length, name, length) != 0) return false;
    return end == length || path[end - length - 1] == '/';
}

static const known *find_known(const char *path)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_named(path, names[i].name)) return &names[i];
    return NULL;
}

/* *out = path, or path with the ending of a data file, whichever is there. */
static fl_status try_endings(fl_buf *out, const char *prefix, const char *name, bool *found)
{
    fl_buf_clear(out);
    FL_TRY(fl_buf_addf(out, "%s%s", prefix, name));
    *found = fl_path_exists(fl_buf_text(out));
    for (size_t i = 0; !*found && fl_data_endings[i]; i++) {
        fl_buf_clear(out);
        FL_TRY(fl_buf_addf(out, "%s%s%s", prefix, name, fl_data_endings[i]));
        *found = fl_path_exists(fl_buf_text(out));
    }
    return FL_OK;
}

static fl_status not_found(const char *prefix, const char *name, const char *last)
{
    const known *data = find_known(name);
    if (!data)
        FL_FAIL(FL_ERR_IO,
                "cannot open %s%s: No such file or folder, with or without .json, .jsonl"
                " or .csv behind it",
                prefix, name);
    FL_FAIL(
        FL_ERR_IO,
        "%s: looked for the files or folders %s%s and %s%s (.json, .jsonl, .csv, also .gz), but "
        "there are none; download huggingface.co/datasets/%s beforehand, and make JSON Lines of "
        "Parquet files with data_tools/parquet_to_jsonl.py",
        data->name, prefix, name, prefix, last, data->name);
}

static fl_status find_path(fl_buf *out, const char *prefix, const char *name)
{
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    bool found;
    FL_TRY(try_endings(out, prefix, name, &found));
    if (!found && slash && name[0] != '/') FL_TRY(try_endings(out, prefix, last, &found));
    return found ? FL_OK : not_found(prefix, name, last);
}

/* Goes into the folder of the configuration. */
static fl_status enter_folder(fl_buf *path, const char *folder)
{
    fl_buf inner = {0};
    fl_status status = fl_path_join(&inner, fl_buf_text(path), folder);
    if (status == FL_OK && fl_path_is_dir(fl_buf_text(&inner))) {
        fl_buf_clear(path);
        status = fl_buf_add_text(path, fl_buf_text(&inner));
    }
    fl_buf_fini(&inner);
    return status;
}

static fl_status keep_first_of(fl_dataset *dataset, fl_vocab *seen, fl_arena *arena)
{
    size_t kept = 0;
    for (size_t i = 0; i < dataset->count; i++) {
        const fl_record *record = &dataset->records[i];
        if (fl_vocab_find(seen, record->instruction, record->instruction_length) >= 0) continue;
        FL_TRY(fl_vocab_put(seen, arena, (int32_t)kept, record->instruction,
                            record->instruction_length, false));
        dataset->records[kept++] = *record;
    }
    dataset->num_skipped += dataset->count - kept;
    dataset->count = kept;
    return FL_OK;
}

/* The reference's rule for MathInstruct. */
static fl_status keep_first_distinct(fl_dataset *dataset)
{
    FL_CHECK(dataset->count <= INT32_MAX, FL_ERR_UNSUPPORTED, "more than %d records", INT32_MAX);
    if (dataset->form != FL_FORM_INSTRUCTION) return FL_OK;
    fl_arena *arena;
    fl_vocab seen = {0};
    FL_TRY(fl_arena_create(&arena));
    fl_status status = fl_vocab_init(&seen, arena, (int32_t)dataset->count, dataset->count);
    if (status == FL_OK) status = keep_first_of(dataset, &seen, arena);
    fl_arena_destroy(arena);
    return status;
}

static fl_status load_known(fl_dataset_reader *reader, const known *data, fl_buf *path)
{
    if (data->split) reader->split = data->split;
    if (data->kind) FL_TRY(fl_reader_set_kind(reader, data->kind));
    if (data->folder) FL_TRY(enter_folder(path, data->folder));
    FL_TRY(fl_reader_load(reader, fl_buf_text(path)));
    return data->first_distinct ? keep_first_distinct(reader->dataset) : FL_OK;
}

fl_status fl_dataset_open(fl_dataset **out, const char *prefix, const char *name,
                          const fl_dataset_options *options)
{
    fl_dataset_reader reader;
    fl_buf path = {0};
    fl_status status = fl_reader_open(&reader, options);
    if (status == FL_OK) status = find_path(&path, prefix, name);
    const known *data = status == FL_OK ? find_known(fl_buf_text(&path)) : NULL;
    if (!data) data = find_known(name);
    if (status == FL_OK)
        status =
            data ? load_known(&reader, data, &path) : fl_reader_load(&reader, fl_buf_text(&path));
    status = fl_reader_close(&reader, status, out);
    fl_buf_fini(&path);
    return status;
}
