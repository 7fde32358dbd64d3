/* Keys of the federation: the reference's names and defaults. */
#ifndef FL_FED_FED_CONFIG_H
#define FL_FED_FED_CONFIG_H

#include "base/conf.h"

typedef struct fl_fed_config {
    const char *fed_alg;     /* "fedavg", "local12" */
    const char *fed_variant; /* "paper" or "openfedllm" */
    int64_t num_rounds, sample_clients;
    int64_t num_clients; /* 0 until the split, with "natural": fl_run_data_open fills it in */
    const char *split_strategy;
    const char *lora_aggregation; /* NULL: fedit */
    const char *lora_metrics;     /* "auto", "on", "off"; NULL: off */
    fl_conf_list client_lora_r;   /* ranks of clients 0, 1, ..., from the front again; none: all
                                     have the adapter's */
    double dirichlet_alpha, quantity_alpha;
    int64_t save_model_freq; /* rounds between two checkpoint-N folders */

    bool dp; /* client-level differential privacy, see fed/privacy.h */
    double dp_clip, dp_noise_multiplier, dp_delta, dp_epsilon;
    int64_t dp_seed;

    /* keys of single algorithms; their rows stand in the algorithms' files */
    double prox_mu, scaffold_eta, feddyn_alpha, diloco_eta, diloco_momentum;
    double florist_tau;
    double fedopt_tau, fedopt_eta, fedopt_beta1, fedopt_beta2;
} fl_fed_config;

/* Without the algorithms' own and without the words of fed_alg: see fl_algorithm_rows. */
extern const fl_conf_row fl_fed_rows[];
extern const size_t fl_fed_row_count;

/* The reference's own random sequences? */
bool fl_fed_is_reference(const fl_fed_config *config);

#endif
