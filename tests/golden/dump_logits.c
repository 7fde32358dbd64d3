/* dump_logits BASE ADAPTER OUT.safetensors: logits of base + adapter on 64 pseudo-random tokens,
 * for check_adapter.py to compare with PeftModel.from_pretrained. */
#include "io/safetensors.h"
#include "model/decoder.h"

#include <stdio.h>
#include <stdlib.h>

enum { T = 64 };

static fl_status logits_of(fl_model *model, const char *adapter_dir, const int32_t *ids, float *out)
{
    fl_lora_config lora;
    fl_params adapter;
    fl_decoder *decoder;
    FL_TRY(fl_lora_load(&lora, &adapter, adapter_dir, &model->config));
    fl_decoder_limits limits = {.max_tokens = T, .max_sequences = 1};
    FL_TRY(fl_decoder_create(&decoder, model, &lora, &limits));
    fl_decoder_set_adapter(decoder, adapter.data);
    int32_t pos[T];
    const int32_t cu[] = {0, T};
    for (int32_t t = 0; t < T; t++)
        pos[t] = t;
    fl_tokens_view tokens = {.ids = ids, .pos = pos, .cu = cu, .S = 1, .T = T};
    FL_TRY(fl_decoder_logits(decoder, &tokens, pos, T, out));
    fl_decoder_destroy(decoder);
    fl_params_fini(&adapter);
    fl_lora_fini(&lora);
    return FL_OK;
}

static fl_status dump(char **argv)
{
    fl_model *model;
    FL_TRY(fl_model_open(&model, argv[1], fl_backend_find("cpu"), T));
    int64_t V = model->config.vocab_size;
    int32_t ids[T];
    float *logits;
    FL_TRY(fl_alloc(&logits, (size_t)(T * V), sizeof *logits));
    fl_rng rng = fl_rng_make(1, FL_PURPOSE_TEST, 0, 0, 0, 0);
    for (int t = 0; t < T; t++)
        ids[t] = (int32_t)fl_rng_below(&rng, (uint64_t)V);
    FL_TRY(logits_of(model, argv[2], ids, logits));
    const fl_tensor tensors[] = {
        {.name = "ids", .dtype = FL_I32, .ndim = 1, .dim = {T}, .data = ids},
        {.name = "logits", .dtype = FL_F32, .ndim = 2, .dim = {T, V}, .data = logits},
    };
    FL_TRY(fl_safetensors_write(argv[3], tensors, 2));
    fl_free(logits);
    fl_model_close(model);
    return FL_OK;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: dump_logits BASE ADAPTER OUT.safetensors\n");
        return 2;
    }
    if (dump(argv) == FL_OK) return 0;
    fprintf(stderr, "%s\n", fl_error_text());
    return 1;
}
