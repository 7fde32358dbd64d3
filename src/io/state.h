/* state.h5: everything a run needs to continue, as of its last completed round.
 *
 *     /meta/format              int64 [1]         schema version, 1
 *     /meta/program             text              version of the program that wrote it
 *     /meta/config              text              effective config
 *     /progress/round           int64 [1]         completed rounds
 *     /progress/metrics_bytes   int64 [1]         length of metrics.jsonl at that moment
 *     /history/loss             float64 [rounds]  loss of each completed round
 *     /privacy/releases         int64 [1]         rounds whose noised result may have been seen;
 *     /privacy/epsilon          float64 [1]       what they cost; both only in a private run
 *     /adapter/TENSOR           float32           global adapter
 *     /server/STATE/TENSOR      float32           what the algorithm keeps on the server
 *
 * What it keeps for a client has a file of its own (io/client_state.h).  Texts are uint8 [bytes].
 * The file is sealed against damage (io/h5.h); the one before it stays as state.prev.h5, so that
 * whatever moment a run is killed at, one of the two is complete.
 *
 * One fl_state lives as long as the run: set up its layouts, fl_state_load, then per round
 * fl_state_add_round and fl_state_save, at the end fl_state_fini.
 */
#ifndef FL_IO_STATE_H
#define FL_IO_STATE_H

#include "base/buf.h"
#include "tensor/tensor.h"

/* A part of the algorithm's server state; borrows both. */
typedef struct fl_named_params {
    const char *name; /* no '/' */
    fl_params *params;
    bool grows; /* one vector, which loading gives the length that it has in the file */
} fl_named_params;

typedef struct fl_state {
    /* owned: released by fl_state_fini */
    int64_t round;         /* completed rounds */
    int64_t metrics_bytes; /* see fl_metrics_bytes */
    double *loss;          /* [round] */
    int64_t releases;      /* rounds that count for privacy, >= round; 0: not a private run */
    double epsilon;        /* of them */
    size_t loss_capacity;
    fl_buf config; /* effective config, text */

    /* borrowed: set by the caller before load and save */
    const char *program; /* version, for the file's reader */
    fl_params *adapter;
    const fl_named_params *server;
    size_t num_server;

    bool recovered; /* came from state.prev.h5; set by load, cleared by save */
} fl_state;

/* Releases the owned fields. */
void fl_state_fini(fl_state *state);

/* One more completed round.  Errors: FL_ERR_MEMORY. */
fl_status fl_state_add_round(fl_state *state, double loss);

/* Writes DIR/state.h5 and keeps the old one as DIR/state.prev.h5.  A state that was recovered from
 * state.prev.h5 leaves that file alone once more, since state.h5 is damaged then.
 * Errors: FL_ERR_IO (the old files are as they were), FL_ERR_MEMORY. */
fl_status fl_state_save(const char *dir, fl_state *state);

/* Fills the owned fields and the data of adapter and server.  *found = false, and nothing is
 * changed, when there is neither file.  Where state.h5 is missing or damaged but state.prev.h5 is
 * good, that one is used and a warning logged.
 * Errors: FL_ERR_INPUT for damage and for a state whose names, shapes or algorithm differ;
 * FL_ERR_UNSUPPORTED for another schema version; FL_ERR_IO; FL_ERR_MEMORY.  After an error the
 * values are unspecified and fl_state_fini is still due. */
fl_status fl_state_load(const char *dir, fl_state *state, bool *found);

#endif
