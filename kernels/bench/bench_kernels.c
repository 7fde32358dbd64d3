/* Times of a backend's operations at the shapes of Llama-2-7B, one JSON object per line.
 *
 *     bench_kernels [--backend NAME] [--tokens N] [--kernels square,copy] [--seconds S] [--tiny]
 *
 * Wall clock around as many launches as fill a fifth of the seconds, waited for by copying one
 * number out; the median of five such runs after one that warms up.  Every object says how many
 * operations and bytes the mathematics cannot do without (bench_rows.h); scripts/gpu_report.py
 * makes floors of these.
 */
#include "bench_rows.h"

#include "base/clock.h"
#include "base/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 5, HEAD = 128, TINY_HEAD = 32 };

static struct options {
    const char *backend;
    fl_conf_list kernels;
    int64_t tokens, threads;
    double seconds;
    bool tiny;
} options;

#define AT(field) offsetof(struct options, field)

// clang-format off
static const fl_conf_row rows[] = {
    {"backend", FL_CONF_STRING, AT(backend), "auto", 0, 0, NULL, "as in a config file"},
    {"kernels", FL_CONF_LIST, AT(kernels), "", 0, 0, NULL, "names; none: all"},
    {"tokens", FL_CONF_INT, AT(tokens), "8192", 1, 1 << 20, NULL, "of the batch"},
    {"seconds", FL_CONF_FLOAT, AT(seconds), "0.25", 0, 60, NULL, "per kernel, within the next launch"},
    {"threads", FL_CONF_INT, AT(threads), "1", 1, 1024, NULL, "of the cpu backend"},
    {"tiny", FL_CONF_BOOL, AT(tiny), "false", 0, 0, NULL, "small shapes, for tests"},
};
// clang-format on

/* Milliseconds of one launch, over `count` of them. */
static double time_launches(bench_case *c, const bench_row *row, int64_t count)
{
    float value;
    double start = fl_clock_seconds();
    for (int64_t i = 0; i < count; i++)
        row->run(c);
    c->ops->copy_out(&value, c->y.data, sizeof value);
    return 1e3 * (fl_clock_seconds() - start) / (double)count;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(bench_case *c, const bench_row *row, double ms[REPEATS])
{
    time_launches(c, row, 1);
    double once = time_launches(c, row, 1);
    double wanted = 1e3 * options.seconds / REPEATS / (once > 1e-6 ? once : 1e-6);
    int64_t count = wanted < 1 ? 1 : wanted > 10000 ? 10000 : (int64_t)wanted;
    for (int i = 0; i < REPEATS; i++)
        ms[i] = time_launches(c, row, count);
    qsort(ms, REPEATS, sizeof *ms, ascending);
}

static void print_row(const bench_row *row, const double ms[REPEATS])
{
    double T = (double)row->T, N = (double)row->N, K = (double)row->K;
    fprintf(stdout, "{\"side\": \"ours\", \"kernel\": \"%s\", \"shape\": \"%lldx%lld", row->name,
            (long long)row->T, (long long)row->N);
    fprintf(stdout, row->K ? "x%lld\"" : "\"", (long long)row->K);
    fprintf(stdout,
            ", \"T\": %.0f, \"N\": %.0f, \"K\": %.0f, \"head\": %d, \"ms\": %.6f, "
            "\"ms_range\": [%.6f, %.6f], \"flops\": %.6g, \"bytes\": %.6g}\n",
            T, N, K, options.tiny ? TINY_HEAD : HEAD, ms[REPEATS / 2], ms[0], ms[REPEATS - 1],
            row->flops * T * N * K, 2 * (row->tn * T * N + row->tk * T * K + row->nk * N * K));
    fflush(stdout);
}

static bool is_wanted(const bench_row *row)
{
    for (size_t i = 0; i < options.kernels.count; i++)
        if (strcmp(options.kernels.items[i], row->name) == 0) return true;
    return options.kernels.count == 0;
}

static fl_status run_rows(const fl_backend_ops *ops)
{
    for (size_t i = 0; i < bench_row_count; i++) {
        if (!is_wanted(&bench_rows[i])) continue;
        bench_row row = bench_row_sized(&bench_rows[i], options.tokens, options.tiny);
        bench_case c;
        double ms[REPEATS];
        FL_TRY(bench_case_open(&c, ops, &row, options.tiny ? TINY_HEAD : HEAD));
        measure(&c, &row, ms);
        bench_case_close(&c);
        FL_TRY(ops->status());
        print_row(&row, ms);
    }
    return FL_OK;
}

static fl_status run(fl_conf **conf, int argc, char **argv)
{
    static const fl_conf_group group = {"bench", "", rows, sizeof rows / sizeof rows[0], &options};
    const fl_backend_ops *ops;
    FL_TRY(fl_conf_create(conf, &group, 1));
    FL_TRY(fl_conf_override(*conf, argc - 1, argv + 1));
    FL_TRY(fl_conf_finish(*conf));
    fl_backend_set_threads((int)options.threads);
    FL_TRY(fl_backend_open(&ops, options.backend, 0));
    FL_TRY(fl_backend_set_compute(ops, "auto"));
    return run_rows(ops);
}

int main(int argc, char **argv)
{
    fl_conf *conf = NULL;
    fl_status status = run(&conf, argc, argv);
    if (status != FL_OK) fprintf(stderr, "bench_kernels: %s\n", fl_error_text());
    fl_conf_destroy(conf);
    return fl_status_exit_code(status);
}
