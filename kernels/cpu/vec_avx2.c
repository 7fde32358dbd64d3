#define VEC_TABLE fl_vec_avx2
#include "vec_kernels.inc.c"
