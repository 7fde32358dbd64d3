/* Optimiser steps of the workloads of scripts/gpu_check.sh through the trainer, timed.
 *
 *     bench_train MODEL [--workloads g1,g2] [--export FOLDER] [--key value ...]
 *     bench_train --list
 *
 * MODEL: folder with config.json and safetensors, see make_checkpoint.  Prints a JSON object per
 * workload; one that fails has "error" instead of figures, the others still run.  A step's time is
 * that from the end of the step before to its own, waited for; the first of a run is not counted.
 */
#include "workload.h"

#include "base/clock.h"
#include "base/conf.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 256 };

static struct options {
    const char *backend, *export_dir;
    fl_conf_list workloads;
    bool tiny;
    int64_t losses, least, most, threads;
    double seconds;
} options;

#define AT(field) offsetof(struct options, field)

// clang-format off
static const fl_conf_row rows[] = {
    {"workloads", FL_CONF_LIST, AT(workloads), "", 0, 0, NULL, "names; none: all whose base is kept as stored"},
    {"backend", FL_CONF_STRING, AT(backend), "auto", 0, 0, NULL, "as in a config file"},
    {"export", FL_CONF_STRING, AT(export_dir), "", 0, 0, NULL, "folder: writes what a peer reads into FOLDER/WORKLOAD"},
    {"tiny", FL_CONF_BOOL, AT(tiny), "false", 0, 0, NULL, "short sequences, small batches"},
    {"losses", FL_CONF_INT, AT(losses), "10", 1, MAX_STEPS, NULL, "steps whose losses are printed; they warm up as well"},
    {"seconds", FL_CONF_FLOAT, AT(seconds), "6", 0, 3600, NULL, "of timed steps, within the next two"},
    {"least_steps", FL_CONF_INT, AT(least), "5", 1, MAX_STEPS - 1, NULL, "timed at the least"},
    {"most_steps", FL_CONF_INT, AT(most), "20", 1, MAX_STEPS - 1, NULL, "timed at the most"},
    {"threads", FL_CONF_INT, AT(threads), "1", 1, 1024, NULL, "of the cpu backend"},
};
// clang-format on

/* Ends of the steps of a run; the hook waits for the device. */
typedef struct stopwatch {
    const fl_backend_ops *ops;
    double at[MAX_STEPS];
    int64_t count;
} stopwatch;

static void step_ended(void *context, float *weights, double learning_rate)
{
    (void)learning_rate;
    stopwatch *watch = context;
    float value;
    watch->ops->copy_out(&value, weights, sizeof value);
    watch->at[watch->count++] = fl_clock_seconds();
}

/* One workload, open. */
typedef struct bench {
    workload w;
    const fl_backend_ops *ops;
    fl_model *model;
    fl_lora_config lora;
    fl_params adapter;
    fl_train_config train;
    fl_trainer *trainer;
    workload_data data;
    double losses[MAX_STEPS];
    stopwatch watch;
    double open_seconds;
} bench;

static void set_training(bench *b)
{
    b->train = (fl_train_config){.objective = b->w.objective,
                                 .batch_size = b->w.batch,
                                 .gradient_accumulation_steps = 1,
                                 .learning_rate = 1e-4,
                                 .max_grad_norm = 1,
                                 .adam_beta1 = 0.9,
                                 .adam_beta2 = 0.999,
                                 .adam_epsilon = 1e-8,
                                 .seed = 1,
                                 .dpo_loss = "dpo",
                                 .dpo_beta = 0.1};
}

static fl_status open_adapter(bench *b)
{
    static const char *const few[] = {"q_proj", "v_proj"}, *const all[] = {"all-linear"};
    b->lora = (fl_lora_config){.r = b->w.r, .alpha = b->w.alpha, .dropout = (float)b->w.dropout};
    FL_TRY(fl_lora_set_targets(&b->lora, &b->model->config, b->w.all_linears ? all : few,
                               b->w.all_linears ? 1 : 2));
    return fl_lora_create(&b->adapter, &b->lora, &b->model->config, 1);
}

static fl_status open_data(bench *b, int64_t steps)
{
    FL_TRY(workload_make_data(&b->data, &b->w, steps, b->model->config.vocab_size,
                              b->ops->shares_prefixes));
    FL_CHECK(b->data.positions <= b->model->positions, FL_ERR_USAGE,
             "%s has sequences of %lld tokens, the model serves %lld", b->w.name,
             (long long)b->data.positions, (long long)b->model->positions);
    return FL_OK;
}

static fl_status open_trainer(bench *b)
{
    fl_trainer_limits limits = {.longest = b->data.longest, .most_examples = b->data.count};
    FL_TRY(fl_trainer_create(&b->trainer, b->model, &b->lora, &b->train, &limits));
    fl_trainer_set_adapter(b->trainer, b->adapter.data);
    return FL_OK;
}

static fl_status export(const bench *b, const char *model_dir)
{
    fl_buf dir = {0};
    const workload_start start = {.w = &b->w,
                                  .train = &b->train,
                                  .lora = &b->lora,
                                  .model = &b->model->config,
                                  .adapter = &b->adapter,
                                  .model_dir = model_dir};
    fl_status status = fl_path_join(&dir, options.export_dir, b->w.name);
    if (status == FL_OK) status = workload_export(fl_buf_text(&dir), &start, &b->data);
    fl_buf_fini(&dir);
    return status;
}

static fl_status run_steps(bench *b, int64_t steps)
{
    b->watch = (stopwatch){.ops = b->ops};
    b->train.max_steps = steps;
    const fl_train_hooks hooks = {.context = &b->watch, .after_step = step_ended};
    const fl_local_job job = {.data = workload_train_data(&b->data),
                              .indices = b->data.indices,
                              .count = (size_t)(b->w.batch * steps),
                              .learning_rate = b->train.learning_rate,
                              .hooks = &hooks,
                              .losses = b->losses};
    fl_local_result result;
    FL_TRY(fl_trainer_run(b->trainer, &job, &result));
    FL_CHECK(result.finite && b->watch.count == steps, FL_ERR_INTERNAL,
             "%s: a loss that is not finite", b->w.name);
    return FL_OK;
}

/* ---- figures -------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Memory of the first device in use, in bytes, or 0: all that this process took is still its own.
 */
static double device_memory(void)
{
    double mebibytes = 0;
    FILE *tool = popen("nvidia-smi -i 0 --query-gpu=memory.used --format=csv,noheader,nounits "
                       "2>/dev/null",
                       "r");
    if (!tool) return 0;
    if (fscanf(tool, "%lf", &mebibytes) != 1) mebibytes = 0;
    pclose(tool);
    return mebibytes * 1048576;
}

static void print_numbers(const char *name, const double *values, int64_t count, double times)
{
    printf(", \"%s\": [", name);
    for (int64_t i = 0; i < count; i++)
        printf(i ? ", %.6f" : "%.6f", values[i] * times);
    printf("]");
}

static void print_times(const bench *b)
{
    double ms[MAX_STEPS];
    int64_t n = b->watch.count - 1;
    for (int64_t i = 0; i < n; i++)
        ms[i] = 1e3 * (b->watch.at[i + 1] - b->watch.at[i]);
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    double seconds = b->watch.at[n] - b->watch.at[0];
    const workload_steps timed = {1, n};
    double tokens = workload_tokens(&b->w, &b->data, timed);
    printf(", \"steps\": %lld, \"ms\": %.4f, \"ms_quartiles\": [%.4f, %.4f], \"seconds\": %.6f"
           ", \"tokens\": %.0f, \"tokens_per_s\": %.1f, \"flops\": %.6g",
           (long long)n, (ms[(n - 1) / 2] + ms[n / 2]) / 2, ms[n / 4], ms[(3 * n) / 4], seconds,
           tokens, tokens / seconds,
           workload_flops(&b->w, &b->data, timed, &b->model->config, b->adapter.count));
}

static fl_status measure(bench *b, const char *dir)
{
    FL_TRY(open_data(b, options.losses > options.most ? options.losses : options.most + 1));
    if (*options.export_dir) FL_TRY(export(b, dir)); /* also for a peer that may have more room */
    FL_TRY(open_trainer(b));
    FL_TRY(run_steps(b, options.losses));
    double step = 0, losses[MAX_STEPS];
    memcpy(losses, b->losses, sizeof losses);
    if (options.losses > 1)
        step = b->watch.at[options.losses - 1] - b->watch.at[options.losses - 2];
    double wanted = step > 0 ? options.seconds / step : (double)options.most;
    wanted = fmax((double)options.least, fmin((double)options.most, wanted));
    FL_TRY(run_steps(b, (int64_t)wanted + 1));
    printf(", \"open_s\": %.2f", b->open_seconds);
    print_times(b);
    printf(", \"device_bytes\": %.0f, \"layers\": %lld",
           strcmp(b->ops->name, "cuda") == 0 ? device_memory() : 0.0,
           (long long)b->model->config.num_layers);
    print_numbers("losses", losses, options.losses, 1);
    return FL_OK;
}

static void close_workload(bench *b)
{
    fl_trainer_destroy(b->trainer);
    workload_free_data(&b->data);
    fl_params_fini(&b->adapter);
    fl_lora_fini(&b->lora);
    b->trainer = NULL;
}

/* ---- the program ---------------------------------------------------------------------------- */

/* Workloads of one format in a row share the model. */
static fl_status open_base(bench *b, const char *dir)
{
    double start = fl_clock_seconds();
    if (!b->model || b->model->format != b->w.format) {
        fl_model_close(b->model);
        b->model = NULL;
        FL_TRY(fl_model_open_as(&b->model, dir, b->ops, 0, b->w.format, false));
    }
    b->open_seconds = fl_clock_seconds() - start;
    return open_adapter(b);
}

static fl_status run_workload(bench *b, const char *dir, const workload *w)
{
    b->w = options.tiny ? workload_tiny(w) : *w;
    set_training(b);
    printf("{\"side\": \"ours\", \"workload\": \"%s\", \"backend\": \"%s\"", w->name, b->ops->name);
    fl_status status = open_base(b, dir);
    if (status == FL_OK) status = measure(b, dir);
    if (status != FL_OK) {
        printf(", \"error\": \"failed\"");
        fprintf(stderr, "bench_train: %s: %s\n", w->name, fl_error_text());
    }
    printf("}\n");
    fflush(stdout);
    close_workload(b);
    return status;
}

/* FL_OK, or the last failure. */
static fl_status run_all(bench *b, const char *dir)
{
    const fl_conf_list *names = &options.workloads;
    fl_status all = FL_OK;
    for (size_t i = 0; i < workload_count; i++) {
        bool wanted = names->count == 0 && workloads[i].format == FL_STORED;
        for (size_t n = 0; n < names->count; n++)
            wanted |= strcmp(names->items[n], workloads[i].name) == 0;
        if (!wanted) continue;
        fl_status status = run_workload(b, dir, &workloads[i]);
        if (status != FL_OK) all = status;
    }
    fl_model_close(b->model);
    return all;
}

static void list(void)
{
    for (size_t i = 0; i < workload_count; i++)
        printf("%s %lld\n", workloads[i].name, (long long)workloads[i].layers);
}

static fl_status read_options(fl_conf **conf, int argc, char **argv)
{
    static const fl_conf_group group = {"bench", "", rows, sizeof rows / sizeof rows[0], &options};
    FL_TRY(fl_conf_create(conf, &group, 1));
    FL_TRY(fl_conf_override(*conf, argc, argv));
    FL_TRY(fl_conf_finish(*conf));
    for (size_t i = 0; i < options.workloads.count; i++)
        FL_CHECK(workload_find(options.workloads.items[i]), FL_ERR_USAGE,
                 "there is no workload %.40s", options.workloads.items[i]);
    return FL_OK;
}

int main(int argc, char **argv)
{
    static bench b;
    fl_conf *conf = NULL;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    if (argc < 2 || argv[1][0] == '-') {
        fputs("usage: bench_train MODEL [--key value ...], bench_train --list\n", stderr);
        return 2;
    }
    fl_status status = read_options(&conf, argc - 2, argv + 2);
    if (status == FL_OK) {
        fl_backend_set_threads((int)options.threads);
        status = fl_backend_open(&b.ops, options.backend, 0);
    }
    if (status == FL_OK) status = fl_backend_set_compute(b.ops, "auto");
    if (status == FL_OK)
        status = run_all(&b, argv[1]);
    else
        fprintf(stderr, "bench_train: %s\n", fl_error_text());
    fl_conf_destroy(conf);
    return fl_status_exit_code(status);
}
