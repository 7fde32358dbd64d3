#include "fed/sums.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

enum { USUAL_PIECE = 1 << 22 }; /* 32 MB */

/* What a message on the way of sums is about, in the place of a client. */
enum { MESSAGE_SUM = -2, MESSAGE_FAILURE = -3 };

enum { FAILURE_BYTES = 512, SECONDS_TO_BE_HEARD = 10 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Does the backend compute where the host can read? */
static bool is_near(const fl_backend_ops *ops)
{
    return !ops->device;
}

/* ---- memory --------------------------------------------------------------------------------- */

static fl_status allocate(fl_sums *s)
{
    const fl_backend_ops *ops = s->env.ops;
    bool is_root = fl_transport_rank(s->env.transport) == 0;
    for (int i = 0; i < s->num_sums; i++) {
        if (ops) FL_TRY(ops->alloc(&s->mine[i], s->count * sizeof *s->mine[i]));
        if (!is_root) continue;
        s->total[i] = s->mine[i];
        if (!ops || !is_near(ops)) FL_TRY(fl_alloc(&s->total[i], s->count, sizeof *s->total[i]));
    }
    if (!ops || is_near(ops)) return FL_OK;
    return ops->device->alloc_host(&s->piece, smaller(s->count, s->env.piece) * sizeof *s->piece);
}

fl_status fl_sums_init(fl_sums *out, const fl_sums_env *env, size_t count, int num_sums)
{
    FL_ASSERT(num_sums >= 1 && num_sums <= FL_MOST_SUMS);
    *out = (fl_sums){.env = *env, .num_sums = num_sums, .count = count};
    if (!out->env.piece) out->env.piece = USUAL_PIECE;
    return allocate(out);
}

void fl_sums_fini(fl_sums *s)
{
    const fl_backend_ops *ops = s->env.ops;
    for (int i = 0; i < s->num_sums; i++) {
        if (s->total[i] != s->mine[i]) fl_free(s->total[i]);
        if (ops) ops->release(s->mine[i]);
    }
    if (s->piece) ops->device->release_host(s->piece);
    *s = (fl_sums){0};
}

size_t fl_sums_bytes(const fl_backend_ops *ops, size_t count, int num_sums, bool alone)
{
    size_t sums = (size_t)num_sums * count * sizeof(int64_t);
    if (!ops || is_near(ops)) return sums;
    return (alone ? 2 : 1) * sums + smaller(count, USUAL_PIECE) * sizeof(int64_t);
}

void fl_sums_clear(fl_sums *s)
{
    const fl_backend_ops *ops = s->env.ops;
    for (int i = 0; i < s->num_sums; i++) {
        size_t bytes = s->count * sizeof *s->mine[i];
        if (ops)
            ops->zero(s->mine[i], bytes);
        else
            memset(s->total[i], 0, bytes);
    }
}

/* ---- to rank 0 ------------------------------------------------------------------------------ */

/* `part` integers of this rank's sum where the transport can read them; valid until the next call.
 */
static int64_t *in_host(const fl_sums *s, int64_t *mine, size_t part)
{
    const fl_backend_ops *ops = s->env.ops;
    if (is_near(ops)) return mine;
    ops->copy_out(s->piece, mine, part * sizeof *mine);
    return s->piece;
}

static fl_status through_transport(fl_sums *s, int which, size_t count)
{
    for (size_t done = 0, part; done < count; done += part) {
        part = smaller(count - done, s->env.piece);
        int64_t *at = s->env.ops ? in_host(s, s->mine[which] + done, part) : s->total[which] + done;
        FL_TRY(fl_transport_reduce_i64(s->env.transport, 0, at, part));
    }
    return FL_OK;
}

/* What a rank whose devices could not add says; all ranks end with it. */
static fl_status report_failure(fl_transport *transport, const fl_message *message, int64_t round)
{
    char text[FAILURE_BYTES] = "";
    FL_TRY(fl_transport_recv(transport, message->from, round, MESSAGE_FAILURE, text, sizeof text));
    FL_FAIL(FL_ERR_COMM, "rank %d: %.*s", message->from, (int)sizeof text - 1, text);
}

/* Rank 0: the sum from the first rank that trains, unless any of them says that it has failed. */
static fl_status receive(fl_sums *s, int which, size_t count, int64_t round)
{
    fl_transport *transport = s->env.transport;
    for (size_t done = 0, part; done < count; done += part) {
        fl_message message;
        part = smaller(count - done, s->env.piece);
        FL_TRY(fl_transport_peek(transport, FL_ANY_RANK, &message));
        if (message.client == MESSAGE_FAILURE) return report_failure(transport, &message, round);
        FL_TRY(fl_transport_recv(transport, message.from, round, MESSAGE_SUM,
                                 s->total[which] + done, part * sizeof *s->total[which]));
    }
    return FL_OK;
}

/* Rank 0 says it and ends all ranks, this one in its sleep: the others may be inside the sum for
 * ever.  Where rank 0 has its sum already and does not listen, this rank says it and ends them. */
static fl_status tell_failure(fl_transport *transport, int64_t round, fl_status failed)
{
    char text[FAILURE_BYTES] = "";
    strncpy(text, fl_error_text(), sizeof text - 1);
    FL_TRY(fl_transport_send(transport, 0, round, MESSAGE_FAILURE, text, sizeof text));
    fl_sleep_seconds(SECONDS_TO_BE_HEARD);
    FL_WARN("%s", text);
    return failed;
}

/* Rank 1 is the first that trains. */
static fl_status between_devices(fl_sums *s, int which, size_t count, int64_t round)
{
    fl_transport *transport = s->env.transport;
    fl_status status = fl_device_sum_reduce(s->env.devices, s->mine[which], count);
    if (status != FL_OK) return tell_failure(transport, round, status);
    if (fl_transport_rank(transport) != 1) return FL_OK;
    for (size_t done = 0, part; done < count; done += part) {
        part = smaller(count - done, s->env.piece);
        FL_TRY(fl_transport_send(transport, 0, round, MESSAGE_SUM,
                                 in_host(s, s->mine[which] + done, part), part * sizeof *s->piece));
    }
    return FL_OK;
}

fl_status fl_sums_collect(fl_sums *s, int which, size_t count, int64_t round)
{
    const fl_backend_ops *ops = s->env.ops;
    if (fl_transport_size(s->env.transport) > 1 && s->env.devices)
        return ops ? between_devices(s, which, count, round) : receive(s, which, count, round);
    if (fl_transport_size(s->env.transport) > 1) return through_transport(s, which, count);
    if (!is_near(ops))
        ops->copy_out(s->total[which], s->mine[which], count * sizeof *s->mine[which]);
    return FL_OK;
}
