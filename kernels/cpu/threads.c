/* The only file that knows how threads are made: OpenMP pragmas, which mean one thread where the
 * compiler does not know them. */
#include "threads.h"

#include "backend/ops.h"

#include <stdatomic.h>

enum { MAX_THREADS = 256 };

typedef struct scratch_piece {
    float *data;
    int64_t floats;
} scratch_piece;

/* One client rank per core is the usual layout, so one thread unless asked. */
static int num_threads = 1;
static scratch_piece scratch[MAX_THREADS][FL_SCRATCH_KINDS];

void fl_backend_set_threads(int threads)
{
    if (threads < 1) threads = 1;
    num_threads = threads < MAX_THREADS ? threads : MAX_THREADS;
}

int fl_cpu_threads(void)
{
    return num_threads;
}

float *fl_scratch(int slot, fl_scratch_kind kind, int64_t floats)
{
    scratch_piece *piece = &scratch[slot][kind];
    if (floats > piece->floats) {
        fl_free(piece->data);
        /* A kernel has no way to report; scratch is small beside the tensors that were allocated
         * before, and running out here leaves nothing to continue with. */
        FL_ASSERT(fl_alloc(&piece->data, (size_t)floats, sizeof(float)) == FL_OK);
        piece->floats = floats;
    }
    return piece->data;
}

void fl_cpu_release_scratch(void)
{
    for (int slot = 0; slot < MAX_THREADS; slot++) {
        for (int kind = 0; kind < FL_SCRATCH_KINDS; kind++) {
            fl_free(scratch[slot][kind].data);
            scratch[slot][kind] = (scratch_piece){0};
        }
    }
}

/* Boundary number `part` of `parts` ranges over [0, count). */
static int64_t boundary(int64_t count, int64_t grain, int64_t part, int64_t parts)
{
    int64_t grains = (count + grain - 1) / grain;
    int64_t at = grains * part / parts * grain;
    return at < count ? at : count;
}

void fl_parallel_for(int64_t count, int64_t grain, fl_range_fn fn, void *arg)
{
    if (count <= 0) return;
    int64_t grains = (count + grain - 1) / grain;
    int parts = grains < num_threads ? (int)grains : num_threads;
    if (parts == 1) {
        fn(0, count, arg);
        return;
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++)
        fn(boundary(count, grain, part, parts), boundary(count, grain, part + 1, parts), arg);
}

/* Which thread takes which task is left to chance for balance; a task's result is its own. */
static void take_tasks(atomic_int_fast64_t *next, int64_t count, int slot, fl_task_fn fn, void *arg)
{
    for (;;) {
        int64_t task = atomic_fetch_add(next, 1);
        if (task >= count) return;
        fn(task, slot, arg);
    }
}

void fl_parallel_tasks(int64_t count, fl_task_fn fn, void *arg)
{
    int parts = count < num_threads ? (int)count : num_threads;
    atomic_int_fast64_t counter = 0;
    atomic_int_fast64_t *next = &counter;
    if (parts <= 1) {
        take_tasks(next, count, 0, fn, arg);
        return;
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int slot = 0; slot < parts; slot++)
        take_tasks(next, count, slot, fn, arg);
}
