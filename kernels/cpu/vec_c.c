#define VEC_TABLE fl_vec_c
#include "vec_kernels.inc.c"
