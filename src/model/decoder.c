#include "model/decoder.h"

#include "model/decoder_internal.h"

/* Place and size of every A and B in the adapter: the order of fl_lora_create.  side_rank: the
 * ranks of the base's change, whose slots are placed then; NULL: the adapter's are. */
static void place_slots(fl_decoder *d, const int64_t *side_rank)
{
    const fl_model_config *c = &d->model->config;
    size_t offset = 0;
    for (int64_t l = 0; l < c->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++) {
            if (!d->lora.target[m]) continue;
            int64_t rows, cols;
            fl_module holder = c->family->linear[m].holder;
            fl_lora_slot *slot = side_rank ? d->layers[l].side : d->layers[l].slot;
            if (!side_rank)
                slot[m].r = fl_lora_rank(&d->lora, l, holder);
            else
                slot[m].r = (int)holder == m ? *side_rank++ : slot[holder].r;
            slot[m].scale = fl_lora_scale(&d->lora, l, holder);
            slot[m].shares_a = (int)holder != m;
            slot[m].stream = l * FL_NUM_MODULES + (int)holder;
            if (side_rank) slot[m].t = d->side_t;
            slot[m].t.stride = slot[m].r;
            size_t R = (size_t)slot[m].r;
            fl_module_shape((fl_module)m, c, &rows, &cols);
            if ((int)holder == m) {
                slot[m].a = offset;
                slot[m].b = offset + R * (size_t)cols;
                offset = slot[m].b + R * (size_t)fl_holder_rows(holder, c);
            } else {
                slot[m].a = slot[holder].a;
                slot[m].b = slot[holder].b + R * (size_t)fl_module_row((fl_module)m, c);
            }
        }
}

static fl_status prepare(fl_decoder *d)
{
    FL_TRY(fl_arena_create(&d->arena));
    FL_TRY(fl_arena_alloc(d->arena, &d->layers, (size_t)d->model->config.num_layers,
                          sizeof *d->layers));
    place_slots(d, NULL);
    fl_decoder_plan plan = fl_decoder_layout(d, NULL);
    FL_TRY(d->ops->alloc(&d->block, fl_decoder_plan_total(&plan)));
    fl_decoder_layout(d, d->block);
    FL_TRY(fl_arena_alloc(d->arena, &d->host_loss, (size_t)d->limits.max_tokens,
                          sizeof *d->host_loss));
    return fl_decoder_open_clients(d);
}

fl_status fl_decoder_create(fl_decoder **out, const fl_model *model, const fl_lora_config *lora,
                            const fl_decoder_limits *limits)
{
    fl_decoder *d;
    FL_TRY(fl_alloc(&d, 1, sizeof *d));
    *d = (fl_decoder){.model = model, .ops = model->ops, .lora = *lora, .limits = *limits};
    if (d->limits.max_clients == 0) d->limits.max_clients = 1;
    fl_status status = prepare(d);
    if (status != FL_OK) {
        fl_decoder_destroy(d);
        return status;
    }
    *out = d;
    return FL_OK;
}

void fl_decoder_destroy(fl_decoder *d)
{
    if (!d) return;
    d->ops->release(d->block);
    fl_arena_destroy(d->arena);
    fl_free(d);
}

fl_status fl_decoder_plan_for(fl_decoder_plan *out, const fl_model_config *config,
                              const fl_backend_ops *ops, const fl_lora_config *lora,
                              const fl_decoder_limits *limits)
{
    fl_model model = {.config = *config, .ops = ops};
    fl_decoder d = {.model = &model, .ops = ops, .lora = *lora, .limits = *limits};
    if (d.limits.max_clients == 0) d.limits.max_clients = 1;
    FL_TRY(fl_alloc(&d.layers, (size_t)config->num_layers, sizeof *d.layers));
    *out = fl_decoder_layout(&d, NULL);
    fl_free(d.layers);
    return FL_OK;
}

size_t fl_decoder_plan_total(const fl_decoder_plan *plan)
{
    return plan->layers + plan->workspace + plan->loss;
}

void fl_decoder_set_side(fl_decoder *d, const float *values, const int64_t *rank)
{
    FL_ASSERT(!values || d->lora.has_side);
    d->side = values;
    d->side_number = values ? ++d->num_sides : 0;
    if (values) place_slots(d, rank);
}

void fl_decoder_freeze(fl_decoder *d, unsigned factors)
{
    d->adapters.frozen = factors;
}
