/* A training run: everything opened, in opening order.  No module below app knows this struct. */
#ifndef FL_APP_RUN_H
#define FL_APP_RUN_H

#include "app/memory_plan.h"
#include "app/run_data.h"
#include "fed/round.h"
#include "io/adapter.h"
#include "io/metrics.h"
#include "io/reference.h"
#include "io/state.h"

typedef struct fl_run {
    fl_options options;
    fl_transport *transport; /* borrowed from main */
    bool hosts_clients;      /* this rank trains; rank 0 only aggregates unless it is alone */
    const fl_backend_ops *ops;
    fl_device_sum *devices; /* NULL: sums go through the transport */
    int num_devices;        /* that the training ranks of this node have; 0: none */
    uint64_t device_free;   /* bytes, of the one that has least; UINT64_MAX: none */
    uint64_t device_share;  /* of a rank of the run, see fl_device_share */
    int device_sharers;     /* likewise */

    fl_run_data data;
    uint64_t *weight; /* [num_clients] records */
    double *cost;     /* [num_clients] expected tokens of a round */
    fl_eval_set eval_set;

    fl_model_config model_config;
    fl_format format; /* of the base, as asked for */
    int64_t longest;  /* tokens of the longest sequence, answers included */
    fl_lora_config lora;
    fl_patterns rank_pattern, alpha_pattern; /* as in the options, in `texts` */
    fl_arena *texts;
    fl_memory_input memory_input;
    fl_memory_plan memory_plan; /* of this rank's node */
    fl_params adapter;          /* the global one, host memory */
    const fl_algorithm *algorithm;
    const fl_lora_method *method;
    fl_server_state server;
    double *lora_scale;            /* [pairs] of the adapter */
    int64_t *client_rank;          /* [num_clients]; NULL: all have the adapter's */
    double *client_factor;         /* [num_clients] on the scale; NULL with client_rank */
    int64_t *side_rank;            /* [pairs] scratch */
    fl_lora_setup setup;           /* of these */
    fl_privacy *privacy;           /* NULL without dp */
    fl_model *model;               /* NULL unless hosts_clients */
    fl_trainer *trainer;           /* likewise */
    size_t most_examples;          /* of a client's round */
    int64_t clients_at_once;       /* that train on a rank */
    fl_local_job *jobs;            /* [clients_at_once] */
    fl_local_result *results;      /* likewise */
    uint32_t *records, *positions; /* [clients_at_once][most_examples]; [most_examples] */
    fl_reference_store reference_store;
    double *reference; /* of one client, grown as needed */
    size_t reference_capacity;
    uint64_t model_hash; /* 0: not yet computed */
    fl_evaluator *evaluator;

    /* rank 0 */
    fl_state state;
    fl_metrics *metrics;
    int folder_lock; /* descriptor of output_dir, locked; 0 = none */

    fl_round *round;
    int64_t start_round;  /* completed before this start */
    double seconds_start; /* clock at the start of the first round */
    double seconds_save;  /* of the last save, told in the next round's metrics */
} fl_run;

/* Held-out answers: of the global adapter, or of the clients' own models together. */
typedef struct fl_eval_scores {
    size_t models;                 /* >= 1 */
    const fl_eval_answer *answers; /* [items] of the first model */
    const int64_t *correct;        /* [items] models that were right */
    const uint32_t *clients;       /* [models] ascending; NULL: the global adapter */
    const int64_t *client_correct; /* [models] items that it had right */
} fl_eval_scores;

/* Opens everything from options (already loaded) to the round.  Collective; on error every rank
 * returns it, and fl_run_close is still due. */
fl_status fl_run_open(fl_run *run);
void fl_run_close(fl_run *run);

/* How the adapter is applied, on every rank, from options and model_config; nothing of its size. */
fl_status fl_run_open_lora(fl_run *run);
/* The adapter itself, as it is drawn, and what goes with it. */
fl_status fl_run_make_adapter(fl_run *run);
/* fl_round_env.base_moved: this rank's trainer takes the change of the base over. */
fl_status fl_run_base_moved(void *run);
/* Writes a PEFT folder for the base as it was in the beginning: the adapter, with the change of the
 * base where the method moves it. */
fl_status fl_run_save_adapter(const fl_run *run, const char *dir, const fl_params *adapter);

/* Makes the memory plan.  Errors: FL_ERR_USAGE when it does not fit, and those of reading the
 * headers of the base. */
fl_status fl_run_plan(fl_run *run);
/* Products round to bf16, and the base is stored in something else. */
bool fl_run_base_is_wide(const fl_run *run);
/* Finds out about the devices of this node, before any of their memory is taken.  Collective. */
fl_status fl_run_devices(fl_run *run);
/* Takes what the plan says of this rank's device. */
fl_status fl_run_reserve(const fl_run *run);
/* Every rank that trains gets the text of gemm_plans.  Collective.  After the backend is open. */
fl_status fl_run_read_plans(fl_run *run);
/* Times algorithms for the products of all sizes of a pass, largest first, until it has taken long
 * enough, and writes the file for gemm_plans.  On one rank; the run cannot train afterwards. */
fl_status fl_run_tune(fl_run *run, const char *path);
/* Tokens that the workspace must hold for each example of a micro-batch. */
int64_t fl_run_longest_example(const fl_run *run);

/* fl_round_env.train_clients: what this rank does for some clients of a round. */
fl_train_clients fl_run_train_clients;
/* Records of a client's round: batch_size * accumulation * max_steps, or all it has. */
size_t fl_run_examples(const fl_train_config *config, size_t client_size);

/* Prints what would be trained and the memory it takes; all: the whole plan. */
void fl_run_describe(const fl_run *run, bool all);

/* What the reference model says about a client's examples, between the disk and run->data; nothing
 * where the objective has no reference. */
fl_status fl_run_reference_load(fl_run *run, uint32_t client);
fl_status fl_run_reference_save(fl_run *run, uint32_t client);
void fl_run_reference_close(fl_run *run);

/* Rank 0: prepares output_dir; finds out whether the run continues.  fresh: start over.
 * Sets run->start_round, the adapter and the metrics file.  Errors: FL_ERR_USAGE (the folder holds
 * something else, or a run with other options), FL_ERR_IO, FL_ERR_INPUT. */
fl_status fl_run_files_open(fl_run *run, bool fresh);
void fl_run_files_close(fl_run *run); /* gives the folder free for other jobs */
/* Rank 0: the checkpoint of the rounds done so far, where a run stops early. */
fl_status fl_run_files_checkpoint(fl_run *run);
/* Rank 0: adapter folder, checkpoint when due, state. */
fl_status fl_run_files_save(fl_run *run, const fl_round_result *result);

/* ---- privacy; all but the first do nothing without dp -------------------------------------- */

/* Sets run->privacy.  Errors: FL_ERR_USAGE for what is not covered. */
fl_status fl_run_privacy_open(fl_run *run);
/* Says what the whole run costs. */
void fl_run_privacy_describe(const fl_run *run);
/* Rank 0, with the state just loaded and metrics.jsonl not yet cut: counts rounds that were
 * interrupted after their result was known. */
fl_status fl_run_privacy_resume(fl_run *run, const char *dir);
/* Rank 0: FL_ERR_LIMIT, with a checkpoint, when the next round would pass the budget. */
fl_status fl_run_privacy_allows(fl_run *run);
/* Rank 0, after a round: counts it and takes out of the result what it may not tell. */
void fl_run_privacy_count(fl_run *run, fl_round_result *result);

/* Rank 0: lines of metrics.jsonl. */
fl_status fl_record_round(fl_run *run, const fl_round_result *result, double seconds);
fl_status fl_record_eval(fl_run *run, int64_t round, const fl_eval_scores *scores);

/* Collective: judges the adapter after `done` rounds and records it. */
fl_status fl_run_evaluate(fl_run *run, int64_t done);

/* Rank 0: what was learnt, from metrics.jsonl. */
fl_status fl_report(const fl_run *run);

/* All rounds that are left, with evaluation and saving.  Collective. */
fl_status fl_run_rounds(fl_run *run);

#endif
