/* Tensor cores: products of bf16 matrices with fp32 sums, by the warps of a block (sm_80 or later).
 *
 * All lanes of a warp call the first three together.  A fragment is a matrix spread over the lanes
 * as the PTX ISA says for m16n8k16; a word is two neighbouring bf16, the lower one first.
 *
 *   multiply_add(sum, a, b0, b1)   sum[16,8] += A[16,16] B[16,8]
 *   load_matrices(out, tile, at)   four matrices [8,8] from shared memory: lane 8 m + r gives the
 *                                  place of row r of matrix m, a multiple of 8 elements in `tile`'s
 *                                  array; word m of lane l becomes elements 2 (l % 4), + 1 of row
 *                                  l / 4 of matrix m
 *   load_transposed(...)           the same, of the matrices' transposes
 *
 *   copy_async(tile, at, from, is_there)   eight elements to tile[at], both on boundaries of 16
 *                                          bytes; zeros, and `from` is not read, if not is_there
 *   copy_commit()                  what the thread has started since the last one is a group
 *   copy_wait<N>()                 all but the last N groups of the thread have arrived
 *   store_pair(tile, at, word)     tile[at], tile[at + 1]; at is even
 *   load_eight(tile, at)           tile[at] .. tile[at + 7] as a uint4; at is a multiple of 8
 *   pack_pair(low, high)           two floats rounded to nearest, ties to even, as a word
 *
 * Between copy_async and the copy_wait that ends it the place may not be touched; other threads see
 * it after a barrier behind that. */
#ifndef FL_KERNELS_CUDA_MMA_H
#define FL_KERNELS_CUDA_MMA_H

#include "kernels/cuda/device.h"

#include FL_DEVICE_TENSOR

#endif
