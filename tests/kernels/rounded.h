/* The cpu backend with activations in bf16: the contract of backend/ops.h and types.h in its
 * plainest form.  Every op widens its activations, rounds the operands of products, computes in
 * fp32 with the cpu backend, and rounds once where the activation that it stores is bf16. */
#ifndef FL_TESTS_KERNELS_ROUNDED_H
#define FL_TESTS_KERNELS_ROUNDED_H

#include "backend/ops.h"

/* Buffers and everything that has no activations are the cpu backend's. */
const fl_backend_ops *rounded_ops(void);

#endif
