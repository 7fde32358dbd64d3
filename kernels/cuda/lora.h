/* LoRA of a group of linears for all clients of a batch: y += s (drop(x) A^T) B^T and its
 * gradients.
 *
 * Every linear has two sides.  On the side of A stands the wide matrix x [T, cols], on that of B
 * the wide matrix y or dy [T, rows]; both are linked by a narrow one [T, R], t = drop(x) A^T or its
 * gradient dt = s dy B.  Four kernels do everything:
 *
 *   narrow   t = drop(x) A^T
 *   wide     y += s t B^T       dx += mask (dt A) / (1-p)
 *   dy       dt = s dy B        dB += s dy^T t
 *   outer    dA += drop(x)^T dt
 *
 * On the side of A all linears of a group read the same x (or add to the same dx): one block does
 * all of them, and the matrix goes through it once, each linear with its own dropout mask, drawn
 * where it is needed.  On the side of B every linear has blocks of its own in the same launch.
 *
 * A tile never holds rows of two clients and is counted from the client's first row; pieces of the
 * width and spans of rows are of fixed size, have partial sums of their own, and are added in order
 * by a second kernel.  So bits depend on the client's own rows and adapter alone.  The kernel `dy`
 * goes through dy once for both results: a block owns a square of a span and a piece, small enough
 * that there are many of them, writes dt's partial sums tile by tile of the rows, and keeps those
 * of dB.
 *
 * In bf16 the wide and narrow matrices, masked, and the factors are rounded as they enter a
 * product; t has the type that the caller gave it, dt that of operands; all sums are fp32. */
#ifndef FL_KERNELS_CUDA_LORA_H
#define FL_KERNELS_CUDA_LORA_H

#include "kernels/cuda/linear.h"
#include "kernels/cuda/rows.h"

namespace FL_DEVICE
{

/* rows and columns; columns; rows; both in one pass */
enum { LORA_TILE = 64, LORA_PIECE = 512, LORA_SPAN = 1024, LORA_SQUARE = 256 };

enum Side { SIDE_A, SIDE_B };

/* One side of one linear. */
struct LoraPart {
    Rows wide, narrow;
    int64_t width, r;
    size_t factor; /* place of A [r, width] or B [width, r] in an adapter */
    size_t sums;   /* place of its partial sums, in floats */
    int64_t stream;
    float scale; /* with the client's, of what B takes part in */
    int owner;   /* the first part with the same factor */
};

struct LoraCall {
    LoraPart part[FL_MOST_LINEARS];
    int count;
    int64_t T, clients;
    int64_t width, r;    /* the largest of all parts */
    int64_t piece, span; /* columns and rows that have partial sums of their own */
    const int32_t *first;
    const double *client_factor;
    const float *weights;
    float *grads;
    size_t stride;         /* elements of an adapter */
    const fl_rng *streams; /* NULL: no dropout on this side */
    int64_t num_streams;
    float dropout, kept; /* what is kept is multiplied by */
    float *sums;
};

inline bool has_lora(const fl_linears *group, int i)
{
    return group->adapters && group->slot[i] && group->slot[i]->r > 0;
}

void lora_fwd(const fl_linears *group, fl_act x, int64_t T);
/* dx.data NULL: only the gradients of the factors. */
void lora_bwd(const fl_linears *group, fl_act dx, fl_act x, int64_t T);

/* The kernels; calls without their sums, for which they take scratch memory. */
void lora_narrow(LoraCall call);
void lora_outer(LoraCall call);
void lora_wide(const LoraCall &call, Side side);
/* Two calls of one side B, whose narrow matrices are dt and t; what is not wanted is not touched.
 */
void lora_dy(LoraCall dt, LoraCall db, bool wants_dt, bool wants_db);
/* Scratch memory for sums of pieces and of spans; NULL after a failure, which has been recorded. */
float *place_pieces(LoraCall *call);
float *place_spans(LoraCall *call);
/* The second passes, over pieces and over spans. */
void lora_finish_narrow(const LoraCall &call, Side side);
void lora_finish_outer(const LoraCall &call, Side side);

/* ---- rows of clients ------------------------------------------------------------------------ */

inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Tiles of a batch: client c has the places first[c]/tile + c up to first[c+1]/tile + c, which are
 * enough for its tiles and at most one more. */
inline int64_t lora_places(const LoraCall &call, int64_t tile)
{
    return call.T / tile + call.clients;
}

struct ClientRows {
    int64_t client, start, count; /* rows of the client */
    int64_t first;                /* row of the tile, from start; >= count: nothing to do */
};

static __device__ inline ClientRows find_rows(const LoraCall &call, int64_t place, int tile)
{
    int64_t low = 0, high = call.clients; // the client is one of low .. high-1
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (call.first[middle] / tile + middle <= place)
            low = middle;
        else
            high = middle;
    }
    int64_t start = call.first[low];
    return {low, start, call.first[low + 1] - start, (place - start / tile - low) * tile};
}

static __device__ inline float scale_of(const LoraCall &call, const LoraPart &part, Side side,
                                        int64_t client)
{
    if (side == SIDE_A) return 1.0f;
    double factor = call.client_factor[client];
    return factor == 1.0 ? part.scale : (float)(factor * (double)part.scale);
}

} // namespace FL_DEVICE

#endif
