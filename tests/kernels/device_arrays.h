/* Arrays of the emulated device for the tests of the emulation itself, and the orders they run in.
 * C++; to be included behind kernels/emu/emu.h and cmocka. */
#ifndef FL_TESTS_KERNELS_DEVICE_ARRAYS_H
#define FL_TESTS_KERNELS_DEVICE_ARRAYS_H

static const uint64_t orders[] = {0, 1, 2, 3, 20261123};

template <class T> static T *device_array(size_t count)
{
    void *data = nullptr;
    assert_int_equal(fl_emu::cudaMalloc(&data, count * sizeof(T)), fl_emu::cudaSuccess);
    return static_cast<T *>(data);
}

template <class T> static T *device_copy(const T *host, size_t count)
{
    T *data = device_array<T>(count);
    assert_int_equal(
        fl_emu::cudaMemcpyAsync(data, host, count * sizeof(T), fl_emu::cudaMemcpyHostToDevice, 0),
        fl_emu::cudaSuccess);
    return data;
}

static inline void read_back(void *host, const void *device, size_t bytes)
{
    assert_int_equal(
        fl_emu::cudaMemcpyAsync(host, device, bytes, fl_emu::cudaMemcpyDeviceToHost, 0),
        fl_emu::cudaSuccess);
}

/* The launch has failed, and the text of the fault says so. */
static inline void expect_fault(uint64_t order, int which, const char *kernel, const char *text)
{
    if (fl_emu::cudaGetLastError() != fl_emu::cudaErrorLaunchFailure)
        fail_msg("order %llu: plant %d was not found", (unsigned long long)order, which);
    if (!strstr(fl_emu_fault_text(), text) || !strstr(fl_emu_fault_text(), kernel))
        fail_msg("plant %d: \"%s\" does not say \"%s\"", which, fl_emu_fault_text(), text);
}

#endif
