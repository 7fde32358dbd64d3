/* What a model folder says about the end of an answer. */
#ifndef FL_MODEL_GENERATION_CONFIG_H
#define FL_MODEL_GENERATION_CONFIG_H

#include "base/status.h"

#include <stdint.h>

enum { FL_MAX_EOS = 16 };

/* The tokens that end an answer, any of them. */
typedef struct fl_eos_ids {
    int32_t ids[FL_MAX_EOS];
    int count;
} fl_eos_ids;

/* eos_token_id, a number or a list, of DIR/generation_config.json, or of DIR/config.json where the
 * first does not say it: the files in which Transformers looks.  None at all gives count 0.
 * Errors: FL_ERR_IO, FL_ERR_INPUT. */
fl_status fl_eos_ids_load(fl_eos_ids *out, const char *dir);
void fl_eos_ids_add(fl_eos_ids *eos,
                    int32_t id); /* negative ones and those there are passed over */
bool fl_eos_ids_has(const fl_eos_ids *eos, int32_t id);

#endif
