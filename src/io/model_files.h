/* The files of a model folder as Hugging Face lays it out, for whoever makes another folder of it:
 * which hold the weights, and which go along unchanged.
 */
#ifndef FL_IO_MODEL_FILES_H
#define FL_IO_MODEL_FILES_H

#include "base/json.h"
#include "base/mem.h"

typedef struct fl_file_names {
    const char **names; /* [count] plain file names, ascending */
    size_t count, capacity;
} fl_file_names;

typedef struct fl_model_files {
    const char *dir;
    fl_file_names shards;   /* model.safetensors, or those that the index names */
    json_t *index;          /* model.safetensors.index.json; NULL: there is one file only */
    fl_file_names others;   /* config.json, tokenizer, ..., neither weights nor index */
    fl_file_names left_out; /* weights in other formats or of other shardings, folders */
    fl_arena *arena;
} fl_model_files;

/* Lists the folder.  Errors: FL_ERR_IO, FL_ERR_INPUT (an index that is damaged or names files
 * outside the folder), each naming the file. */
fl_status fl_model_files_open(fl_model_files *out, const char *dir);
void fl_model_files_close(fl_model_files *files);

/* FL_ERR_UNSUPPORTED when config.json says that the weights are quantised. */
fl_status fl_model_files_check_plain(const fl_model_files *files);

/* Copies the file NAME into the folder `to`, byte for byte. */
fl_status fl_model_files_copy(const fl_model_files *files, const char *name, const char *to);

/* Writes config.json with "dtype" (and "torch_dtype", whichever are there) set to `word`, the rest
 * as it was. */
fl_status fl_model_files_write_config(const fl_model_files *files, const char *to,
                                      const char *word);
/* Writes the index with metadata.total_size = total_size. */
fl_status fl_model_files_write_index(const fl_model_files *files, const char *to,
                                     int64_t total_size);

#endif
