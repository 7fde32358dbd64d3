#define VEC_TABLE fl_vec_avx512
#include "vec_kernels.inc.c"
