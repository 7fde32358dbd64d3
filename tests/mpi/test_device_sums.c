/* Who may add between devices, decided alike on any number of ranks: with a backend whose device
 * has the name that a case gives it.  Nothing here reaches NCCL. */
#include "fed/device_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: %s failed (%s)\n", __FILE__, __LINE__, #condition, \
                    fl_error_text());                                                  \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static char device_name[16];
static bool has_failed;

static fl_status identity(char *out, size_t size)
{
    FL_CHECK(!has_failed, FL_ERR_INTERNAL, "the device has no name");
    snprintf(out, size, "%s", device_name);
    return FL_OK;
}

static void *stream(void)
{
    return device_name;
}

static bool is_idle(void)
{
    return true;
}

static const fl_device_ops real = {.identity = identity, .stream = stream, .is_idle = is_idle};
static const fl_device_ops emulated = {
    .emulated = true, .identity = identity, .stream = stream, .is_idle = is_idle};

typedef struct test_case {
    const fl_device_ops *device;
    const char *word;
    int names;       /* ranks of the same number modulo this share a device */
    const char *how; /* %s: why one rank that trains adds alone, or this */
} test_case;

static const test_case cases[] = {
    {NULL, "auto", 100, ""},
    {NULL, "mpi", 100, ""},
    {NULL, "nccl", 100, "through MPI: the backend has no device"},
    {&real, "mpi", 100, "through MPI: device_sums = \"mpi\""},
    {&real, "auto", 1, "through MPI: ranks 1 and 2 share a device"},
    {&real, "nccl", 2, "through MPI: ranks 1 and 3 share a device"},
    {&emulated, "auto", 100, "through MPI: the devices are emulated"},
};

/* What stands in the line on that many ranks. */
static const char *expected_line(const test_case *c, int size)
{
    bool shares = strstr(c->how, "share") || strstr(c->how, "emulated");
    return size == 1 ? "" : size == 2 && shares ? "through MPI: one rank trains" : c->how;
}

static void run_case(fl_transport *transport, const test_case *c)
{
    int rank = fl_transport_rank(transport), size = fl_transport_size(transport);
    fl_backend_ops ops = fl_backend_cpu;
    fl_device_sum *devices;
    fl_buf how = {0};
    ops.device = c->device;
    if (c->names == 2 && size == 3) return; /* nobody shares, and NCCL would be tried */
    snprintf(device_name, sizeof device_name, "%d", rank % c->names);
    CHECK(fl_device_sums_open(&devices, transport, rank > 0 || size == 1 ? &ops : NULL, c->word,
                              &how) == FL_OK);
    CHECK(!devices);
    const char *expected = rank == 0 ? expected_line(c, size) : "";
    if (strcmp(fl_buf_text(&how), expected) != 0)
        fprintf(stderr, "rank %d of %d: \"%s\", not \"%s\"\n", rank, size, fl_buf_text(&how),
                expected);
    CHECK(strcmp(fl_buf_text(&how), expected) == 0);
    fl_buf_fini(&how);
}

/* A device without a name ends all ranks with the same error. */
static void run_failure(fl_transport *transport)
{
    int rank = fl_transport_rank(transport), size = fl_transport_size(transport);
    fl_backend_ops ops = fl_backend_cpu;
    fl_device_sum *devices;
    fl_buf how = {0};
    ops.device = &real;
    has_failed = rank == size - 1;
    if (size == 1) return;
    CHECK(fl_device_sums_open(&devices, transport, rank > 0 ? &ops : NULL, "auto", &how) ==
          FL_ERR_INTERNAL);
    CHECK(!devices && strstr(fl_error_text(), "the device has no name"));
    fl_buf_fini(&how);
}

int main(int argc, char **argv)
{
    fl_transport *transport;
    CHECK(fl_transport_open(&transport, argc > 1 ? argv[1] : "mpi") == FL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(transport, &cases[i]);
    run_failure(transport);
    fl_transport_close(transport);
    return 0;
}
