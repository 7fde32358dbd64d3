/* The rounds of a run: train, evaluate, save, say. */
#include "app/run.h"

#include "base/clock.h"
#include "base/log.h"
#include "fed/agree.h"
#include "train/schedule.h"

#include <stdio.h>

/* Is the adapter evaluated after `done` completed rounds? */
static bool eval_due(const fl_run *run, int64_t done)
{
    const fl_options *o = &run->options;
    if (run->eval_set.count == 0) return false;
    if (done == 0 || done == o->fed.num_rounds) return true;
    return o->eval.eval_freq > 0 && done % o->eval.eval_freq == 0;
}

/* "  margin 0.123  accuracy 0.95" */
static void write_measures(const fl_run *run, const double *values, char *out, size_t size)
{
    const fl_measure *measures = run->data.objective->measures;
    size_t length = 0;
    out[0] = 0;
    for (int m = 0; m < FL_MAX_MEASURES && length < size; m++)
        if (measures[m].label)
            length += (size_t)snprintf(out + length, size - length, "  %s %.3f", measures[m].label,
                                       values[m]);
}

/* What the clients did, but for private runs, which tell what it cost. */
static void say_round(const fl_run *run, const fl_round_result *result, double seconds)
{
    int64_t done = result->round + 1, all = run->options.fed.num_rounds;
    double elapsed = fl_clock_seconds() - run->seconds_start;
    double left = elapsed / (double)(done - run->start_round) * (double)(all - done);
    char text[32], measures[96], note[64] = "";
    write_measures(run, result->measures, measures, sizeof measures);
    fl_log_duration(text, sizeof text, left);
    if (result->num_answered < result->num_clients)
        snprintf(note, sizeof note, "  %lld of %lld clients answered",
                 (long long)result->num_answered, (long long)result->num_clients);
    if (fl_privacy_is_accounted(run->privacy))
        FL_INFO("round %lld/%lld  epsilon %.4g at delta %g  %s left", (long long)done,
                (long long)all, run->state.epsilon, run->options.fed.dp_delta, text);
    else
        FL_INFO("round %lld/%lld  loss %.4f%s  %.0f tokens/s  %s left%s", (long long)done,
                (long long)all, result->loss, measures, (double)result->tokens / seconds, text,
                note);
    fl_log_progress((double)done / (double)all, text);
}

static fl_status run_round(fl_run *run, int64_t t)
{
    const fl_options *o = &run->options;
    bool root = fl_transport_rank(run->transport) == 0;
    double start = fl_clock_seconds();
    double rate =
        fl_cosine_lr(o->train.learning_rate, o->train.learning_rate_min, t, o->fed.num_rounds);
    fl_round_result result;
    if (run->privacy) FL_TRY(fl_agree(run->transport, root ? fl_run_privacy_allows(run) : FL_OK));
    FL_TRY(fl_round_run(run->round, t, rate, &result));
    if (root) fl_run_privacy_count(run, &result);
    double seconds = fl_clock_seconds() - start;
    FL_TRY(fl_agree(run->transport, root ? fl_record_round(run, &result, seconds) : FL_OK));
    if (eval_due(run, t + 1)) FL_TRY(fl_run_evaluate(run, t + 1));
    FL_TRY(fl_agree(run->transport, root ? fl_run_files_save(run, &result) : FL_OK));
    if (root) say_round(run, &result, seconds);
    return FL_OK;
}

fl_status fl_run_rounds(fl_run *run)
{
    FL_TRY(fl_transport_bcast(run->transport, 0, &run->start_round, sizeof run->start_round));
    run->seconds_start = fl_clock_seconds();
    if (run->start_round == 0 && eval_due(run, 0)) FL_TRY(fl_run_evaluate(run, 0));
    for (int64_t t = run->start_round; t < run->options.fed.num_rounds; t++)
        FL_TRY(run_round(run, t));
    return FL_OK;
}
