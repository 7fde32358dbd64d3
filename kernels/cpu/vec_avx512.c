/* The loops of vec_kernels.inc.c for AVX-512 F, BW, DQ and VL (flags in CMakeLists.txt). */
#define VEC_TABLE fl_vec_avx512
#include "vec_kernels.inc.c"
