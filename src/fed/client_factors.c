#include "fed/client_factors.h"

#include <string.h>

void fl_client_factors_init(fl_client_factors *out, const fl_params *layout,
                            const fl_lora_setup *setup)
{
    *out = (fl_client_factors){.layout = layout, .setup = setup};
}

void fl_client_factors_fini(fl_client_factors *f)
{
    fl_free(f->mine);
    fl_free(f->id);
    fl_free(f->p);
    fl_free(f->adapters);
    *f = (fl_client_factors){0};
}

void fl_client_factors_clear(fl_client_factors *f)
{
    f->mine_count = f->clients = 0;
}

fl_status fl_client_factors_add(fl_client_factors *f, const fl_sent *sent, const float *y)
{
    size_t per_client = sent->up_count;
    FL_TRY(fl_grow(&f->mine, &f->mine_capacity, (f->mine_count + 1) * per_client, sizeof *f->mine));
    fl_factors_pack(f->mine + f->mine_count * per_client, y, f->layout, sent->up);
    f->mine_count++;
    return FL_OK;
}

double fl_matrix_scale(const fl_client_factors *f, size_t pair)
{
    return f->setup ? f->setup->scale[pair] : 1.0;
}

double fl_client_matrix_scale(const fl_client_factors *f, size_t i, size_t pair)
{
    const double *factor = f->setup ? f->setup->client_factor : NULL;
    return fl_matrix_scale(f, pair) * (factor ? factor[f->id[i]] : 1.0);
}

size_t fl_client_matrix_rank(const fl_client_factors *f, size_t i, size_t pair)
{
    const int64_t *rank = f->setup ? f->setup->client_rank : NULL;
    return (size_t)(rank ? rank[f->id[i]] : f->layout->params[2 * pair].dim[0]);
}

void fl_client_factors_start(float *start, const fl_params *layout, const fl_lora_setup *setup,
                             uint32_t id)
{
    double factor = 1.0 / setup->client_factor[id];
    for (size_t pair = 0; pair < layout->num_params / 2; pair++) {
        const fl_param *a = &layout->params[2 * pair], *b = a + 1;
        int64_t rank = setup->client_rank[id], r = a->dim[0], cols = a->dim[1];
        memset(start + a->offset + rank * cols, 0, (size_t)((r - rank) * cols) * sizeof *start);
        for (int64_t i = 0; i < b->dim[0]; i++)
            for (int64_t j = 0; j < r; j++) {
                float *value = start + b->offset + i * r + j;
                *value = j < rank ? (float)(factor * (double)*value) : 0.0f;
            }
    }
}

/* What a client of a smaller rank does not have is zero in its adapter. */
void fl_client_factors_sum(fl_low_rank *out, const fl_client_factors *f, size_t pair)
{
    const fl_param *a = &f->layout->params[2 * pair], *b = a + 1;
    for (size_t i = 0; i < f->clients; i++) {
        const float *adapter = f->adapters + i * f->layout->count;
        fl_low_rank_add(out, adapter + b->offset, adapter + a->offset, (size_t)a->dim[0],
                        f->p[i] * fl_client_matrix_scale(f, i, pair));
    }
}
