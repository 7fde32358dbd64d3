/* The account of a private run: what its rounds have cost, what the next may cost.
 *
 * A round counts from the moment its noised result may have been seen, which is when its line goes
 * into metrics.jsonl, not when state.h5 knows of it: a round that is interrupted between the two is
 * done again with other clients and other noise, and both results count.  Since the options of a
 * run cannot change, the account is a number of rounds. */
#include "app/run.h"
#include "base/file.h"
#include "base/log.h"
#include "fed/participation.h"

#include <math.h>
#include <string.h>

fl_status fl_run_privacy_open(fl_run *run)
{
    const fl_options *o = &run->options;
    bool root = fl_transport_rank(run->transport) == 0;
    FL_TRY(fl_privacy_create(&run->privacy, &o->fed, run->algorithm, root));
    FL_CHECK(!fl_privacy_is_accounted(run->privacy) || !o->eval.eval_data[0] ||
                 strcmp(o->eval.eval_data, o->data.dataset_name) != 0,
             FL_ERR_USAGE,
             "eval_data is dataset_name: what an evaluation on the clients' records tells is not "
             "covered by dp");
    return FL_OK;
}

static const char round_line[] = "{\"event\":\"round\"";

/* Lines of rounds behind the first `from` bytes of the file. */
static fl_status count_rounds(int64_t *count, const char *path, int64_t from)
{
    fl_buf text = {0};
    *count = 0;
    if (!fl_path_exists(path)) return FL_OK;
    FL_TRY(fl_file_read(&text, path, 0));
    const char *at = fl_buf_text(&text);
    if ((size_t)from <= text.length)
        for (at += from; (at = strstr(at, round_line)); at += sizeof round_line - 1)
            ++*count;
    fl_buf_fini(&text);
    return FL_OK;
}

fl_status fl_run_privacy_resume(fl_run *run, const char *dir)
{
    if (!fl_privacy_is_accounted(run->privacy)) return FL_OK;
    fl_buf path = {0};
    int64_t again = 0;
    fl_status status = fl_path_join(&path, dir, "metrics.jsonl");
    if (status == FL_OK)
        status = count_rounds(&again, fl_buf_text(&path), run->state.metrics_bytes);
    fl_buf_fini(&path);
    FL_TRY(status);
    if (again == 0) return FL_OK;
    FL_WARN("%lld round(s) that were interrupted when their result was known will be done again "
            "with other noise; both count for epsilon",
            (long long)again);
    run->state.releases += again;
    run->state.epsilon = fl_privacy_epsilon(run->privacy, run->state.releases);
    return fl_state_save(dir, &run->state); /* before the lines, which prove it, are cut off */
}

void fl_run_privacy_count(fl_run *run, fl_round_result *result)
{
    if (!fl_privacy_is_accounted(run->privacy)) return;
    result->loss = (double)NAN; /* it is the clients' and has no noise */
    run->state.releases++;
    run->state.epsilon = fl_privacy_epsilon(run->privacy, run->state.releases);
}

fl_status fl_run_privacy_allows(fl_run *run)
{
    double budget = run->options.fed.dp_epsilon;
    if (!fl_privacy_is_accounted(run->privacy) || budget == 0) return FL_OK;
    double next = fl_privacy_epsilon(run->privacy, run->state.releases + 1);
    if (next <= budget) return FL_OK;
    FL_TRY(fl_run_files_checkpoint(run));
    FL_FAIL(FL_ERR_LIMIT,
            "the privacy budget ends the run after %lld of %lld rounds: the next would make "
            "epsilon %.4g, above dp_epsilon = %g (now %.4g at delta %g)",
            (long long)run->state.round, (long long)run->options.fed.num_rounds, next, budget,
            run->state.epsilon, run->options.fed.dp_delta);
}

void fl_run_privacy_describe(const fl_run *run)
{
    const fl_fed_config *fed = &run->options.fed;
    if (!run->privacy || fl_transport_rank(run->transport) != 0) return;
    FL_INFO("privacy   each client with probability %lld/%lld, clip %g, noise %g on the sum",
            (long long)fl_participation_count(fed), (long long)fed->num_clients, fed->dp_clip,
            fed->dp_clip * fed->dp_noise_multiplier);
    if (!fl_privacy_is_accounted(run->privacy)) {
        FL_WARN("unsafe: with dp_seed the noise can be made again and protects nobody; no epsilon "
                "is told");
        return;
    }
    FL_INFO("          epsilon %.4g at delta %g after all %lld rounds",
            fl_privacy_epsilon(run->privacy, fed->num_rounds), fed->dp_delta,
            (long long)fed->num_rounds);
    if (fed->dp_epsilon > 0)
        FL_INFO("          the budget dp_epsilon = %g allows %lld of them", fed->dp_epsilon,
                (long long)fl_privacy_allowed(run->privacy));
}
