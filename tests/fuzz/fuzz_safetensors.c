#include "fuzz_file.h"

#include "io/safetensors.h"

#include <string.h>

enum { LENGTH_BYTES = 8 };

static void use_tensor(const fl_safetensors *file, const fl_tensor *tensor)
{
    const int64_t count = fl_tensor_count(tensor);
    const size_t bytes = fl_dtype_size(tensor->dtype);
    const unsigned char *data = tensor->data;
    unsigned char first[8], last[8];
    fuzz_require(fl_safetensors_find(file, tensor->name) == tensor);
    fuzz_require(count >= 0 && (uintptr_t)data % bytes == 0);
    if (count == 0) return;
    memcpy(first, data, bytes);
    memcpy(last, data + ((size_t)count - 1) * bytes, bytes);
    if (tensor->dtype > FL_BF16) return;
    float value;
    fl_to_f32(&value, data, tensor->dtype, 1);
    fl_to_f32(&value, data + ((size_t)count - 1) * bytes, tensor->dtype, 1);
}

static void try_bytes(const uint8_t *data, size_t size)
{
    fl_safetensors *file = NULL;
    if (fl_safetensors_open(&file, fuzz_file("a.safetensors", data, size)) != FL_OK) {
        fuzz_require(*fl_error_text() && !file);
        return;
    }
    const size_t count = fl_safetensors_count(file);
    for (size_t i = 0; i < count; i++) {
        const fl_tensor *tensor = fl_safetensors_at(file, i);
        fuzz_require(i == 0 || strcmp(fl_safetensors_at(file, i - 1)->name, tensor->name) < 0);
        use_tensor(file, tensor);
    }
    fuzz_require(!fl_safetensors_find(file, "no such tensor\x01"));
    fl_safetensors_close(file);
}

/* As they are, and with the length that fits the header, which a change nearly always breaks. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t copy[1 << 16];
    try_bytes(data, size);
    if (size <= LENGTH_BYTES || size > sizeof copy) return 0;
    uint64_t length = size;
    while (length > LENGTH_BYTES && data[length - 1] != '}')
        length--;
    length -= LENGTH_BYTES;
    memcpy(copy, data, size);
    memcpy(copy, &length, LENGTH_BYTES);
    try_bytes(copy, size);
    return 0;
}
