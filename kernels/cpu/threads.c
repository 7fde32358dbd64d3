/* How work is cut into pieces; pool.c has the threads. */
#include "threads.h"

#include "backend/ops.h"
#include "pool.h"

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

typedef struct range_job {
    int64_t count, grain;
    int parts;
    fl_range_fn fn;
    void *arg;
} range_job;

static void run_range(int part, void *arg)
{
    const range_job *job = arg;
    job->fn(boundary(job->count, job->grain, part, job->parts),
            boundary(job->count, job->grain, part + 1, job->parts), job->arg);
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
    range_job job = {count, grain, parts, fn, arg};
    fl_pool_run(parts, run_range, &job);
}

typedef struct task_job {
    atomic_int_fast64_t next;
    int64_t count;
    fl_task_fn fn;
    void *arg;
} task_job;

/* Which thread takes which task is left to chance for balance; a task's result is its own. */
static void take_tasks(int slot, void *arg)
{
    task_job *job = arg;
    for (;;) {
        int64_t task = atomic_fetch_add(&job->next, 1);
        if (task >= job->count) return;
        job->fn(task, slot, job->arg);
    }
}

void fl_parallel_tasks(int64_t count, fl_task_fn fn, void *arg)
{
    int parts = count < num_threads ? (int)count : num_threads;
    task_job job = {0, count, fn, arg};
    if (parts <= 1)
        take_tasks(0, &job);
    else
        fl_pool_run(parts, take_tasks, &job);
}
