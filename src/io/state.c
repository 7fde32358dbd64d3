/* Invariants:
 *   1. a run continued from the state of round r writes the same bytes from round r+1 on as the
 *      run that was never stopped;
 *   2. at every moment state.h5 or state.prev.h5 is a complete file (once the first save is done);
 *   3. a state is loaded whole, into exactly the layout it was saved from, or not at all. */
#include "io/state.h"

#include "base/file.h"
#include "base/log.h"
#include "io/h5.h"

#include <inttypes.h>
#include <string.h>

static const char state_name[] = "state.h5";
static const char previous_name[] = "state.prev.h5";
static const int64_t format_version = 1;
static const int64_t one = 1; /* the shape of a single number */

/* The file at hand and the names in it. */
typedef struct cursor {
    fl_h5 *h5;
    fl_buf file;  /* path of the file; loading only */
    fl_buf group; /* scratch: "/server/m" */
    fl_buf set;   /* scratch: "/server/m/TENSOR" */
} cursor;

static void close_cursor(cursor *at)
{
    fl_h5_close(at->h5);
    fl_buf_fini(&at->file);
    fl_buf_fini(&at->group);
    fl_buf_fini(&at->set);
}

void fl_state_fini(fl_state *state)
{
    fl_free(state->loss);
    fl_buf_fini(&state->config);
    *state = (fl_state){0};
}

fl_status fl_state_add_round(fl_state *state, double loss)
{
    size_t round = (size_t)state->round;
    FL_TRY(fl_grow(&state->loss, &state->loss_capacity, round + 1, sizeof *state->loss));
    state->loss[round] = loss;
    state->round++;
    return FL_OK;
}

/* Saving. */

static fl_status save_number(cursor *to, const char *path, int64_t value)
{
    return fl_h5_put(to->h5, path, FL_I64, 1, &one, &value);
}

/* The tensors of one part, as GROUP/TENSOR. */
static fl_status save_params(cursor *to, const char *group, const fl_params *layout,
                             const float *data)
{
    for (size_t i = 0; i < layout->num_params; i++) {
        const fl_param *param = &layout->params[i];
        FL_CHECK(!strchr(param->name, '/'), FL_ERR_INTERNAL, "tensor name %s holds a '/'",
                 param->name);
        FL_TRY(fl_path_join(&to->set, group, param->name));
        FL_TRY(
            fl_h5_put(to->h5, to->set.data, FL_F32, param->ndim, param->dim, data + param->offset));
    }
    return FL_OK;
}

static fl_status save_progress(cursor *to, const fl_state *state)
{
    const char *program = state->program ? state->program : "";
    FL_TRY(save_number(to, "/meta/format", format_version));
    FL_TRY(fl_h5_put_text(to->h5, "/meta/program", program, strlen(program)));
    FL_TRY(
        fl_h5_put_text(to->h5, "/meta/config", fl_buf_text(&state->config), state->config.length));
    FL_TRY(save_number(to, "/progress/round", state->round));
    FL_TRY(save_number(to, "/progress/metrics_bytes", state->metrics_bytes));
    return fl_h5_put(to->h5, "/history/loss", FL_F64, 1, &state->round, state->loss);
}

static const char releases_path[] = "/privacy/releases", epsilon_path[] = "/privacy/epsilon";

static fl_status save_privacy(cursor *to, const fl_state *state)
{
    if (state->releases == 0) return FL_OK;
    FL_TRY(save_number(to, releases_path, state->releases));
    return fl_h5_put(to->h5, epsilon_path, FL_F64, 1, &one, &state->epsilon);
}

static fl_status save_all(cursor *to, const fl_state *state)
{
    FL_TRY(save_progress(to, state));
    FL_TRY(save_privacy(to, state));
    FL_TRY(save_params(to, "/adapter", state->adapter, state->adapter->data));
    for (size_t i = 0; i < state->num_server; i++) {
        const fl_named_params *part = &state->server[i];
        FL_TRY(fl_path_join(&to->group, "/server", part->name));
        FL_TRY(save_params(to, to->group.data, part->params, part->params->data));
    }
    return FL_OK;
}

fl_status fl_state_save(const char *dir, fl_state *state)
{
    cursor to = {0};
    fl_buf path = {0}, previous = {0};
    fl_status status;
    FL_TRY_GOTO(fl_path_join(&path, dir, state_name), out);
    FL_TRY_GOTO(fl_path_join(&previous, dir, previous_name), out);
    FL_TRY_GOTO(fl_h5_create(&to.h5), out);
    FL_TRY_GOTO(save_all(&to, state), out);
    /* A damaged state.h5 must not take the place of the good state.prev.h5 (invariant 2). */
    FL_TRY_GOTO(fl_h5_finish(to.h5, path.data, state->recovered ? NULL : previous.data), out);
    state->recovered = false;
out:
    close_cursor(&to);
    fl_buf_fini(&path);
    fl_buf_fini(&previous);
    return status;
}

/* Loading. */

static fl_status made_with_another(const cursor *from, const char *what, const char *detail)
{
    FL_FAIL(FL_ERR_INPUT, "%s: was made with another %s (%s)", from->file.data, what, detail);
}

static fl_status load_number(int64_t *out, const cursor *from, const char *path)
{
    FL_TRY(fl_h5_get(from->h5, path, FL_I64, 1, &one, out));
    FL_CHECK(*out >= 0, FL_ERR_INPUT, "%s: %s = %" PRId64 " is negative", from->file.data, path,
             *out);
    return FL_OK;
}

/* Every tensor of the layout is there in its shape, and no other is: an adapter of another model
 * must not be taken for this one's because their first tensors agree. */
static fl_status load_params(cursor *from, const char *group, const fl_params *layout, float *data)
{
    static const char what[] = "model or LoRA set-up";
    for (size_t i = 0; i < layout->num_params; i++) {
        const fl_param *param = &layout->params[i];
        FL_TRY(fl_path_join(&from->set, group, param->name));
        fl_status status = fl_h5_get(from->h5, from->set.data, FL_F32, param->ndim, param->dim,
                                     data + param->offset);
        if (status == FL_ERR_INPUT) return made_with_another(from, what, fl_error_text());
        FL_TRY(status);
    }
    size_t count;
    FL_TRY(fl_h5_count(&count, from->h5, group));
    if (count != layout->num_params) return made_with_another(from, what, "it has more tensors");
    return FL_OK;
}

static fl_status load_loss(const cursor *from, fl_state *state)
{
    static const char path[] = "/history/loss";
    int ndim;
    int64_t dim[FL_MAX_DIMS];
    FL_TRY(fl_h5_dims(from->h5, path, &ndim, dim)); /* before memory is asked for */
    FL_CHECK(ndim == 1 && dim[0] == state->round, FL_ERR_INPUT,
             "%s: %s does not have one value per round", from->file.data, path);
    FL_TRY(fl_grow(&state->loss, &state->loss_capacity, (size_t)dim[0], sizeof *state->loss));
    return fl_h5_get(from->h5, path, FL_F64, 1, dim, state->loss);
}

static fl_status load_progress(const cursor *from, fl_state *state)
{
    int64_t version;
    FL_TRY(load_number(&version, from, "/meta/format"));
    FL_CHECK(version == format_version, FL_ERR_UNSUPPORTED,
             "%s: schema version %" PRId64 ", this program reads version %" PRId64, from->file.data,
             version, format_version);
    FL_TRY(fl_h5_get_text(from->h5, "/meta/config", &state->config));
    FL_TRY(load_number(&state->round, from, "/progress/round"));
    FL_TRY(load_number(&state->metrics_bytes, from, "/progress/metrics_bytes"));
    return load_loss(from, state);
}

/* The vector anew, in the file's length; the file's seal was checked, so that is not beyond its
 * size. */
static fl_status resize(cursor *from, const char *group, fl_params *params)
{
    int ndim;
    int64_t dim[FL_MAX_DIMS];
    fl_params fresh;
    const char *name = params->params[0].name;
    FL_ASSERT(params->num_params == 1 && params->params[0].ndim == 1);
    FL_TRY(fl_path_join(&from->set, group, name));
    FL_TRY(fl_h5_dims(from->h5, from->set.data, &ndim, dim));
    FL_CHECK(ndim == 1, FL_ERR_INPUT, "%s: %s is not a vector", from->file.data, from->set.data);
    FL_TRY(fl_params_init(&fresh, 1));
    fl_status status = fl_params_add(&fresh, name, 1, dim);
    if (status == FL_OK) status = fl_params_allocate(&fresh);
    if (status != FL_OK) {
        fl_params_fini(&fresh);
        return status;
    }
    fl_params_fini(params);
    *params = fresh;
    return FL_OK;
}

static fl_status load_privacy(const cursor *from, fl_state *state)
{
    if (!fl_h5_has(from->h5, releases_path)) return FL_OK;
    FL_TRY(load_number(&state->releases, from, releases_path));
    FL_CHECK(state->releases >= state->round, FL_ERR_INPUT, "%s: %s is less than the rounds done",
             from->file.data, releases_path);
    return fl_h5_get(from->h5, epsilon_path, FL_F64, 1, &one, &state->epsilon);
}

static fl_status load_server(cursor *from, const fl_state *state)
{
    size_t count;
    FL_TRY(fl_h5_count(&count, from->h5, "/server"));
    if (count != state->num_server)
        return made_with_another(from, "algorithm", "the server states differ");
    for (size_t i = 0; i < state->num_server; i++) {
        const fl_named_params *part = &state->server[i];
        FL_TRY(fl_path_join(&from->group, "/server", part->name));
        if (!fl_h5_has(from->h5, from->group.data))
            return made_with_another(from, "algorithm", "the server states differ");
        if (part->grows) FL_TRY(resize(from, from->group.data, part->params));
        FL_TRY(load_params(from, from->group.data, part->params, part->params->data));
    }
    return FL_OK;
}

/* The previous file in place of one that is missing or damaged: `reason` says which. */
static fl_status open_previous(cursor *from, const fl_buf *reason, fl_status status)
{
    if (fl_h5_open(&from->h5, from->file.data) != FL_OK)
        return fl_fail(status, "%s, and %s", fl_buf_text(reason), fl_error_text());
    FL_WARN("%s; continuing from %s", fl_buf_text(reason), from->file.data);
    return FL_OK;
}

/* from->h5 stays NULL when there is no state at all. */
static fl_status open_newest(cursor *from, const char *dir, bool *recovered)
{
    fl_buf previous = {0}, reason = {0};
    fl_status status;
    *recovered = false;
    FL_TRY_GOTO(fl_path_join(&from->file, dir, state_name), out);
    FL_TRY_GOTO(fl_path_join(&previous, dir, previous_name), out);
    bool has_previous = fl_path_exists(previous.data);
    if (fl_path_exists(from->file.data))
        status = fl_h5_open(&from->h5, from->file.data);
    else if (has_previous)
        status = fl_fail(FL_ERR_INPUT, "%s is missing", from->file.data);
    bool damaged = status == FL_ERR_INPUT || status == FL_ERR_UNSUPPORTED;
    if (!damaged || !has_previous) goto out;
    const fl_status first = status;
    FL_TRY_GOTO(fl_buf_add_text(&reason, fl_error_text()), out);
    FL_TRY_GOTO(fl_path_join(&from->file, dir, previous_name), out);
    FL_TRY_GOTO(open_previous(from, &reason, first), out);
    *recovered = true;
out:
    fl_buf_fini(&previous);
    fl_buf_fini(&reason);
    return status;
}

static fl_status load_all(cursor *from, fl_state *state)
{
    FL_TRY(load_progress(from, state));
    FL_TRY(load_privacy(from, state));
    FL_TRY(load_params(from, "/adapter", state->adapter, state->adapter->data));
    return load_server(from, state);
}

fl_status fl_state_load(const char *dir, fl_state *state, bool *found)
{
    cursor from = {0};
    bool recovered;
    fl_status status = open_newest(&from, dir, &recovered);
    if (status == FL_OK && from.h5) status = load_all(&from, state);
    if (status == FL_OK) {
        *found = from.h5 != NULL;
        state->recovered = recovered;
    }
    close_cursor(&from);
    return status;
}
