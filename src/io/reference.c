#include "io/reference.h"

#include "base/file.h"
#include "base/log.h"
#include "io/seal.h"

#include <math.h>
#include <string.h>

enum { HEADER_WORDS = 4 };
static const size_t header_bytes = HEADER_WORDS * sizeof(uint64_t);

void fl_reference_store_fini(fl_reference_store *store)
{
    fl_buf_fini(&store->path);
    fl_buf_fini(&store->image);
}

static fl_status set_path(fl_reference_store *store, uint32_t client, const char *file)
{
    fl_buf_clear(&store->path);
    return fl_buf_addf(&store->path, "%s/clients/%u%s", store->dir, client, file);
}

static fl_status check_image(const fl_reference_store *store, const uint64_t *expected,
                             size_t values)
{
    const char *path = fl_buf_text(&store->path);
    const fl_buf *image = &store->image;
    FL_TRY(fl_seal_check((const unsigned char *)image->data, image->length, path));
    FL_CHECK(image->length == FL_SEAL_BYTES + header_bytes + values &&
                 memcmp(image->data + FL_SEAL_BYTES, expected, header_bytes) == 0,
             FL_ERR_INPUT, "%s: belongs to another base or to other records", path);
    return FL_OK;
}

fl_status fl_reference_load(fl_reference_store *store, uint32_t client, uint64_t hash,
                            double *values, size_t count)
{
    const uint64_t expected[HEADER_WORDS] = {client, count, hash};
    for (size_t i = 0; i < count; i++)
        values[i] = NAN;
    FL_TRY(set_path(store, client, "/reference.0"));
    if (!fl_path_exists(fl_buf_text(&store->path))) return FL_OK;
    fl_buf_clear(&store->image);
    FL_TRY(fl_file_read(&store->image, fl_buf_text(&store->path), 0));
    if (check_image(store, expected, count * sizeof *values) != FL_OK) {
        FL_WARN("%s; it is made again", fl_error_text());
        return FL_OK;
    }
    memcpy(values, store->image.data + FL_SEAL_BYTES + header_bytes, count * sizeof *values);
    return FL_OK;
}

fl_status fl_reference_save(fl_reference_store *store, uint32_t client, uint64_t hash,
                            const double *values, size_t count)
{
    static const char room[FL_SEAL_BYTES];
    const uint64_t header[HEADER_WORDS] = {client, count, hash};
    fl_buf *image = &store->image;
    fl_buf_clear(image);
    FL_TRY(fl_buf_add(image, room, sizeof room));
    FL_TRY(fl_buf_add(image, header, header_bytes));
    FL_TRY(fl_buf_add(image, values, count * sizeof *values));
    fl_seal_write((unsigned char *)image->data, image->length);
    FL_TRY(set_path(store, client, ""));
    FL_TRY(fl_make_dirs(fl_buf_text(&store->path)));
    FL_TRY(set_path(store, client, "/reference.0"));
    return fl_file_write_atomic(fl_buf_text(&store->path), image->data, image->length);
}
