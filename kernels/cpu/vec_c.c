/* The loops of vec_kernels.inc.c for what every machine of this architecture has. */
#define VEC_TABLE fl_vec_c
#include "vec_kernels.inc.c"
