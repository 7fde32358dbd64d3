/* How far the server's adapter is from the mean of the clients' products, per adapted matrix:
 *     error = ||M* - installed||_F / ||M*||_F,    stable rank = ||M*||_F^2 / ||M*||_2^2,
 * from Gram matrices of the factors, in double; an error below 1e-7 is rounding. */
#ifndef FL_FED_LORA_ERROR_H
#define FL_FED_LORA_ERROR_H

#include "fed/client_factors.h"
#include "fed/side.h"

typedef struct fl_lora_figures {
    int64_t matrices; /* with M* != 0; 0: the other figures say nothing */
    double error_mean, error_max;
    double stable_rank_mean, stable_rank_max;
} fl_lora_figures;

/* global: the adapter after the round; change: what the round added to the base, NULL if nothing.
 * Errors: FL_ERR_MEMORY. */
fl_status fl_lora_figures_find(fl_lora_figures *out, const fl_client_factors *clients,
                               const fl_params *global, const fl_side *change);

#endif
