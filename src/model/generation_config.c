/* Llama 3 has several tokens that end a turn, hence the list. */
#include "model/generation_config.h"

#include "base/file.h"
#include "base/json.h"

bool fl_eos_ids_has(const fl_eos_ids *eos, int32_t id)
{
    for (int i = 0; i < eos->count; i++)
        if (eos->ids[i] == id) return true;
    return false;
}

void fl_eos_ids_add(fl_eos_ids *eos, int32_t id)
{
    if (id >= 0 && eos->count < FL_MAX_EOS && !fl_eos_ids_has(eos, id)) eos->ids[eos->count++] = id;
}

static fl_status add_value(fl_eos_ids *out, const json_t *value, const char *path)
{
    FL_CHECK(json_is_integer(value) && json_integer_value(value) >= 0 &&
                 json_integer_value(value) <= INT32_MAX,
             FL_ERR_INPUT, "%s: eos_token_id is not a token id or a list of them", path);
    fl_eos_ids_add(out, (int32_t)json_integer_value(value));
    return FL_OK;
}

static fl_status read_eos(fl_eos_ids *out, const json_t *root, const char *path)
{
    const json_t *value = json_object_get(root, "eos_token_id");
    if (!value || json_is_null(value)) return FL_OK;
    if (!json_is_array(value)) return add_value(out, value, path);
    FL_CHECK(json_array_size(value) <= FL_MAX_EOS, FL_ERR_INPUT,
             "%s: eos_token_id has more than %d ids", path, FL_MAX_EOS);
    for (size_t i = 0; i < json_array_size(value); i++)
        FL_TRY(add_value(out, json_array_get(value, i), path));
    return FL_OK;
}

/* Many folders have no generation_config.json; that is no error. */
static fl_status read_file(fl_eos_ids *out, const char *path)
{
    json_t *root;
    if (!fl_path_exists(path)) return FL_OK;
    FL_TRY(fl_json_load_file(&root, path));
    fl_status status = read_eos(out, root, path);
    json_decref(root);
    return status;
}

fl_status fl_eos_ids_load(fl_eos_ids *out, const char *dir)
{
    static const char *const names[] = {"generation_config.json", "config.json"};
    fl_buf path = {0};
    fl_status status = FL_OK;
    *out = (fl_eos_ids){0};
    for (size_t i = 0; i < 2 && status == FL_OK && out->count == 0; i++) {
        status = fl_path_join(&path, dir, names[i]);
        if (status == FL_OK) status = read_file(out, path.data);
    }
    fl_buf_fini(&path);
    return status;
}
