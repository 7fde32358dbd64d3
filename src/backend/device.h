/* What ops say and are asked about the device behind them: memory, and launches that repeat. */
#ifndef FL_BACKEND_DEVICE_H
#define FL_BACKEND_DEVICE_H

#include "base/buf.h"
#include "tensor/tensor.h"

#include <stddef.h>
#include <stdint.h>

/* The largest calls of a workspace. */
typedef struct fl_scratch_need {
    int64_t
        product; /* elements of the first operand [T, cols] or [T, rows] of linear_fwd and _bwd */
    int64_t longest; /* tokens of one sequence */
    int64_t H, KV, D;
    int64_t tokens, clients; /* of a batch */
    int64_t matrix;          /* elements of the largest frozen matrix, or of all of a group */
    int64_t width;           /* sum of the rows or of the columns of the widest group of linears */
    int64_t biased;          /* rows of the widest group with biases */
    int64_t r;               /* the largest rank of an adapted linear */
    int64_t longest_row;     /* elements of a row of such */
    fl_dtype stored;         /* of all frozen matrices; anything but a float: they differ, or are
                                quantised */
    int64_t squares;         /* n of sum_squares */
} fl_scratch_need;

/* The memory of the device that a rank computes on. */
typedef struct fl_device_memory {
    size_t free;              /* bytes that buffers can still take */
    size_t total;             /* bytes it has */
    unsigned char device[16]; /* which one: the same for ranks that share it */
} fl_device_memory;

/* What tells one sequence of launches from another: compared as a whole. */
typedef struct fl_replay_key {
    uint64_t word[8];
} fl_replay_key;

enum { FL_RESERVE_ALIGNMENT = 256 };

/* What libraries beside the backend need to work on its memory, and what its own library is told.
 * After `open`. */
typedef struct fl_device_ops {
    bool emulated; /* no library of a device can reach its memory */
    /* The name under which this machine has the device: two ranks of a machine that read the same
     * share it.  Cut to fit. */
    fl_status (*identity)(char *out, size_t size);
    /* The queue that all ops go through, a cudaStream_t, and whether everything in it is done. */
    void *(*stream)(void);
    bool (*is_idle)(void);
    /* Host memory that copies are fastest with.  Errors: FL_ERR_MEMORY. */
    fl_status (*alloc_host)(void *out, size_t bytes);
    void (*release_host)(void *data); /* accepts NULL */

    /* Algorithms of products as a text.  They change bits: all ranks read the same.  After `open`,
     * before any product.  Errors: FL_ERR_INPUT, also for another device's or library's. */
    fl_status (*read_plans)(const char *path, const fl_buf *text);
    /* From now on every product that is met for the first time is timed with several algorithms.
     * What it leaves may be wrong: for passes that nobody reads. */
    void (*start_tuning)(void);
    fl_status (*write_plans)(fl_buf *out); /* appends the text */
} fl_device_ops;

#endif
