/* JSON from files of others: jansson, with errors that name file, line and key.
 *
 * Parse with fl_json_parse or fl_json_load_file, read members with the getters, release the root
 * with json_decref.  Everything a getter hands out is borrowed from the object.
 *
 * `path` is what errors begin with: a file name, or "data.jsonl:12" for one line of a file.
 */
#ifndef FL_BASE_JSON_H
#define FL_BASE_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdint.h>

/* Any JSON value, and nothing but white space after it.  Refused: duplicate keys, zero bytes (raw
 * or as \u0000), text that is not UTF-8, numbers that do not fit.  `first_line` is the number of
 * the text's first line in `path`, counted from 1. Errors: FL_ERR_INPUT, "PATH:LINE: invalid JSON:
 * reason". */
fl_status fl_json_parse(json_t **out, const char *text, size_t length, const char *path,
                        size_t first_line);

/* A whole file, plain or gzip, up to 1 GiB unpacked.  Errors: FL_ERR_IO, FL_ERR_INPUT. */
fl_status fl_json_load_file(json_t **out, const char *path);

/* The member must be there and have the type.  Errors: FL_ERR_INPUT, "PATH: KEY is missing",
 * "PATH: KEY must be an integer, not a string", "PATH: KEY = 0 is outside [1, 8]".
 * `object` itself must be an object; anything else is the same kind of error.
 * An int is written without point and exponent; a number may be either and is finite. */
fl_status fl_json_get_string(const char **out, const json_t *object, const char *key,
                             const char *path);
fl_status fl_json_get_int(int64_t *out, const json_t *object, const char *key, int64_t minimum,
                          int64_t maximum, const char *path);
fl_status fl_json_get_number(double *out, const json_t *object, const char *key, const char *path);
fl_status fl_json_get_bool(bool *out, const json_t *object, const char *key, const char *path);
fl_status fl_json_get_array(json_t **out, const json_t *object, const char *key, const char *path);
fl_status fl_json_get_object(json_t **out, const json_t *object, const char *key, const char *path);

/* As above, but a member that is not there, or is null, gives `fallback` (which is not checked
 * against the range).  Arrays and objects: *out = NULL then. */
fl_status fl_json_get_string_or(const char **out, const json_t *object, const char *key,
                                const char *fallback, const char *path);
fl_status fl_json_get_int_or(int64_t *out, const json_t *object, const char *key, int64_t minimum,
                             int64_t maximum, int64_t fallback, const char *path);
fl_status fl_json_get_number_or(double *out, const json_t *object, const char *key, double fallback,
                                const char *path);
fl_status fl_json_get_bool_or(bool *out, const json_t *object, const char *key, bool fallback,
                              const char *path);
fl_status fl_json_get_array_or(json_t **out, const json_t *object, const char *key,
                               const char *path);
fl_status fl_json_get_object_or(json_t **out, const json_t *object, const char *key,
                                const char *path);

#endif
