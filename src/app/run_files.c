/* The folder of a run: start, resume, save.
 *
 * 1. state.h5 is the truth.  A line of metrics.jsonl, an adapter, a checkpoint or a client state
 *    (io/client_state.h) that it does not know of belongs to a round that will be done again, with
 * the same bytes.
 * 2. Order at the end of a round: metrics line, adapter, checkpoint, then state.h5.
 * 3. A folder is continued only with the options it was started with (but for those that do not
 *    change results), and never overwritten unless --fresh says so.
 */
#include "app/run.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "fed/own_factor.h"
#include "fedllm_version.h"
#include "io/client_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char *const run_files[] = {"config.cfg", "metrics.jsonl", "state.h5", "state.prev.h5",
                                        "train.log"};
static const char *const adapter_files[] = {"adapter_model.safetensors", "adapter_config.json"};
enum {
    NUM_RUN_FILES = sizeof run_files / sizeof run_files[0],
    NUM_ADAPTER_FILES = sizeof adapter_files / sizeof adapter_files[0]
};

/* Keys that may differ between the start and the continuation of a run. */
static const char *const free_keys[] = {"output_dir",   "log_level",       "threads",
                                        "eval_batch",   "backend",         "gradient_checkpointing",
                                        "memory_limit", "clients_per_pass"};

/* ---- starting over -------------------------------------------------------------------------- */

static fl_status remove_file(const char *dir, const char *name)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, name);
    if (status == FL_OK && unlink(fl_buf_text(&path)) != 0 && errno != ENOENT)
        status =
            fl_fail(FL_ERR_IO, "%s: cannot be removed: %s", fl_buf_text(&path), strerror(errno));
    fl_buf_fini(&path);
    return status;
}

static fl_status remove_adapter(const char *dir, const char *name)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, name);
    for (size_t i = 0; i < NUM_ADAPTER_FILES && status == FL_OK; i++)
        if (fl_path_exists(fl_buf_text(&path)))
            status = remove_file(fl_buf_text(&path), adapter_files[i]);
    if (status == FL_OK) rmdir(fl_buf_text(&path)); /* stays when the user put files into it */
    fl_buf_fini(&path);
    return status;
}

static bool is_leftover_of(const char *name, const char *const *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(files[i]);
        if (strncmp(name, files[i], length) == 0 && strncmp(name + length, ".tmp-", 5) == 0)
            return true;
    }
    return false;
}

/* A process killed inside an atomic write leaves its unfinished file: NAME.tmp-PID-N. */
static bool is_leftover(const char *name)
{
    return is_leftover_of(name, run_files, NUM_RUN_FILES) ||
           is_leftover_of(name, adapter_files, NUM_ADAPTER_FILES);
}

static fl_status remove_leftovers(const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder) return FL_OK;
    fl_status status = FL_OK;
    for (struct dirent *entry; status == FL_OK && (entry = readdir(folder));)
        if (is_leftover(entry->d_name)) status = remove_file(dir, entry->d_name);
    closedir(folder);
    return status;
}

/* WORD and a number */
static bool is_numbered(const char *name, const char *word)
{
    size_t prefix = strlen(word);
    return strncmp(name, word, prefix) == 0 && name[prefix] &&
           strspn(name + prefix, "0123456789") == strlen(name + prefix);
}

static bool is_adapter(const char *name)
{
    return strcmp(name, "adapter") == 0 || is_numbered(name, "checkpoint-") ||
           is_numbered(name, "client-");
}

/* Calls `visit` with every adapter folder of the run: adapter, checkpoint-N, client-K. */
static fl_status for_adapters(const char *dir,
                              fl_status (*visit)(const char *dir, const char *name))
{
    DIR *folder = opendir(dir);
    FL_CHECK(folder, FL_ERR_IO, "%s: cannot be read: %s", dir, strerror(errno));
    fl_status status = FL_OK;
    for (struct dirent *entry; status == FL_OK && (entry = readdir(folder));)
        if (is_adapter(entry->d_name)) status = visit(dir, entry->d_name);
    closedir(folder);
    return status;
}

static fl_status clean_adapter(const char *dir, const char *name)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, name);
    if (status == FL_OK) status = remove_leftovers(fl_buf_text(&path));
    fl_buf_fini(&path);
    return status;
}

static fl_status remove_all_leftovers(const char *dir)
{
    FL_TRY(remove_leftovers(dir));
    FL_TRY(fl_client_files_clean(dir));
    return for_adapters(dir, clean_adapter);
}

/* Removes what a run leaves, and nothing else. */
static fl_status remove_run(const char *dir)
{
    for (size_t i = 0; i < NUM_RUN_FILES; i++)
        FL_TRY(remove_file(dir, run_files[i]));
    FL_TRY(fl_client_files_remove(dir));
    return for_adapters(dir, remove_adapter);
}

/* Nothing in it but what a run killed in its first moments leaves. */
static bool is_empty(const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder) return true;
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(folder));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                is_leftover(entry->d_name);
    closedir(folder);
    return empty;
}

/* ---- continuing ----------------------------------------------------------------------------- */

/* The next line that has to be the same: not a comment, not a free key.  NULL at the end. */
static const char *next_line(const char **at, size_t *length)
{
    while (**at) {
        const char *line = *at;
        *length = strcspn(line, "\n");
        *at = line + *length + (line[*length] == '\n');
        const char *word = line + strspn(line, " \t");
        bool skip = *word == '#' || *word == '\n' || *word == 0;
        for (size_t i = 0; i < sizeof free_keys / sizeof free_keys[0]; i++) {
            size_t key = strlen(free_keys[i]);
            skip = skip || (strncmp(word, free_keys[i], key) == 0 && strchr(" =:\t", word[key]));
        }
        if (!skip) return line;
    }
    return NULL;
}

static fl_status check_same_options(const char *dir, const char *old, const char *now)
{
    for (;;) {
        size_t old_length = 0, now_length = 0;
        const char *a = next_line(&old, &old_length), *b = next_line(&now, &now_length);
        if (!a && !b) return FL_OK;
        if (a && b && old_length == now_length && memcmp(a, b, old_length) == 0) continue;
        FL_FAIL(FL_ERR_USAGE,
                "%s holds a run with other options: there \"%.*s\", now \"%.*s\"; choose another "
                "output_dir, or start over with --fresh",
                dir, (int)old_length, a ? a : "", (int)now_length, b ? b : "");
    }
}

static fl_status open_metrics(fl_run *run, const char *dir)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, "metrics.jsonl");
    if (status == FL_OK)
        status = fl_metrics_open(&run->metrics, fl_buf_text(&path), run->state.metrics_bytes);
    fl_buf_fini(&path);
    return status;
}

static fl_status start_log(const char *dir)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, "train.log");
    if (status == FL_OK) status = fl_log_open_file(fl_buf_text(&path));
    fl_buf_fini(&path);
    return status;
}

static fl_status write_config(const char *dir, const fl_buf *config)
{
    fl_buf path = {0};
    fl_status status = fl_path_join(&path, dir, "config.cfg");
    if (status == FL_OK)
        status = fl_file_write_atomic(fl_buf_text(&path), config->data, config->length);
    fl_buf_fini(&path);
    return status;
}

/* Loads state.h5 if there is one and checks that it is of this run. */
static fl_status resume(fl_run *run, const char *dir, const fl_buf *config)
{
    bool found;
    run->state = (fl_state){.program = "fedllm " FL_VERSION,
                            .adapter = &run->adapter,
                            .server = run->server.named,
                            .num_server = run->server.num_named};
    FL_TRY(fl_state_load(dir, &run->state, &found));
    if (found) FL_TRY(check_same_options(dir, fl_buf_text(&run->state.config), config->data));
    fl_buf_clear(&run->state.config);
    FL_TRY(fl_buf_add(&run->state.config, config->data, config->length));
    if (found && run->method->moves_base) FL_TRY(fl_side_check(&run->server.side));
    run->start_round = run->state.round;
    if (found && run->start_round < run->options.fed.num_rounds)
        FL_INFO("continuing %s after round %lld", dir, (long long)run->start_round);
    return FL_OK;
}

/* Two jobs in one folder (one that was requeued while the old one still dies) would mix their
 * rounds. The lock ends with the process, however that ends.  Where the file system has no locks
 * there is none. */
static fl_status lock_folder(fl_run *run, const char *dir)
{
    enum { TRIES = 10 };
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FL_OK;
    run->folder_lock = fd;
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK) return FL_OK;
        FL_CHECK(i < TRIES, FL_ERR_USAGE, "%s is in use by another job", dir);
        fl_sleep_seconds(0.5);
    }
    return FL_OK;
}

void fl_run_files_close(fl_run *run)
{
    if (run->folder_lock > 0) close(run->folder_lock);
    run->folder_lock = 0;
}

static fl_status open_folder(fl_run *run, bool fresh, const fl_buf *config)
{
    const char *dir = run->options.run.output_dir;
    fl_buf marker = {0};
    FL_TRY(fl_make_dirs(dir));
    FL_TRY(lock_folder(run, dir));
    FL_TRY(fl_path_join(&marker, dir, "config.cfg"));
    bool is_run = fl_path_exists(fl_buf_text(&marker));
    fl_buf_fini(&marker);
    if (fresh)
        FL_TRY(remove_run(dir));
    else
        FL_CHECK(is_run || is_empty(dir), FL_ERR_USAGE,
                 "%s is not empty and holds no run; choose another output_dir, or give --fresh to "
                 "use it all the same",
                 dir);
    FL_TRY(remove_all_leftovers(dir));
    FL_TRY(resume(run, dir, config));
    FL_TRY(fl_run_privacy_resume(run, dir));
    FL_TRY(write_config(dir, config));
    FL_TRY(open_metrics(run, dir));
    return start_log(dir);
}

fl_status fl_run_files_open(fl_run *run, bool fresh)
{
    fl_buf config = {0};
    fl_status status = fl_conf_dump(run->options.conf, &config);
    if (status == FL_OK) status = open_folder(run, fresh, &config);
    fl_buf_fini(&config);
    return status;
}

/* ---- saving --------------------------------------------------------------------------------- */

static fl_status save_adapter(const fl_run *run, const fl_params *adapter, const char *name)
{
    fl_buf dir = {0};
    fl_status status = fl_path_join(&dir, run->options.run.output_dir, name);
    if (status == FL_OK) status = fl_run_save_adapter(run, fl_buf_text(&dir), adapter);
    fl_buf_fini(&dir);
    return status;
}

static bool checkpoint_due(const fl_run *run, int64_t done)
{
    return done % run->options.fed.save_model_freq == 0 || done == run->options.fed.num_rounds;
}

static fl_status save_checkpoint(const fl_run *run, int64_t done)
{
    char name[48];
    snprintf(name, sizeof name, "checkpoint-%lld", (long long)done);
    return save_adapter(run, &run->adapter, name);
}

/* After the last round, where clients keep a factor: client-K is the model of client K. */
static fl_status save_clients(const fl_run *run, int64_t done)
{
    if (!run->method->client || done < run->options.fed.num_rounds) return FL_OK;
    fl_own_factor own = {0};
    fl_params adapter = {0};
    char name[48];
    fl_status status;
    FL_TRY_GOTO(fl_params_like(&adapter, &run->adapter), out);
    FL_TRY_GOTO(fl_own_factor_init(&own, run->method, &run->adapter, run->options.run.output_dir),
                out);
    for (uint32_t k = 0; k < run->options.fed.num_clients; k++) {
        int64_t round = (int64_t)run->server.client_round.data[k];
        if (round == 0) continue;
        memcpy(adapter.data, run->adapter.data, adapter.count * sizeof *adapter.data);
        FL_TRY_GOTO(fl_own_factor_load(&own, k, round, adapter.data), out);
        snprintf(name, sizeof name, "client-%u", k);
        FL_TRY_GOTO(save_adapter(run, &adapter, name), out);
    }
out:
    fl_own_factor_fini(&own);
    fl_params_fini(&adapter);
    return status;
}

fl_status fl_run_files_checkpoint(fl_run *run)
{
    return run->state.round > 0 ? save_checkpoint(run, run->state.round) : FL_OK;
}

fl_status fl_run_files_save(fl_run *run, const fl_round_result *result)
{
    double start = fl_clock_seconds();
    FL_TRY(fl_metrics_sync(run->metrics)); /* the line counts a private round before it is seen */
    FL_TRY(save_adapter(run, &run->adapter, "adapter"));
    if (checkpoint_due(run, result->round + 1)) FL_TRY(save_checkpoint(run, result->round + 1));
    FL_TRY(save_clients(run, result->round + 1));
    FL_TRY(fl_state_add_round(&run->state, result->loss));
    run->state.metrics_bytes = fl_metrics_bytes(run->metrics);
    FL_TRY(fl_state_save(run->options.run.output_dir, &run->state));
    run->seconds_save = fl_clock_seconds() - start;
    return FL_OK;
}
