/* Instruction sets: the same kernels compiled several times, the best one chosen at run time. */
#ifndef FL_KERNELS_CPU_ISA_H
#define FL_KERNELS_CPU_ISA_H

#include "gemm.h"
#include "vec.h"

typedef struct fl_isa {
    const char *name; /* "avx512", "avx2", "portable" */
    const fl_gemm_kernels *gemm;
    const fl_vec_ops *vec;
} fl_isa;

/* The instruction set in use: the best one of this machine, or the one selected. */
const fl_isa *fl_isa_current(void);

/* For tests and benchmarks: uses this one from now on; false when the machine or the build lacks
 * it.  NULL chooses the best again. */
bool fl_isa_select(const char *name);

/* Number `index` of those built in, best first; NULL at the end.  *runs tells whether this machine
 * has it.  One implementation per architecture. */
const fl_isa *fl_isa_built(int index, bool *runs);

#endif
