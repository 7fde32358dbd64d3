/* Threads of the CPU kernels, and the scratch memory each of them keeps.
 *
 * Work is cut into pieces that never share an output element, so results do not depend on the
 * number of threads.  One thread of the process calls the kernels; the threads below it live inside
 * a call.  Not for two calling threads at a time: scratch belongs to slots 0 .. threads-1.
 */
#ifndef FL_KERNELS_CPU_THREADS_H
#define FL_KERNELS_CPU_THREADS_H

#include "base/mem.h"

#include <stdint.h>

int fl_cpu_threads(void);

/* fn over disjoint ranges that cover [0, count); inner boundaries are multiples of grain, so that
 * the vector loops of every range start at the same elements whatever the number of threads. */
typedef void (*fl_range_fn)(int64_t begin, int64_t end, void *arg);
void fl_parallel_for(int64_t count, int64_t grain, fl_range_fn fn, void *arg);

/* fn once for each of `count` independent tasks, in any order; `slot` names the scratch that the
 * task may use. */
typedef void (*fl_task_fn)(int64_t task, int slot, void *arg);
void fl_parallel_tasks(int64_t count, fl_task_fn fn, void *arg);

/* Scratch of a slot: grows, is never given back between calls, content undefined.  A second request
 * of the same kind may move it. */
typedef enum fl_scratch_kind {
    FL_SCRATCH_PACK_A,
    FL_SCRATCH_PACK_B,
    FL_SCRATCH_UNPACK,
    FL_SCRATCH_OP,
    FL_SCRATCH_KINDS
} fl_scratch_kind;
float *fl_scratch(int slot, fl_scratch_kind kind, int64_t floats);

/* Frees all scratch; the next call allocates again.  For leak checkers and memory counts. */
void fl_cpu_release_scratch(void);

#endif
