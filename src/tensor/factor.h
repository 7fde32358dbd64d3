/* The factors of LoRA's s B A, for which of them are trained, sent or left alone. */
#ifndef FL_TENSOR_FACTOR_H
#define FL_TENSOR_FACTOR_H

enum { FL_FACTOR_A = 1, FL_FACTOR_B = 2, FL_FACTORS = FL_FACTOR_A | FL_FACTOR_B };

#endif
