/* The two factors of a LoRA adapter as vectors of their own: what a client trains or sends may be
 * A, B or both (fed/lora_method.h).  An adapter's tensors are A, B, A, B, ... (model/lora.h). */
#ifndef FL_FED_FACTORS_H
#define FL_FED_FACTORS_H

#include "model/lora.h"

/* Is tensor number `tensor` of the adapter one of these (FL_FACTOR_A, FL_FACTOR_B or both)? */
bool fl_factors_have(unsigned factors, size_t tensor);
/* Numbers in these factors. */
size_t fl_factors_count(const fl_params *layout, unsigned factors);
/* out[fl_factors_count] = those tensors of values[layout->count], one after the other. */
void fl_factors_pack(float *out, const float *values, const fl_params *layout, unsigned factors);
/* The way back; other tensors of values stay as they are. */
void fl_factors_unpack(float *values, const float *packed, const fl_params *layout,
                       unsigned factors);

#endif
