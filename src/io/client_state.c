#include "io/client_state.h"

#include "base/file.h"
#include "io/seal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_WORDS = 4, MAX_DIGITS = 18 };
static const size_t header_bytes = HEADER_WORDS * sizeof(int64_t);

void fl_client_store_fini(fl_client_store *store)
{
    fl_buf_fini(&store->path);
    fl_buf_fini(&store->image);
}

/* ---- one file ------------------------------------------------------------------------------- */

static fl_status set_folder(fl_client_store *store, uint32_t client)
{
    fl_buf_clear(&store->path);
    return fl_buf_addf(&store->path, "%s/clients/%u", store->dir, client);
}

static fl_status set_file(fl_client_store *store, uint32_t client, int64_t round)
{
    FL_TRY(set_folder(store, client));
    return fl_buf_addf(&store->path, "/%s.%lld", store->name, (long long)round);
}

static fl_status check_image(const fl_client_store *store, uint32_t client, int64_t round)
{
    const char *path = fl_buf_text(&store->path);
    FL_TRY(fl_seal_check((const unsigned char *)store->image.data, store->image.length, path));
    size_t values = store->count * sizeof(float);
    int64_t header[HEADER_WORDS];
    const int64_t expected[HEADER_WORDS] = {client, round, (int64_t)store->count};
    FL_CHECK(store->image.length == FL_SEAL_BYTES + header_bytes + values, FL_ERR_INPUT,
             "%s: does not hold the %zu values of this adapter", path, store->count);
    memcpy(header, store->image.data + FL_SEAL_BYTES, header_bytes);
    FL_CHECK(memcmp(header, expected, header_bytes) == 0, FL_ERR_INPUT,
             "%s: is the state of client %lld after round %lld", path, (long long)header[0],
             (long long)header[1]);
    return FL_OK;
}

fl_status fl_client_store_load(fl_client_store *store, uint32_t client, int64_t round,
                               float *values)
{
    FL_TRY(set_file(store, client, round));
    const char *path = fl_buf_text(&store->path);
    FL_CHECK(fl_path_exists(path), FL_ERR_IO,
             "%s is missing: the state of client %u after round %lld; is output_dir the same "
             "folder on all ranks?",
             path, client, (long long)round);
    fl_buf_clear(&store->image);
    FL_TRY(fl_file_read(&store->image, path, 0));
    FL_TRY(check_image(store, client, round));
    memcpy(values, store->image.data + FL_SEAL_BYTES + header_bytes, store->count * sizeof *values);
    return FL_OK;
}

/* ---- folders -------------------------------------------------------------------------------- */

/* Is it a number without sign, and which?  -1 if not. */
static int64_t number_in(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > MAX_DIGITS || strspn(text, "0123456789") != length) return -1;
    return strtoll(text, NULL, 10);
}

static bool is_leftover(const char *name)
{
    return strstr(name, ".tmp-") != NULL;
}

/* The round of NAME.ROUND; -1 for any other file.  name = NULL: of any state. */
static int64_t round_of(const char *file, const char *name)
{
    const char *dot = strchr(file, '.');
    if (!dot || dot == file) return -1;
    size_t length = (size_t)(dot - file);
    if (name && (strlen(name) != length || memcmp(file, name, length) != 0)) return -1;
    return number_in(dot + 1);
}

static fl_status remove_in(const fl_buf *folder, const char *file)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, fl_buf_text(folder), file);
    if (status == FL_OK && unlink(fl_buf_text(&path)) != 0 && errno != ENOENT)
        status =
            fl_fail(FL_ERR_IO, "%s: cannot be removed: %s", fl_buf_text(&path), strerror(errno));
    fl_buf_fini(&path);
    return status;
}

/* Removes the leftovers in a client's folder, and the states of rounds below `first`. */
static fl_status remove_before(const fl_buf *folder, const char *name, int64_t first)
{
    DIR *dir = opendir(fl_buf_text(folder));
    if (!dir) return FL_OK;
    fl_status status = FL_OK;
    for (struct dirent *entry; status == FL_OK && (entry = readdir(dir));) {
        int64_t round = round_of(entry->d_name, name);
        if (is_leftover(entry->d_name) || (round >= 0 && round < first))
            status = remove_in(folder, entry->d_name);
    }
    closedir(dir);
    return status;
}

static int64_t newest_until(const fl_buf *folder, const char *name, int64_t last)
{
    int64_t newest = -1;
    DIR *dir = opendir(fl_buf_text(folder));
    if (!dir) return newest;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int64_t round = round_of(entry->d_name, name);
        if (round <= last && round > newest) newest = round;
    }
    closedir(dir);
    return newest;
}

fl_status fl_client_store_save(fl_client_store *store, uint32_t client, int64_t round,
                               const float *values)
{
    static const char room[FL_SEAL_BYTES];
    const int64_t header[HEADER_WORDS] = {client, round, (int64_t)store->count};
    fl_buf *image = &store->image;
    fl_buf_clear(image);
    FL_TRY(fl_buf_add(image, room, sizeof room));
    FL_TRY(fl_buf_add(image, header, header_bytes));
    FL_TRY(fl_buf_add(image, values, store->count * sizeof *values));
    fl_seal_write((unsigned char *)image->data, image->length);
    FL_TRY(set_folder(store, client));
    FL_TRY(fl_make_dirs(fl_buf_text(&store->path)));
    FL_TRY(set_file(store, client, round));
    FL_TRY(fl_file_write_atomic(fl_buf_text(&store->path), image->data, image->length));
    FL_TRY(set_folder(store, client));
    return remove_before(&store->path, store->name,
                         newest_until(&store->path, store->name, round - 2));
}

/* Calls `visit` with the folder of every client. */
static fl_status for_clients(const char *dir, fl_status (*visit)(const fl_buf *folder))
{
    fl_buf all = {0}, folder = {0};
    fl_status status = fl_path_join(&all, dir, "clients");
    DIR *clients = status == FL_OK ? opendir(fl_buf_text(&all)) : NULL;
    for (struct dirent *entry; clients && status == FL_OK && (entry = readdir(clients));) {
        if (number_in(entry->d_name) < 0) continue;
        status = fl_path_join(&folder, fl_buf_text(&all), entry->d_name);
        if (status == FL_OK) status = visit(&folder);
    }
    if (clients) closedir(clients);
    fl_buf_fini(&all);
    fl_buf_fini(&folder);
    return status;
}

static fl_status clean_folder(const fl_buf *folder)
{
    return remove_before(folder, NULL, 0);
}

static fl_status remove_folder(const fl_buf *folder)
{
    FL_TRY(remove_before(folder, NULL, INT64_MAX));
    rmdir(fl_buf_text(folder)); /* stays when the user put files into it */
    return FL_OK;
}

fl_status fl_client_files_clean(const char *dir)
{
    return for_clients(dir, clean_folder);
}

fl_status fl_client_files_remove(const char *dir)
{
    fl_buf all = {0};
    FL_TRY(for_clients(dir, remove_folder));
    fl_status status = fl_path_join(&all, dir, "clients");
    if (status == FL_OK) rmdir(fl_buf_text(&all)); /* likewise */
    fl_buf_fini(&all);
    return status;
}
