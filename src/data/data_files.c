#include "data/data_files.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const fl_data_endings[] = {".json",     ".jsonl",  ".csv", ".json.gz",
                                       ".jsonl.gz", ".csv.gz", NULL};
static const char *const descriptions[] = {"dataset_infos.json", "dataset_dict.json",
                                           "dataset_info.json", "state.json"};

static bool ends_with(const char *text, const char *ending)
{
    const size_t length = strlen(text), end = strlen(ending);
    return length > end && strcmp(text + length - end, ending) == 0;
}

size_t fl_data_stem(const char *path)
{
    for (size_t i = 0; fl_data_endings[i]; i++)
        if (ends_with(path, fl_data_endings[i])) return strlen(path) - strlen(fl_data_endings[i]);
    return 0;
}

bool fl_data_is_csv(const char *path)
{
    return ends_with(path, ".csv") || ends_with(path, ".csv.gz");
}

static bool is_wanted(const char *name)
{
    for (size_t i = 0; i < sizeof descriptions / sizeof *descriptions; i++)
        if (strcmp(name, descriptions[i]) == 0) return false;
    return fl_data_stem(name) > 0;
}

static fl_status add_name(fl_data_files *files, fl_arena *arena, const char *name)
{
    char *copy;
    FL_TRY(fl_arena_text(arena, &copy, name, strlen(name)));
    FL_TRY(fl_grow(&files->names, &files->capacity, files->count + 1, sizeof *files->names));
    files->names[files->count++] = copy;
    return FL_OK;
}

static fl_status walk(fl_data_files *files, fl_arena *arena, const char *root, const char *below,
                      int depth);

/* `name` is a path below root. */
static fl_status visit(fl_data_files *files, fl_arena *arena, const char *root, const char *name,
                       int depth)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, root, name);
    const bool is_dir = status == FL_OK && fl_path_is_dir(fl_buf_text(&path));
    const bool is_link = status == FL_OK && fl_path_is_link(fl_buf_text(&path));
    fl_buf_fini(&path);
    FL_TRY(status);
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    /* a link to a folder may lead up again, and every record would be there several times */
    if (is_dir) return depth > 1 && !is_link ? walk(files, arena, root, name, depth - 1) : FL_OK;
    files->has_parquet |= ends_with(name, ".parquet");
    return is_wanted(last) ? add_name(files, arena, name) : FL_OK;
}

static fl_status walk(fl_data_files *files, fl_arena *arena, const char *root, const char *below,
                      int depth)
{
    fl_buf path = {0};
    fl_status status = below[0] ? fl_path_join(&path, root, below) : fl_buf_add_text(&path, root);
    DIR *dir = status == FL_OK ? opendir(fl_buf_text(&path)) : NULL;
    if (status == FL_OK && !dir)
        status = fl_fail(FL_ERR_IO, "%s: cannot be opened: %s", path.data, strerror(errno));
    for (struct dirent *entry; status == FL_OK && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        status = fl_path_join(&path, below, entry->d_name);
        if (status == FL_OK) status = visit(files, arena, root, fl_buf_text(&path), depth);
    }
    if (dir) closedir(dir);
    fl_buf_fini(&path);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

fl_status fl_data_files_list(fl_data_files *out, fl_arena *arena, const char *folder, int depth)
{
    *out = (fl_data_files){0};
    FL_TRY(walk(out, arena, folder, "", depth));
    if (out->count) qsort(out->names, out->count, sizeof *out->names, compare_names);
    return FL_OK;
}

/* How surely a path is of the split: 2 by a whole name, 1 by the beginning of one, 0 not at all. */
static int rank_of(const char *path, const char *split)
{
    int best = 0;
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, split, strlen(split)) != 0) continue;
        const char next = part[strlen(split)];
        const int rank = next == '.' || next == '-' || next == '/' ? 2 : next == '_' ? 1 : 0;
        if (rank > best) best = rank;
    }
    return best;
}

void fl_data_files_choose(fl_data_files *files, const char *split)
{
    int best = 0;
    for (size_t i = 0; i < files->count; i++)
        if (rank_of(files->names[i], split) > best) best = rank_of(files->names[i], split);
    size_t kept = 0;
    for (size_t i = 0; i < files->count; i++)
        if (rank_of(files->names[i], split) == best) files->names[kept++] = files->names[i];
    files->count = kept;
}

void fl_data_files_fini(fl_data_files *files)
{
    fl_free(files->names);
    *files = (fl_data_files){0};
}
