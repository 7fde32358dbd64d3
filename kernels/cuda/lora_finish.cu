/* Partial sums of the LoRA kernels: where they lie, and the second passes, which add them in order.
 */
#include "kernels/cuda/each.h"
#include "kernels/cuda/lora.h"

namespace FL_DEVICE
{

float *place_pieces(LoraCall *call)
{
    size_t floats = 0;
    for (int p = 0; p < call->count; p++) {
        LoraPart &part = call->part[p];
        part.sums = floats;
        floats += (size_t)(ceil_div(part.width, call->piece) * call->T * part.r);
    }
    return static_cast<float *>(scratch(SCRATCH_PARTS, floats * sizeof(float)));
}

float *place_spans(LoraCall *call)
{
    size_t floats = 0;
    for (int p = 0; p < call->count; p++) {
        LoraPart &part = call->part[p];
        part.sums = floats;
        floats += (size_t)(lora_places(*call, call->span) * part.width * part.r);
    }
    return static_cast<float *>(scratch(SCRATCH_SPANS, floats * sizeof(float)));
}

static __device__ int64_t client_of_row(const LoraCall &call, int64_t t)
{
    int64_t low = 0, high = call.clients; // the client is one of low .. high-1
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (call.first[middle] <= t)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct FinishNarrow {
    LoraCall call;
    int number;
    Side side;
    __device__ void operator()(int64_t i) const
    {
        const LoraPart &part = call.part[number];
        int64_t pieces = (part.width + call.piece - 1) / call.piece, t = i / part.r;
        float sum = 0;
        for (int64_t piece = 0; piece < pieces; piece++)
            sum += call.sums[part.sums + (size_t)(piece * call.T * part.r + i)];
        float scale = scale_of(call, part, side, client_of_row(call, t));
        write_row(part.narrow, t, i - t * part.r, scale * sum);
    }
};

/* Of one client's factor; the parts that share it, one after the other. */
struct FinishOuter {
    LoraCall call;
    int number;
    Side side;
    __device__ void operator()(int64_t i) const
    {
        const LoraPart &own = call.part[number];
        int64_t size = own.width * own.r, client = i / size, element = i - client * size;
        int64_t count = call.first[client + 1] - call.first[client];
        int64_t place = call.first[client] / call.span + client;
        int64_t at = element; // [m, r], as the sums lie
        if (side == SIDE_A) at = element % own.width * own.r + element / own.width;
        float *out = call.grads + (size_t)client * call.stride + own.factor + element;
        for (int p = number; p < call.count; p++) {
            const LoraPart &part = call.part[p];
            if (part.owner != number || count == 0) continue;
            float sum = 0;
            for (int64_t row = 0; row < count; row += call.span)
                sum += call.sums[part.sums + (size_t)((place + row / call.span) * size + at)];
            *out += scale_of(call, part, side, client) * sum;
        }
    }
};

void lora_finish_narrow(const LoraCall &call, Side side)
{
    for (int p = 0; p < call.count; p++)
        each(call.T * call.part[p].r, FinishNarrow{call, p, side});
}

void lora_finish_outer(const LoraCall &call, Side side)
{
    for (int p = 0; p < call.count; p++) {
        const LoraPart &part = call.part[p];
        if (part.owner == p) each(call.clients * part.width * part.r, FinishOuter{call, p, side});
    }
}

} // namespace FL_DEVICE
