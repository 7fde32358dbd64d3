/* The only file that knows HDF5.
 *
 * Both directions use HDF5's "core" driver (a file in memory) with callbacks that make it work in
 * memory of ours instead of copies: a file being built grows in `image`, and what is there after
 * H5Fclose is the finished file; a file being read is its map.  H5Fget_file_image would be the
 * simpler way out, but in HDF5 1.10 it clears a flag in the superblock without renewing the
 * superblock's checksum, and the result cannot be opened.
 */
#include "io/h5.h"

#include "base/file.h"
#include "io/seal.h"
#include "io/shape.h"

#include <hdf5.h>
#include <string.h>

enum {
    CHUNK_BYTES = 4 << 20,    /* checksummed pieces of a large data set */
    GROWTH_BYTES = 1 << 16,   /* steps in which HDF5 asks for memory */
    MAX_PATH_LENGTH = 1 << 12 /* of a path inside the file */
};

/* The bytes of the file, user block included. */
typedef struct image {
    unsigned char *data;
    size_t size;     /* what HDF5 has asked for */
    size_t capacity; /* 0 for a file that is read */
} image;

struct fl_h5 {
    hid_t file;  /* H5I_INVALID_HID once finished */
    image image; /* HDF5 holds a pointer to it */
    fl_map map;  /* reading: owns image.data */
    fl_buf path; /* reading: for messages */
};

/* HDF5 calls these whenever it would allocate, copy or free the file's memory. */

static void *image_malloc(size_t size, H5FD_file_image_op_t op, void *udata)
{
    (void)op;
    const image *im = udata;
    return size <= im->size ? im->data : NULL;
}

static void *image_memcpy(void *dest, const void *src, size_t size, H5FD_file_image_op_t op,
                          void *udata)
{
    (void)size, (void)op, (void)udata;
    return dest == src ? dest : NULL; /* all "copies" are the one image */
}

static void *image_realloc(void *old, size_t size, H5FD_file_image_op_t op, void *udata)
{
    (void)old, (void)op;
    image *im = udata;
    if (im->data && im->capacity == 0) return NULL; /* a map does not grow */
    if (fl_grow(&im->data, &im->capacity, size, 1) != FL_OK) return NULL;
    if (size > im->size) memset(im->data + im->size, 0, size - im->size);
    im->size = size;
    return im->data;
}

static herr_t image_free(void *data, H5FD_file_image_op_t op, void *udata)
{
    (void)data, (void)op, (void)udata;
    return 0; /* fl_h5_close does it */
}

static void *udata_copy(void *udata)
{
    return udata;
}

static herr_t udata_free(void *udata)
{
    (void)udata;
    return 0;
}

static herr_t keep_deepest(unsigned n, const H5E_error2_t *error, void *text)
{
    (void)n;
    const char **deepest = text;
    *deepest = error->desc;
    return 0;
}

/* "what PATH: the deepest of HDF5's own reasons"; to be called before anything else of HDF5, which
 * would forget them. */
static fl_status h5_fail(fl_status status, const char *what, const char *path)
{
    const char *reason = NULL;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_deepest, &reason);
    fl_fail(status, "%s %s: %s", what, path, reason ? reason : "HDF5 gives no reason");
    H5Eclear2(H5E_DEFAULT);
    return status;
}

enum type_use { IN_FILE, IN_MEMORY };

static hid_t type_of(fl_dtype dtype, enum type_use use)
{
    const hid_t types[][2] = {
        /* HDF5's names are values known at run time only */
        [FL_F32] = {H5T_IEEE_F32LE, H5T_NATIVE_FLOAT},
        [FL_F64] = {H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE},
        [FL_I64] = {H5T_STD_I64LE, H5T_NATIVE_INT64},
        [FL_I32] = {H5T_STD_I32LE, H5T_NATIVE_INT32},
        [FL_I8] = {H5T_STD_I8LE, H5T_NATIVE_INT8},
        [FL_U8] = {H5T_STD_U8LE, H5T_NATIVE_UINT8},
    };
    FL_ASSERT(dtype != FL_F16 && dtype != FL_BF16);
    return types[dtype][use];
}

/* Absolute, no empty part and no "." (which HDF5 takes for the group itself). */
static bool is_path(const char *path)
{
    size_t length = strlen(path);
    if (path[0] != '/' || length < 2 || length >= MAX_PATH_LENGTH) return false;
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        const char *part = slash + 1;
        size_t part_length = strcspn(part, "/");
        if (part_length == 0 || (part_length == 1 && part[0] == '.')) return false;
    }
    return true;
}

bool fl_h5_has(const fl_h5 *h5, const char *path)
{
    /* negative: a group on the way is not there */
    return is_path(path) && H5Lexists(h5->file, path, H5P_DEFAULT) > 0;
}

/* An access list for the core driver on h5->image; with image bytes, HDF5 opens those. */
static fl_status make_access(hid_t *out, fl_h5 *h5)
{
    H5FD_file_image_callbacks_t callbacks = {.image_malloc = image_malloc,
                                             .image_memcpy = image_memcpy,
                                             .image_realloc = image_realloc,
                                             .image_free = image_free,
                                             .udata_copy = udata_copy,
                                             .udata_free = udata_free,
                                             .udata = &h5->image};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool ok = access >= 0 && H5Pset_fapl_core(access, GROWTH_BYTES, 0) >= 0 &&
              H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
              H5Pset_file_image_callbacks(access, &callbacks) >= 0 &&
              (!h5->image.data || H5Pset_file_image(access, h5->image.data, h5->image.size) >= 0);
    if (!ok) {
        fl_status status = h5_fail(FL_ERR_INTERNAL, "cannot set up", "HDF5");
        if (access >= 0) H5Pclose(access);
        return status;
    }
    *out = access;
    return FL_OK;
}

/* Times would make the bytes depend on the clock. */
static hid_t make_list(hid_t class)
{
    hid_t list = H5Pcreate(class);
    if (list >= 0) H5Pset_obj_track_times(list, false);
    return list;
}

static fl_status new_h5(fl_h5 **out)
{
    fl_h5 *h5;
    FL_TRY(fl_alloc(&h5, 1, sizeof *h5));
    h5->file = H5I_INVALID_HID;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* HDF5 would print to stderr */
    *out = h5;
    return FL_OK;
}

fl_status fl_h5_create(fl_h5 **out)
{
    fl_h5 *h5;
    FL_TRY(new_h5(&h5));
    hid_t access = H5I_INVALID_HID, creation = make_list(H5P_FILE_CREATE);
    fl_status status;
    FL_TRY_GOTO(make_access(&access, h5), out);
    if (H5Pset_userblock(creation, FL_SEAL_BYTES) >= 0)
        h5->file = H5Fcreate("memory", H5F_ACC_TRUNC, creation, access);
    if (h5->file < 0) status = h5_fail(FL_ERR_INTERNAL, "cannot create an", "HDF5 file");
out:
    if (access >= 0) H5Pclose(access);
    if (creation >= 0) H5Pclose(creation);
    if (status != FL_OK)
        fl_h5_close(h5);
    else
        *out = h5;
    return status;
}

static fl_status make_group(const fl_h5 *h5, const char *path)
{
    hid_t creation = make_list(H5P_GROUP_CREATE);
    hid_t group = H5Gcreate2(h5->file, path, H5P_DEFAULT, creation, H5P_DEFAULT);
    fl_status status = group < 0 ? h5_fail(FL_ERR_INTERNAL, "cannot add group", path) : FL_OK;
    if (group >= 0) H5Gclose(group);
    if (creation >= 0) H5Pclose(creation);
    return status;
}

/* Makes the groups above a data set.  HDF5 would make them too, but with times in them. */
static fl_status make_groups(const fl_h5 *h5, const char *path)
{
    char group[MAX_PATH_LENGTH];
    for (const char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
        memcpy(group, path, (size_t)(end - path));
        group[end - path] = 0;
        if (!fl_h5_has(h5, group)) FL_TRY(make_group(h5, group));
    }
    return FL_OK;
}

/* Checksums need chunks: whole rows, about CHUNK_BYTES each.  HDF5 has none without bytes. */
static hid_t make_dataset_list(size_t item_bytes, int ndim, const hsize_t *dim)
{
    hid_t creation = make_list(H5P_DATASET_CREATE);
    hsize_t chunk[FL_MAX_DIMS], row_bytes = item_bytes;
    for (int i = 1; i < ndim; i++) {
        chunk[i] = dim[i];
        row_bytes *= dim[i];
    }
    if (creation < 0 || dim[0] == 0 || row_bytes == 0) return creation;
    hsize_t rows = row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1;
    chunk[0] = rows < dim[0] ? rows : dim[0];
    if (H5Pset_chunk(creation, ndim, chunk) >= 0 && H5Pset_fletcher32(creation) >= 0)
        return creation;
    H5Pclose(creation);
    return H5I_INVALID_HID;
}

static fl_status create_set(hid_t *out, const fl_h5 *h5, const char *path, fl_dtype dtype, int ndim,
                            const hsize_t *dim)
{
    hid_t creation = make_dataset_list(fl_dtype_size(dtype), ndim, dim);
    hid_t space = H5Screate_simple(ndim, dim, NULL);
    *out = H5Dcreate2(h5->file, path, type_of(dtype, IN_FILE), space, H5P_DEFAULT, creation,
                      H5P_DEFAULT);
    fl_status status = *out < 0 ? h5_fail(FL_ERR_INTERNAL, "cannot add", path) : FL_OK;
    if (space >= 0) H5Sclose(space);
    if (creation >= 0) H5Pclose(creation);
    return status;
}

fl_status fl_h5_put(fl_h5 *h5, const char *path, fl_dtype dtype, int ndim, const int64_t *dim,
                    const void *data)
{
    FL_ASSERT(ndim >= 1 && ndim <= FL_MAX_DIMS);
    FL_CHECK(is_path(path), FL_ERR_INTERNAL, "\"%s\" cannot be a data set of HDF5", path);
    hsize_t sizes[FL_MAX_DIMS];
    bool empty = false;
    for (int i = 0; i < ndim; i++) {
        FL_ASSERT(dim[i] >= 0);
        sizes[i] = (hsize_t)dim[i];
        empty = empty || dim[i] == 0;
    }
    FL_TRY(make_groups(h5, path));
    hid_t set;
    FL_TRY(create_set(&set, h5, path, dtype, ndim, sizes));
    fl_status status = FL_OK;
    hid_t type = type_of(dtype, IN_MEMORY);
    if (!empty && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        status = h5_fail(FL_ERR_INTERNAL, "cannot fill", path);
    if (H5Dclose(set) < 0 && status == FL_OK)
        status = h5_fail(FL_ERR_INTERNAL, "cannot fill", path);
    return status;
}

/* *length = bytes of the finished file: h5->image may be longer, by HDF5's growth steps. */
static fl_status close_image(size_t *length, fl_h5 *h5)
{
    ssize_t used = -1;
    if (H5Fflush(h5->file, H5F_SCOPE_GLOBAL) >= 0) used = H5Fget_file_image(h5->file, NULL, 0);
    bool closed = H5Fclose(h5->file) >= 0;
    h5->file = H5I_INVALID_HID;
    if (used < 0 || !closed) return h5_fail(FL_ERR_INTERNAL, "cannot complete an", "HDF5 file");
    *length = FL_SEAL_BYTES + (size_t)used; /* it counts from the end of the user block */
    if (*length > h5->image.size) *length = h5->image.size;
    return FL_OK;
}

fl_status fl_h5_finish(fl_h5 *h5, const char *path, const char *previous)
{
    size_t length;
    FL_TRY(close_image(&length, h5));
    fl_seal_write(h5->image.data, length);
    if (!previous) return fl_file_write_atomic(path, h5->image.data, length);
    return fl_file_write_keep(path, previous, h5->image.data, length);
}

static fl_status open_image(fl_h5 *h5, const char *path)
{
    FL_TRY(fl_buf_add_text(&h5->path, path));
    FL_TRY(fl_map_open(&h5->map, path));
    FL_TRY(fl_seal_check(h5->map.data, h5->map.length, path));
    h5->image = (image){.data = (unsigned char *)h5->map.data, .size = h5->map.length};
    hid_t access;
    FL_TRY(make_access(&access, h5));
    h5->file = H5Fopen("memory", H5F_ACC_RDONLY, access);
    fl_status status = h5->file < 0 ? h5_fail(FL_ERR_INPUT, "cannot read", path) : FL_OK;
    H5Pclose(access);
    return status;
}

fl_status fl_h5_open(fl_h5 **out, const char *path)
{
    fl_h5 *h5;
    FL_TRY(new_h5(&h5));
    fl_status status = open_image(h5, path);
    if (status != FL_OK)
        fl_h5_close(h5);
    else
        *out = h5;
    return status;
}

void fl_h5_close(fl_h5 *h5)
{
    if (!h5) return;
    if (h5->file >= 0) H5Fclose(h5->file);
    if (!h5->map.data) fl_free(h5->image.data);
    fl_map_close(&h5->map);
    fl_buf_fini(&h5->path);
    fl_free(h5);
}

fl_status fl_h5_count(size_t *out, const fl_h5 *h5, const char *path)
{
    *out = 0;
    if (!fl_h5_has(h5, path)) return FL_OK;
    H5G_info_t info;
    if (H5Gget_info_by_name(h5->file, path, &info, H5P_DEFAULT) < 0)
        return fl_fail_context(h5_fail(FL_ERR_INPUT, "cannot read group", path), "%s",
                               fl_buf_text(&h5->path));
    *out = (size_t)info.nlinks;
    return FL_OK;
}

/* Says "missing" itself: HDF5 words it in five layers. */
static fl_status open_set(hid_t *out, const fl_h5 *h5, const char *path)
{
    FL_CHECK(fl_h5_has(h5, path), FL_ERR_INPUT, "%s: %s is missing", h5->path.data, path);
    *out = H5Dopen2(h5->file, path, H5P_DEFAULT);
    if (*out < 0)
        return fl_fail_context(h5_fail(FL_ERR_INPUT, "cannot open", path), "%s", h5->path.data);
    return FL_OK;
}

static fl_status set_dims(hid_t set, const fl_h5 *h5, const char *path, int *ndim, int64_t *dim)
{
    hsize_t sizes[FL_MAX_DIMS];
    hid_t space = H5Dget_space(set);
    int count = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    bool ok = count >= 0 && count <= FL_MAX_DIMS;
    ok = ok && H5Sget_simple_extent_dims(space, sizes, NULL) >= 0;
    if (space >= 0) H5Sclose(space);
    FL_CHECK(ok, FL_ERR_INPUT, "%s: %s does not have 0 to %d dimensions", h5->path.data, path,
             FL_MAX_DIMS);
    for (int i = 0; i < count; i++)
        dim[i] = (int64_t)sizes[i];
    *ndim = count;
    return FL_OK;
}

fl_status fl_h5_dims(const fl_h5 *h5, const char *path, int *ndim, int64_t dim[FL_MAX_DIMS])
{
    hid_t set;
    FL_TRY(open_set(&set, h5, path));
    fl_status status = set_dims(set, h5, path, ndim, dim);
    H5Dclose(set);
    return status;
}

static fl_status check_type(hid_t set, const fl_h5 *h5, const char *path, fl_dtype dtype)
{
    hid_t type = H5Dget_type(set);
    bool same = type >= 0 && H5Tequal(type, type_of(dtype, IN_FILE)) > 0;
    if (type >= 0) H5Tclose(type);
    FL_CHECK(same, FL_ERR_INPUT, "%s: %s is not of type %s", h5->path.data, path,
             fl_dtype_name(dtype));
    return FL_OK;
}

fl_status fl_h5_get(const fl_h5 *h5, const char *path, fl_dtype dtype, int ndim, const int64_t *dim,
                    void *out)
{
    hid_t set;
    FL_TRY(open_set(&set, h5, path));
    int has_ndim;
    int64_t has_dim[FL_MAX_DIMS];
    char has[FL_SHAPE_TEXT], wants[FL_SHAPE_TEXT];
    fl_status status;
    FL_TRY_GOTO(check_type(set, h5, path, dtype), out);
    FL_TRY_GOTO(set_dims(set, h5, path, &has_ndim, has_dim), out);
    FL_CHECK_GOTO(fl_shape_equal(has_ndim, has_dim, ndim, dim), out, FL_ERR_INPUT,
                  "%s: %s has shape %s, expected %s", h5->path.data, path,
                  fl_shape_text(has, has_ndim, has_dim), fl_shape_text(wants, ndim, dim));
    if (H5Dread(set, type_of(dtype, IN_MEMORY), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
        status = fl_fail_context(h5_fail(FL_ERR_INPUT, "cannot read", path), "%s", h5->path.data);
out:
    H5Dclose(set);
    return status;
}
