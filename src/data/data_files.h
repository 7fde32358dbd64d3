/* The data files of a folder. */
#ifndef FL_DATA_DATA_FILES_H
#define FL_DATA_DATA_FILES_H

#include "base/mem.h"

/* Paths below the folder, in the order of their bytes. */
typedef struct fl_data_files {
    const char **names; /* [count], in the arena that the caller gave */
    size_t count, capacity;
    bool has_parquet; /* Parquet files were seen; they cannot be read */
} fl_data_files;

/* Endings of data files, NULL behind the last: ".json", ".jsonl.gz", ".csv", ... */
extern const char *const fl_data_endings[];
/* Length of the path without its ending; 0 when it has none of them. */
size_t fl_data_stem(const char *path);
bool fl_data_is_csv(const char *path);

/* Data files in the folder and, with depth > 1, in its subfolders; names with a dot in front, links
 * to folders, and descriptions that Hugging Face puts beside data are left out.  Ends with
 * fl_data_files_fini also on error.  Errors: FL_ERR_IO. */
fl_status fl_data_files_list(fl_data_files *out, fl_arena *arena, const char *folder, int depth);
/* Keeps the files of a split where the folder has any: the name, or that of a folder on the path,
 * is the split's, with "-00000-of-00002" or the like behind it; otherwise with "_more". */
void fl_data_files_choose(fl_data_files *files, const char *split);
void fl_data_files_fini(fl_data_files *files);

#endif
