/* The adapters of single clients at the server: for methods that the mean of the factors is not
 * enough for, and for the figures of a round.  Clients hand theirs to fl_client_factors_add; then
 * rank 0 takes them in ascending order of clients, so nothing depends on ranks.  Memory: the
 * adapters of a round's clients at rank 0, those that a rank trained on that rank.
 */
#ifndef FL_FED_CLIENT_FACTORS_H
#define FL_FED_CLIENT_FACTORS_H

#include "fed/sent.h"
#include "tensor/low_rank.h"

/* How the adapter is applied; everything borrowed. */
typedef struct fl_lora_setup {
    const double *scale;         /* [pairs] s of each adapted matrix */
    const int64_t *client_rank;  /* [num_clients]; NULL: all have the adapter's ranks */
    const double *client_factor; /* [num_clients] s_k / s; NULL: all 1 */
} fl_lora_setup;

typedef struct fl_client_factors {
    const fl_params *layout; /* of the adapter; borrowed */
    const fl_lora_setup *setup;
    float *mine; /* [mine_count][up_count] what this rank's clients send */
    size_t mine_count, mine_capacity;

    /* rank 0, after fl_client_factors_collect */
    size_t clients;
    uint32_t *id;    /* [clients] ascending */
    double *p;       /* [clients] weights, sum 1 */
    float *adapters; /* [clients][layout->count] with what was not sent as all have it */
    size_t id_capacity, p_capacity, adapters_capacity;
} fl_client_factors;

/* `setup`: NULL is scale 1 everywhere. */
void fl_client_factors_init(fl_client_factors *out, const fl_params *layout,
                            const fl_lora_setup *setup);
void fl_client_factors_fini(fl_client_factors *factors); /* accepts a zeroed struct */

/* Forgets the last round. */
void fl_client_factors_clear(fl_client_factors *factors);
/* One more client of this rank; ascending order.  Errors: FL_ERR_MEMORY. */
fl_status fl_client_factors_add(fl_client_factors *factors, const fl_sent *sent, const float *y);

/* A client whose adapter was kept. */
typedef struct fl_kept_client {
    uint32_t client;
    int rank;
    double weight;
} fl_kept_client;

/* To rank 0, which knows all kept [count], ascending; the others give their own.  global: the
 * adapter before the round.  Not collective: point to point.  Errors: those of fl_transport_recv,
 * FL_ERR_MEMORY. */
fl_status fl_client_factors_collect(fl_client_factors *factors, fl_transport *transport,
                                    const fl_sent *sent, int64_t round, const fl_kept_client *kept,
                                    size_t count, const float *global);

double fl_matrix_scale(const fl_client_factors *factors, size_t pair);
/* s_k of this matrix for client number i of the round; its rank. */
double fl_client_matrix_scale(const fl_client_factors *factors, size_t i, size_t pair);
size_t fl_client_matrix_rank(const fl_client_factors *factors, size_t i, size_t pair);

/* Makes of the global adapter in start[] what client `id` starts from: where its rank is smaller,
 * the first factors, B times s / s_k so that their product is applied as before. */
void fl_client_factors_start(float *start, const fl_params *layout, const fl_lora_setup *setup,
                             uint32_t id);

/* Adds M* = sum_k p_k s_k B_k A_k of matrix `pair` to *out. */
void fl_client_factors_sum(fl_low_rank *out, const fl_client_factors *factors, size_t pair);

#endif
