#include "fed/lora_error.h"

#include <math.h>

/* *out -= what is installed of this matrix */
static void subtract(fl_low_rank *out, const fl_client_factors *clients, const fl_params *global,
                     const fl_side *change, size_t pair)
{
    const fl_param *a = &global->params[2 * pair], *b = a + 1;
    fl_low_rank_add(out, global->data + b->offset, global->data + a->offset, (size_t)a->dim[0],
                    -fl_matrix_scale(clients, pair));
    if (change)
        fl_low_rank_add(out, fl_side_b(change, pair), fl_side_a(change, pair),
                        fl_side_rank(change, pair), -1.0);
}

static fl_status add_matrix(fl_lora_figures *f, fl_low_rank *m, const fl_client_factors *clients,
                            const fl_params *global, const fl_side *change, size_t pair)
{
    double ideal, spectral, off, rest;
    fl_client_factors_sum(m, clients, pair);
    FL_TRY(fl_low_rank_norms(m, &ideal, &spectral));
    if (!(spectral > 0)) return FL_OK;
    subtract(m, clients, global, change, pair);
    FL_TRY(fl_low_rank_norms(m, &off, &rest));
    double error = off / ideal, stable = ideal * ideal / (spectral * spectral);
    f->matrices++;
    f->error_mean += error;
    f->stable_rank_mean += stable;
    f->error_max = fmax(f->error_max, error);
    f->stable_rank_max = fmax(f->stable_rank_max, stable);
    return FL_OK;
}

fl_status fl_lora_figures_find(fl_lora_figures *out, const fl_client_factors *clients,
                               const fl_params *global, const fl_side *change)
{
    *out = (fl_lora_figures){0};
    for (size_t pair = 0; pair < global->num_params / 2; pair++) {
        const fl_param *a = &global->params[2 * pair];
        size_t terms = (clients->clients + 1) * (size_t)a->dim[0];
        if (change) terms += fl_side_rank(change, pair);
        fl_low_rank m;
        FL_TRY(fl_low_rank_init(&m, (size_t)a[1].dim[0], (size_t)a->dim[1], terms));
        fl_status status = add_matrix(out, &m, clients, global, change, pair);
        fl_low_rank_fini(&m);
        FL_TRY(status);
    }
    if (out->matrices) {
        out->error_mean /= (double)out->matrices;
        out->stable_rank_mean /= (double)out->matrices;
    }
    return FL_OK;
}
