/* Algorithms of products: measured once, by one rank, and read by all ranks of the runs that
 * follow, so that none decides by its own clock. */
#include "app/options_load.h"
#include "app/run.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "fed/agree.h"

enum { TUNE_SECONDS = 600 };

fl_status fl_run_read_plans(fl_run *run)
{
    const char *path = run->options.run.gemm_plans;
    const fl_device_ops *device = run->ops->device;
    fl_buf text = {0};
    if (!path[0]) return FL_OK;
    FL_CHECK(device, FL_ERR_USAGE, "gemm_plans: the products of backend %s have one algorithm",
             run->ops->name);
    fl_status status = fl_share_text(&text, run->transport, path);
    if (status == FL_OK)
        status =
            fl_agree(run->transport, run->hosts_clients ? device->read_plans(path, &text) : FL_OK);
    fl_buf_fini(&text);
    return status;
}

/* Passes of all sizes, largest first; a batch is filled up by at least one row.  Targets are taken
 * some rows at a time (loss_rows), so that the last piece of a batch may be any quarter of it. */
static fl_status rehearse(fl_run *run)
{
    enum { PIECES = 4 };
    double start = fl_clock_seconds();
    int64_t step = run->ops->replay_rows, rows = run->ops->loss_rows;
    int64_t most = fl_trainer_capacity(run->trainer), left = most / step + 1;
    for (int64_t i = 0; left > 0 && fl_clock_seconds() - start < TUNE_SECONDS; i++, left--) {
        int64_t tokens = left * step - 1 < most ? left * step - 1 : most;
        int64_t targets = rows - i % PIECES * rows / PIECES;
        FL_TRY(fl_trainer_rehearse(run->trainer, tokens, targets < tokens ? targets : tokens));
    }
    if (left > 0)
        FL_WARN("%d seconds are over: passes of up to %lld tokens were left out, their products "
                "keep the library's own choice",
                TUNE_SECONDS, (long long)(left * step - 1));
    return FL_OK;
}

fl_status fl_run_tune(fl_run *run, const char *path)
{
    const fl_device_ops *device = run->ops->device;
    fl_buf text = {0};
    FL_CHECK(fl_transport_size(run->transport) == 1, FL_ERR_USAGE,
             "--tune is for one rank; the file is for any number");
    FL_CHECK(device, FL_ERR_USAGE, "--tune: the products of backend %s have one algorithm",
             run->ops->name);
    device->start_tuning();
    FL_TRY(rehearse(run));
    fl_status status = device->write_plans(&text);
    if (status == FL_OK) status = fl_file_write_atomic(path, text.data, text.length);
    fl_buf_fini(&text);
    if (status == FL_OK) FL_INFO("%s is written; gemm_plans = \"%s\" uses it", path, path);
    return status;
}
