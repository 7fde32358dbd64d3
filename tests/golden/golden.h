/* Reading of the golden files (see README.md here) and comparison with them. */
#ifndef FL_TESTS_GOLDEN_H
#define FL_TESTS_GOLDEN_H

#include "data/example.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "train/objective.h"

#include <jansson.h>

/* One case: NAME.json and, if there is one, NAME.safetensors. */
typedef struct golden {
    json_t *json;
    fl_safetensors *tensors; /* NULL if there is no such file */
} golden;

/* The backend of a test: the one named as its argument, the cpu without.  Called first in main;
 * ends the program with 77 where this machine does not have it. */
void golden_choose_backend(int argc, char **argv);
const fl_backend_ops *golden_backend(void);
/* A copy of an adapter (host memory) for fl_decoder_set_adapter; NULL for NULL. */
float *golden_to_backend(const float *host, size_t count);

golden golden_open(const char *name);
void golden_close(golden *g);
const char *golden_path(const char *name); /* tests/golden/data/NAME; valid until the next call */

json_t *golden_get(const json_t *object, const char *key); /* must be there */
double golden_real(const json_t *object, const char *key);
int64_t golden_int(const json_t *object, const char *key);

/* config NULL: the Llama of model/ */
/* With patterns (config is needed then), fl_lora_fini is due. */
fl_lora_config golden_lora(const golden *g, const fl_model_config *config);
/* The case's optimiser on top of the defaults of a run. */
fl_train_config golden_train(const golden *g);

/* Values of the tensors PREFIX.NAME into params (layout given). */
void golden_fill(const golden *g, const char *prefix, fl_params *params);

/* Sequences of a list of {ids, labels}, or of a list of such lists. */
fl_examples *golden_examples(const json_t *sequences);

/* The case's `sequences` through model and adapter against its `logits`. */
void golden_check_logits(const golden *g, const fl_model *model, const fl_lora_config *lora,
                         const float *adapter, double limit);
/* The same batch's `loss` and `grad`, tensor by tensor. */
void golden_check_gradients(const golden *g, const fl_model *model, const fl_lora_config *lora,
                            const fl_params *adapter, double loss_limit, double gradient_limit);

/* What the case trains on, from the same lists: pairs when the case has an object "dpo". */
fl_train_data golden_data(const golden *g, const json_t *samples);
void golden_data_fini(fl_train_data *data);

/* ||a - b|| / ||b|| */
double relative_l2(const float *a, const float *b, size_t count);
/* Fails, with name and figures, when a is not within `limit` of b. */
void expect_close(const char *what, const float *a, const float *b, size_t count, double limit);
void expect_real(const char *what, double value, double expected, double limit);

/* Runs the call, fails with the error text. */
#define OK(call) golden_ok((call), #call)
void golden_ok(fl_status status, const char *call);

#endif
