/* Logits and gradients of one golden case, for the tests that walk over models. */
#include "data/batch.h"
#include "golden/golden.h"
#include "model/decoder.h"
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static fl_tokens_view view_of(const fl_batch *b)
{
    return (fl_tokens_view){.ids = b->ids, .pos = b->pos, .cu = b->cu, .S = b->S, .T = b->T};
}

/* All sequences as one packed batch. */
static fl_batch pack_all(const fl_examples *examples)
{
    uint32_t indices[64];
    assert_in_range(examples->count, 1, 64);
    for (uint32_t i = 0; i < examples->count; i++)
        indices[i] = i;
    fl_batch batch;
    OK(fl_batch_init(&batch, (int64_t)examples->count, (int64_t)examples->num_tokens));
    fl_batch_clear(&batch);
    OK(fl_batch_add(&batch, examples, indices, examples->count));
    return batch;
}

void golden_check_logits(const golden *g, const fl_model *model, const fl_lora_config *lora,
                         const float *adapter, double limit)
{
    fl_examples *examples = golden_examples(golden_get(g->json, "sequences"));
    fl_batch batch = pack_all(examples);
    fl_decoder_limits limits = {.max_tokens = batch.T, .max_sequences = batch.S};
    fl_decoder *decoder;
    OK(fl_decoder_create(&decoder, model, lora, &limits));
    float *weights = golden_to_backend(adapter, fl_lora_count(lora, &model->config));
    fl_decoder_set_adapter(decoder, weights);
    size_t V = (size_t)model->config.vocab_size;
    int32_t rows[512];
    assert_in_range(batch.T, 1, 512);
    for (int32_t t = 0; t < batch.T; t++)
        rows[t] = t;
    float *logits = test_malloc((size_t)batch.T * V * sizeof *logits);
    fl_tokens_view tokens = view_of(&batch);
    OK(fl_decoder_logits(decoder, &tokens, rows, batch.T, logits));
    const fl_tensor *expected = fl_safetensors_find(g->tensors, "logits");
    assert_non_null(expected);
    assert_int_equal(expected->dim[0], batch.T);
    expect_close("logits", logits, expected->data, (size_t)batch.T * V, limit);
    test_free(logits);
    fl_decoder_destroy(decoder);
    golden_backend()->release(weights);
    fl_batch_fini(&batch);
    fl_examples_destroy(examples);
}

void golden_check_gradients(const golden *g, const fl_model *model, const fl_lora_config *lora,
                            const fl_params *adapter, double loss_limit, double gradient_limit)
{
    fl_examples *examples = golden_examples(golden_get(g->json, "sequences"));
    fl_train_config config = {.objective = "sft",
                              .batch_size = (int64_t)examples->count,
                              .gradient_accumulation_steps = 1,
                              .max_steps = 1};
    fl_trainer_limits limits = {.longest = examples->max_length, .most_examples = examples->count};
    fl_trainer *trainer;
    OK(fl_trainer_create(&trainer, model, lora, &config, &limits));
    fl_trainer_set_adapter(trainer, adapter->data);
    fl_params gradient, expected;
    OK(fl_params_like(&gradient, adapter));
    OK(fl_params_like(&expected, adapter));
    golden_fill(g, "grad", &expected);
    uint32_t indices[64];
    for (uint32_t i = 0; i < examples->count; i++)
        indices[i] = i;
    double loss;
    OK(fl_trainer_gradient(trainer, &(fl_train_data){.examples = examples}, indices,
                           examples->count, &loss, gradient.data));
    expect_real("loss", loss, golden_real(g->json, "loss"), loss_limit);
    for (size_t i = 0; i < gradient.num_params; i++) {
        const fl_param *p = &gradient.params[i];
        expect_close(strstr(p->name, "layers"), gradient.data + p->offset,
                     expected.data + p->offset, p->count, gradient_limit);
    }
    fl_params_fini(&gradient);
    fl_params_fini(&expected);
    fl_trainer_destroy(trainer);
    fl_examples_destroy(examples);
}
