#include "fed/fed_config.h"

#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(fl_fed_config, field)

// clang-format off
const fl_conf_row fl_fed_rows[] = {
    {"fed_alg", FL_CONF_WORD, AT(fed_alg), "fedavg", 0, 0, NULL,
     "algorithm; localK trains client K alone"},
    {"fed_variant", FL_CONF_WORD, AT(fed_variant), "paper", 0, 0, "paper|openfedllm",
     "openfedllm: formulas and random sequences of the reference system, bit for bit"},
    {"lora_aggregation", FL_CONF_WORD, AT(lora_aggregation), "fedit", 0, 0, NULL,
     "how the clients' adapters become one (docs/aggregation.md)"},
    {"lora_metrics", FL_CONF_WORD, AT(lora_metrics), "auto", 0, 0, "auto|on|off",
     "aggregation error and stable rank of every round; rank 0 then gets every client's factors; "
     "auto: when they take at most 256 MB"},
    {"client_lora_r", FL_CONF_LIST, AT(client_lora_r), "", 0, 0, NULL,
     "flora, florist: LoRA ranks of clients 0, 1, ..., at most peft_lora_r, from the front again; "
     "empty: peft_lora_r; the scale of a client is alpha over its own rank"},
    {"num_rounds", FL_CONF_INT, AT(num_rounds), "500", 1, 1000000, NULL,
     "communication rounds"},
    {"num_clients", FL_CONF_INT, AT(num_clients), "2", 0, 1000000, NULL,
     "clients the data is split over; 0 = as many as the data names (natural)"},
    {"sample_clients", FL_CONF_INT, AT(sample_clients), "2", 1, 1000000, NULL,
     "clients that train in a round"},
    {"split_strategy", FL_CONF_WORD, AT(split_strategy), "iid", 0, 0,
     "iid|natural|dirichlet|domain|quantity",
     "how the records are split over the clients: evenly, as the data names them, labels in random "
     "shares, one label per client, in random sizes"},
    {"dirichlet_alpha", FL_CONF_FLOAT, AT(dirichlet_alpha), "0.5", 1e-6, 1e9, NULL,
     "split dirichlet: large = every client like the whole, small = a label lies with one client"},
    {"quantity_alpha", FL_CONF_FLOAT, AT(quantity_alpha), "0.5", 1e-6, 1e9, NULL,
     "split quantity: large = equal sizes, small = one client has nearly all"},
    {"save_model_freq", FL_CONF_INT, AT(save_model_freq), "50", 1, 1000000, NULL,
     "rounds between two checkpoint-N folders; the last round is always saved"},
    {"dp", FL_CONF_BOOL, AT(dp), "false", 0, 0, NULL,
     "client-level differential privacy (docs/privacy.md): clip, noise, account"},
    {"dp_clip", FL_CONF_FLOAT, AT(dp_clip), "0", 0, 1000, NULL,
     "C: norm of a client's whole update at the most"},
    {"dp_noise_multiplier", FL_CONF_FLOAT, AT(dp_noise_multiplier), "0", 0, 1000, NULL,
     "z: the sum of the updates gets noise of standard deviation z C"},
    {"dp_delta", FL_CONF_FLOAT, AT(dp_delta), "1e-5", 1e-15, 0.1, NULL,
     "delta of the (epsilon, delta) that is told; below 1 / num_clients"},
    {"dp_epsilon", FL_CONF_FLOAT, AT(dp_epsilon), "0", 0, 1e6, NULL,
     "budget: the run stops, with exit code 3, before a round would pass it; 0 = none"},
    {"dp_seed", FL_CONF_INT, AT(dp_seed), "0", 0, 9007199254740991.0, NULL,
     "for tests: noise that can be repeated, and so protects nothing; 0 = from the system"},
};
// clang-format on
const size_t fl_fed_row_count = sizeof fl_fed_rows / sizeof fl_fed_rows[0];

bool fl_fed_is_reference(const fl_fed_config *config)
{
    return strcmp(config->fed_variant, "openfedllm") == 0;
}
