/* A double of NCCL for the emulated device: the functions that comm/transport_nccl.c calls, under
 * the real library's name, between processes of one machine.  It checks arguments and the order of
 * calls, does its work while it is asked how things are, as a communicator that does not block may,
 * and fails where the environment says:
 *
 *   NCCL_DOUBLE_FAIL   id             no job is named
 *                      start:RANK     that rank does not start; the others learn of it
 *                      sum:N:RANK     its sum number N fails; the others learn of it
 *                      hang:N:RANK    likewise, and the others wait
 *                      end:RANK       it does not end well; the others learn of it
 *   NCCL_DOUBLE_LOG    file that gets a line for every communicator that ends
 *
 * Ranks here are NCCL's: 0 is the first that trains. */
#define _GNU_SOURCE
#include <nccl.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_RANKS = 8, MOST_VALUES = 1 << 18 };

/* One file that all ranks map. */
typedef struct meeting {
    atomic_int arrived, ended;
    atomic_bool failed;
    atomic_int posted[MOST_RANKS]; /* sums that the rank has given its part of */
    atomic_int taken;              /* sums that are done */
    atomic_size_t count[MOST_RANKS];
    int64_t values[MOST_RANKS][MOST_VALUES];
} meeting;

typedef enum { IDLE, STARTING, ADDING, ENDING, ENDED } phase;

struct ncclComm {
    int rank, size, sums;
    phase phase;
    meeting *meeting;
    int64_t *buffer; /* of the sum at hand, device memory */
    size_t count;
    bool is_posted;
    char path[sizeof(ncclUniqueId)];
};

/* ---- wishes and complaints ------------------------------------------------------------------ */

/* Is a failure wanted there?  number: 0 where there is none. */
static bool wanted(const char *what, int number, int rank)
{
    char text[32];
    const char *wish = getenv("NCCL_DOUBLE_FAIL");
    if (number)
        snprintf(text, sizeof text, "%s:%d:%d", what, number, rank);
    else
        snprintf(text, sizeof text, "%s:%d", what, rank);
    return wish && strcmp(wish, text) == 0;
}

static ncclResult_t misuse(const char *what)
{
    fprintf(stderr, "NCCL's double: %s\n", what);
    return ncclInvalidUsage;
}

static void log_end(const struct ncclComm *comm, const char *how)
{
    const char *name = getenv("NCCL_DOUBLE_LOG");
    FILE *file = name ? fopen(name, "a") : NULL;
    if (!file) return;
    fprintf(file, "rank %d of %d: %d sums, %s\n", comm->rank, comm->size, comm->sums, how);
    fclose(file);
}

/* ---- device memory -------------------------------------------------------------------------- */

/* Host code cannot read the emulated device's memory, and the kernel cannot for it. */
static bool is_device_memory(const void *data)
{
    int ends[2];
    if (pipe(ends) != 0) return false;
    bool refused = write(ends[1], data, 1) < 0 && errno == EFAULT;
    close(ends[0]);
    close(ends[1]);
    return refused;
}

static void protect(void *data, size_t bytes, int protection)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)data / page * page;
    uintptr_t end = ((uintptr_t)data + bytes + page - 1) / page * page;
    if (mprotect((void *)begin, end - begin, protection) != 0) abort();
}

static void copy(void *to, const void *from, size_t bytes, void *device)
{
    protect(device, bytes, PROT_READ | PROT_WRITE);
    memcpy(to, from, bytes);
    protect(device, bytes, PROT_NONE);
}

/* ---- what happens while one waits ----------------------------------------------------------- */

static bool add_at_root(struct ncclComm *comm)
{
    meeting *m = comm->meeting;
    for (int rank = 0; rank < comm->size; rank++)
        if (atomic_load(&m->posted[rank]) < comm->sums) return false;
    for (int rank = 1; rank < comm->size; rank++) {
        if (atomic_load(&m->count[rank]) != comm->count) {
            misuse("ranks add different numbers of values");
            abort();
        }
        for (size_t i = 0; i < comm->count; i++)
            m->values[0][i] = (int64_t)((uint64_t)m->values[0][i] + (uint64_t)m->values[rank][i]);
    }
    copy(comm->buffer, m->values[0], comm->count * sizeof *comm->buffer, comm->buffer);
    atomic_store(&m->taken, comm->sums);
    return true;
}

/* This rank's part goes up once the sum before it is done; returns whether the sum is. */
static bool add(struct ncclComm *comm)
{
    meeting *m = comm->meeting;
    if (!comm->is_posted) {
        if (atomic_load(&m->taken) < comm->sums - 1) return false;
        copy(m->values[comm->rank], comm->buffer, comm->count * sizeof *comm->buffer, comm->buffer);
        atomic_store(&m->count[comm->rank], comm->count);
        atomic_store(&m->posted[comm->rank], comm->sums);
        comm->is_posted = true;
    }
    return comm->rank != 0 || add_at_root(comm);
}

static bool is_done(struct ncclComm *comm)
{
    meeting *m = comm->meeting;
    switch (comm->phase) {
    case STARTING:
        if (atomic_load(&m->arrived) < comm->size) return false;
        if (comm->rank == 0) unlink(comm->path);
        return true;
    case ADDING:
        return add(comm);
    case ENDING:
        return atomic_load(&m->ended) == comm->size;
    default:
        return true;
    }
}

/* ---- NCCL's functions ----------------------------------------------------------------------- */

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclInvalidUsage:
        return "invalid usage";
    case ncclRemoteError:
        return "another rank failed";
    case ncclInternalError:
        return "failure on demand";
    default:
        return "some other result";
    }
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    const char *folder = getenv("TMPDIR"), *wish = getenv("NCCL_DOUBLE_FAIL");
    if (wish && strcmp(wish, "id") == 0) return ncclInternalError;
    memset(id, 0, sizeof *id);
    int length = snprintf(id->internal, sizeof id->internal, "%s/nccl-double-XXXXXX",
                          folder ? folder : "/tmp");
    if (length >= (int)sizeof id->internal) return misuse("TMPDIR is too long");
    int file = mkstemp(id->internal);
    bool is_fine = file >= 0 && ftruncate(file, sizeof(meeting)) == 0;
    if (file >= 0) close(file);
    return is_fine ? ncclSuccess : misuse("no file to meet in");
}

static meeting *meet(const char *path)
{
    int file = open(path, O_RDWR);
    if (file < 0) return NULL;
    void *data = mmap(NULL, sizeof(meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return data == MAP_FAILED ? NULL : data;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    const ncclConfig_t expected = NCCL_CONFIG_INITIALIZER;
    if (config->magic != expected.magic || config->size != expected.size || config->blocking != 0)
        return misuse("a configuration that was not asked for");
    if (size < 1 || size > MOST_RANKS || rank < 0 || rank >= size) return misuse("no such rank");
    meeting *m = meet(id.internal);
    if (!m) return misuse("an id that is not of this job");
    if (wanted("start", 0, rank)) {
        atomic_store(&m->failed, true);
        return ncclInternalError;
    }
    struct ncclComm *comm = calloc(1, sizeof *comm);
    if (!comm) return ncclSystemError;
    *comm = (struct ncclComm){.rank = rank, .size = size, .phase = STARTING, .meeting = m};
    memcpy(comm->path, id.internal, sizeof comm->path);
    atomic_fetch_add(&m->arrived, 1);
    *out = comm;
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state)
{
    if (comm->phase != ENDED && atomic_load(&comm->meeting->failed)) {
        *state = ncclRemoteError;
    } else if (!is_done(comm)) {
        *state = ncclInProgress;
    } else {
        comm->phase = comm->phase == ENDING || comm->phase == ENDED ? ENDED : IDLE;
        *state = ncclSuccess;
    }
    return ncclSuccess;
}

static const char *fault_of_reduce(const struct ncclComm *comm, const void *from, const void *to,
                                   size_t count)
{
    if (comm->phase != IDLE) return "a sum while something else goes on";
    if (from != to) return "a sum that is not in place";
    if (count == 0 || count > MOST_VALUES) return "no values, or more than there is room for";
    if (!is_device_memory(from) || !is_device_memory((const char *)from + count * 8 - 1))
        return "values that are not in device memory";
    return NULL;
}

ncclResult_t ncclReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                        ncclRedOp_t operation, int root, ncclComm_t comm, cudaStream_t stream)
{
    const char *fault = fault_of_reduce(comm, from, to, count);
    if (fault) return misuse(fault);
    if (type != ncclInt64 || operation != ncclSum || root != 0) return misuse("another sum");
    if (!stream) return misuse("a sum in the default stream");
    comm->sums++;
    if (wanted("sum", comm->sums, comm->rank)) atomic_store(&comm->meeting->failed, true);
    if (wanted("sum", comm->sums, comm->rank) || wanted("hang", comm->sums, comm->rank))
        return ncclInternalError;
    comm->phase = ADDING;
    comm->buffer = to;
    comm->count = count;
    comm->is_posted = false;
    return ncclInProgress;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    if (comm->phase != IDLE) return misuse("an end while something else goes on");
    if (wanted("end", 0, comm->rank)) {
        atomic_store(&comm->meeting->failed, true);
        return ncclInternalError;
    }
    atomic_fetch_add(&comm->meeting->ended, 1);
    comm->phase = ENDING;
    return ncclInProgress;
}

static void end(ncclComm_t comm, const char *how)
{
    log_end(comm, how);
    munmap(comm->meeting, sizeof(meeting));
    free(comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    if (comm->phase != ENDED) return misuse("a communicator that has not come to its end");
    end(comm, "destroyed");
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    end(comm, "aborted");
    return ncclSuccess;
}
