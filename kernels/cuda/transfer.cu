/* Copies and zeros. */
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

/* Two pinned buffers of the host, which take turns: while one is on its way, the other is filled.
 */
static struct {
    void *data;
    cudaEvent_t sent;
} stages[2];
static bool is_staged, cannot_stage;

void wait()
{
    check(cudaStreamSynchronize(stream()), "waiting for the device");
}

static bool transfer(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (bytes == 0 || !can_launch()) return false;
    return check(cudaMemcpyAsync(to, from, bytes, kind, stream()), "a copy");
}

/* Without pinned memory copies are just slower. */
static bool open_stages()
{
    if (is_staged || cannot_stage) return is_staged;
    is_staged = true;
    for (auto &stage : stages)
        is_staged =
            is_staged &&
            cudaHostAlloc(&stage.data, FL_DEVICE_STAGE, cudaHostAllocDefault) == cudaSuccess &&
            cudaEventCreateWithFlags(&stage.sent, cudaEventDisableTiming) == cudaSuccess;
    if (!is_staged) (void)cudaGetLastError();
    cannot_stage = !is_staged;
    return is_staged;
}

/* Returns when all of `host` has been read, its last pieces being still on their way. */
static void copy_in_pieces(char *device, const char *host, size_t bytes)
{
    int turn = 0;
    for (size_t at = 0; at < bytes && can_launch(); at += FL_DEVICE_STAGE, turn ^= 1) {
        size_t piece = bytes - at < FL_DEVICE_STAGE ? bytes - at : (size_t)FL_DEVICE_STAGE;
        if (!check(cudaEventSynchronize(stages[turn].sent), "waiting for a copy")) return;
        memcpy(stages[turn].data, host + at, piece);
        if (transfer(device + at, stages[turn].data, piece, cudaMemcpyHostToDevice))
            check(cudaEventRecord(stages[turn].sent, stream()), "the end of a copy");
    }
}

/* The host's pages may change as soon as this returns. */
void op_copy_in(void *device, const void *host, size_t bytes)
{
    if (!may_interrupt()) return;
    if (bytes >= FL_DEVICE_STAGE && can_launch() && open_stages())
        copy_in_pieces(static_cast<char *>(device), static_cast<const char *>(host), bytes);
    else if (transfer(device, host, bytes, cudaMemcpyHostToDevice))
        wait();
}

/* After a failure the host gets zeros, never what was in its memory before. */
void op_copy_out(void *host, const void *device, size_t bytes)
{
    if (may_interrupt() && transfer(host, device, bytes, cudaMemcpyDeviceToHost)) wait();
    if (bytes > 0 && !can_launch()) memset(host, 0, bytes);
}

void op_copy(void *to, const void *from, size_t bytes)
{
    transfer(to, from, bytes, cudaMemcpyDeviceToDevice);
}

void op_zero(void *data, size_t bytes)
{
    if (bytes == 0 || !can_launch()) return;
    check(cudaMemsetAsync(data, 0, bytes, stream()), "zeros");
}

} // namespace FL_DEVICE
