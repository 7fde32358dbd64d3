/* The first byte says which file the others are: odd for adapter_config.json ('c'), even for
 * adapter_model.safetensors ('t'). */
#include "fuzz_file.h"

#include "io/adapter.h"

#include <string.h>

#define MODULE "base_model.model.model.layers.0.self_attn.q_proj."

static void read_config(const uint8_t *data, size_t size)
{
    fl_adapter_info info = {0};
    fuzz_file("adapter_config.json", data, size);
    if (fl_adapter_read_info(&info, fuzz_folder()) != FL_OK) {
        fuzz_require(*fl_error_text() && !info.arena);
        return;
    }
    fuzz_require(info.lora_r > 0 && info.num_target_modules > 0);
    for (size_t i = 0; i < info.num_target_modules; i++)
        fuzz_require(strlen(info.target_modules[i]) <= size);
    fuzz_require(!info.base_model || strlen(info.base_model) <= size);
    fl_adapter_info_fini(&info);
}

static void read_weights(const uint8_t *data, size_t size)
{
    static const int64_t a[] = {2, 3}, b[] = {4, 2};
    fl_params params;
    fuzz_require(fl_params_init(&params, 2) == FL_OK);
    fuzz_require(fl_params_add(&params, MODULE "lora_A.weight", 2, a) == FL_OK);
    fuzz_require(fl_params_add(&params, MODULE "lora_B.weight", 2, b) == FL_OK);
    fuzz_require(fl_params_allocate(&params) == FL_OK);
    fuzz_file("adapter_model.safetensors", data, size);
    if (fl_adapter_load(fuzz_folder(), &params) == FL_OK)
        fuzz_require(fl_all_finite(params.data, params.count));
    else
        fuzz_require(*fl_error_text());
    fl_params_fini(&params);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] & 1)
        read_config(data + 1, size - 1);
    else
        read_weights(data + 1, size - 1);
    return 0;
}
