/* NCCL.  The only file of the library that knows it.
 *
 * The communicator is one that does not block: calls return while work goes on, and the state is
 * asked for between sleeps.  So a rank that waits leaves its core to others, a failure elsewhere is
 * seen, and a start that hangs because a rank never came is given up.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "comm/device_sum.h"

#include <dlfcn.h>
#include <nccl.h>
#include <string.h>

/* A start or an end that takes longer is taken for one that hangs. */
enum { SECONDS_TO_START = 120, SECONDS_TO_END = 10 };

/* The functions that are called: name, arguments. */
#define NCCL_FUNCTIONS(X)                                                                         \
    X(ncclGetUniqueId, (ncclUniqueId *))                                                          \
    X(ncclCommInitRankConfig, (ncclComm_t *, int, ncclUniqueId, int, ncclConfig_t *))             \
    X(ncclCommGetAsyncError, (ncclComm_t, ncclResult_t *))                                        \
    X(ncclReduce,                                                                                 \
      (const void *, void *, size_t, ncclDataType_t, ncclRedOp_t, int, ncclComm_t, cudaStream_t)) \
    X(ncclCommFinalize, (ncclComm_t))                                                             \
    X(ncclCommDestroy, (ncclComm_t))                                                              \
    X(ncclCommAbort, (ncclComm_t))

typedef const char *error_string_fn(ncclResult_t);

static struct {
    void *library;
    error_string_fn *ncclGetErrorString;
#define X(name, arguments) ncclResult_t(*name) arguments;
    NCCL_FUNCTIONS(X)
#undef X
} nccl;

/* The arguments above are those of the header. */
#define X(name, arguments) \
    _Static_assert(_Generic(&name, ncclResult_t(*) arguments : 1, default : 0), #name);
NCCL_FUNCTIONS(X)
#undef X
_Static_assert(_Generic(&ncclGetErrorString, error_string_fn * : 1, default : 0), "error string");

struct fl_device_sum {
    ncclComm_t comm; /* NULL on ranks that add nothing */
    fl_device_queue queue;
};

/* ---- the library ---------------------------------------------------------------------------- */

static const char library_name[] = "libnccl.so.2";

/* A pointer to a function cannot be assigned from one to data. */
static bool find(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

static fl_status open_library(void)
{
    void *library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (!library) FL_FAIL(FL_ERR_UNSUPPORTED, "%s", dlerror());
    bool is_whole = find(library, "ncclGetErrorString", &nccl.ncclGetErrorString);
#define X(name, arguments) is_whole = is_whole && find(library, #name, &nccl.name);
    NCCL_FUNCTIONS(X)
#undef X
    if (is_whole) {
        nccl.library = library;
        return FL_OK;
    }
    (void)dlclose(library);
    FL_FAIL(FL_ERR_UNSUPPORTED, "%s lacks functions of NCCL 2.14", library_name);
}

fl_status fl_device_sum_load(void)
{
    return nccl.library ? FL_OK : open_library();
}

/* ---- waiting -------------------------------------------------------------------------------- */

static fl_status check(ncclResult_t result, const char *what)
{
    if (result == ncclSuccess || result == ncclInProgress) return FL_OK;
    FL_FAIL(FL_ERR_COMM, "NCCL, %s: %s", what, nccl.ncclGetErrorString(result));
}

typedef struct patience {
    double start, pause, most; /* most: seconds; 0: any time */
} patience;

static patience patience_of(double most)
{
    return (patience){.start = fl_clock_seconds(), .pause = 20e-6, .most = most};
}

static fl_status wait_a_little(patience *p, const char *what)
{
    FL_CHECK(p->most == 0 || fl_clock_seconds() - p->start < p->most, FL_ERR_COMM,
             "NCCL, %s: not done after %g seconds", what, p->most);
    fl_sleep_seconds(p->pause);
    if (p->pause < 2e-3) p->pause *= 1.125;
    return FL_OK;
}

/* Until what was begun is done as far as the host is concerned. */
static fl_status settle(ncclComm_t comm, ncclResult_t begun, double most, const char *what)
{
    patience p = patience_of(most);
    FL_TRY(check(begun, what));
    for (;;) {
        ncclResult_t state;
        FL_TRY(check(nccl.ncclCommGetAsyncError(comm, &state), what));
        FL_TRY(check(state, what));
        if (state == ncclSuccess) return FL_OK;
        FL_TRY(wait_a_little(&p, what));
    }
}

/* ---- opening and closing -------------------------------------------------------------------- */

/* Whether all ranks got so far; if not, `why` becomes the first one's reason. */
static fl_status agree(fl_transport *transport, fl_status mine, bool *all_well, fl_buf *why)
{
    fl_status all;
    int rank;
    fl_buf text = {0};
    fl_status status = fl_transport_agree(transport, mine, &all, &text, &rank);
    *all_well = status == FL_OK && all == FL_OK;
    if (status == FL_OK && all != FL_OK)
        status = fl_buf_addf(why, "rank %d: %s", rank, fl_buf_text(&text));
    fl_buf_fini(&text);
    return status;
}

static fl_status join(fl_device_sum *sum, fl_transport *transport, int first, ncclUniqueId id)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t begun =
        nccl.ncclCommInitRankConfig(&sum->comm, fl_transport_size(transport) - first, id,
                                    fl_transport_rank(transport) - first, &config);
    return sum->comm ? settle(sum->comm, begun, SECONDS_TO_START, "starting")
                     : check(begun == ncclSuccess ? ncclInternalError : begun, "starting");
}

/* The steps of opening; every one of them is a meeting of all ranks.  *all_well tells how it went.
 */
static fl_status connect_all(fl_device_sum *sum, fl_transport *transport, int first, bool *all_well,
                             fl_buf *why)
{
    int rank = fl_transport_rank(transport);
    ncclUniqueId id = {{0}};
    fl_status mine = sum ? FL_OK : FL_ERR_MEMORY;
    if (sum && rank >= first) mine = fl_device_sum_load();
    FL_TRY(agree(transport, mine, all_well, why));
    if (!*all_well) return FL_OK;
    mine = rank == first ? check(nccl.ncclGetUniqueId(&id), "naming the job") : FL_OK;
    FL_TRY(agree(transport, mine, all_well, why));
    if (!*all_well) return FL_OK;
    FL_TRY(fl_transport_bcast(transport, first, &id, sizeof id));
    mine = rank >= first ? join(sum, transport, first, id) : FL_OK;
    return agree(transport, mine, all_well, why);
}

static void leave_at_once(fl_device_sum *sum)
{
    if (sum && sum->comm) (void)nccl.ncclCommAbort(sum->comm);
    fl_free(sum);
}

fl_status fl_device_sum_open(fl_device_sum **out, fl_transport *transport, int first,
                             const fl_device_queue *queue, fl_buf *why)
{
    bool all_well = false;
    fl_device_sum *sum = NULL;
    *out = NULL;
    if (fl_alloc(&sum, 1, sizeof *sum) == FL_OK && queue) sum->queue = *queue;
    fl_status status = connect_all(sum, transport, first, &all_well, why);
    if (all_well)
        *out = sum;
    else
        leave_at_once(sum);
    return status;
}

void fl_device_sum_close(fl_device_sum *sum)
{
    if (!sum) return;
    if (!sum->comm) {
        fl_free(sum);
        return;
    }
    fl_status status =
        settle(sum->comm, nccl.ncclCommFinalize(sum->comm), SECONDS_TO_END, "ending");
    if (status != FL_OK) {
        leave_at_once(sum);
        return;
    }
    (void)nccl.ncclCommDestroy(sum->comm);
    fl_free(sum);
}

/* ---- adding --------------------------------------------------------------------------------- */

fl_status fl_device_sum_reduce(fl_device_sum *sum, int64_t *values, size_t count)
{
    static const char what[] = "a sum between devices";
    cudaStream_t stream = sum->queue.stream;
    FL_TRY(settle(sum->comm,
                  nccl.ncclReduce(values, values, count, ncclInt64, ncclSum, 0, sum->comm, stream),
                  0, what));
    patience p = patience_of(0);
    while (!sum->queue.is_done()) {
        ncclResult_t state;
        FL_TRY(check(nccl.ncclCommGetAsyncError(sum->comm, &state), what));
        FL_TRY(check(state, what));
        FL_TRY(wait_a_little(&p, what));
    }
    return FL_OK;
}
