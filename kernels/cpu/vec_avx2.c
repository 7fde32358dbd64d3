/* The loops of vec_kernels.inc.c for AVX2, FMA and F16C (flags in CMakeLists.txt). */
#define VEC_TABLE fl_vec_avx2
#include "vec_kernels.inc.c"
