/* The client's side of an algorithm on one rank: vectors for the hooks, and the client's state on
 * the disk.  One of it serves all clients of the rank, one after the other; its memory does not
 * grow with their number.
 */
#ifndef FL_FED_CLIENT_H
#define FL_FED_CLIENT_H

#include "fed/algorithm.h"

typedef struct fl_client_side fl_client_side;

/* output_dir: where client states are; NULL is fine for algorithms that keep none.  All arguments
 * are borrowed.  Errors: FL_ERR_MEMORY. */
fl_status fl_client_side_create(fl_client_side **out, const fl_algorithm *algorithm,
                                const fl_fed_config *config, const fl_backend_ops *ops,
                                size_t count, const char *output_dir);
void fl_client_side_destroy(fl_client_side *side); /* accepts NULL */

/* Bytes that it takes of backend memory, and of the host's. */
size_t fl_client_side_live_bytes(const fl_algorithm *algorithm, size_t count);
size_t fl_client_side_host_bytes(const fl_algorithm *algorithm, size_t count);

typedef struct fl_client_start {
    uint32_t client;
    int64_t state_round; /* completed rounds when it wrote its state; 0: it has none yet */
    double learning_rate;
    const float *received, *sent; /* [count] host; sent: NULL unless the algorithm sends a state */
} fl_client_start;

/* Gets ready for a client.  Errors: those of fl_client_store_load. */
fl_status fl_client_side_begin(fl_client_side *side, const fl_client_start *start);
/* For its training; valid until the next begin. */
const fl_train_hooks *fl_client_side_hooks(const fl_client_side *side);
/* After it, with the result y [count].  Returns the scale of the update; *extra becomes what else
 * the client sends, NULL if nothing. */
double fl_client_side_finish(fl_client_side *side, const float *y, const fl_local_result *local,
                             const float **extra);
/* When the update was kept: writes the client's new state, if it keeps one, as of `done` completed
 * rounds.  Errors: those of fl_client_store_save. */
fl_status fl_client_side_save(fl_client_side *side, int64_t done);

#endif
