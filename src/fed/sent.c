#include "fed/sent.h"

#include <math.h>

size_t fl_sent_bytes(const fl_lora_method *method, size_t count)
{
    bool all = fl_lora_sent(method, 0) == FL_FACTORS && fl_lora_sent(method, 1) == FL_FACTORS;
    return all ? 0 : (1 + FL_MAX_SERVER_STATES) * count * sizeof(float);
}

fl_status fl_sent_init(fl_sent *out, const fl_params *layout, const fl_lora_method *method)
{
    *out = (fl_sent){.layout = layout};
    size_t bytes = fl_sent_bytes(method, layout->count);
    return bytes ? fl_alloc(&out->scratch, bytes, 1) : FL_OK;
}

void fl_sent_fini(fl_sent *sent)
{
    fl_free(sent->scratch);
    *sent = (fl_sent){0};
}

void fl_sent_plan(fl_sent *sent, const fl_lora_method *method, int64_t round)
{
    sent->down = fl_lora_moved(method, round);
    sent->up = fl_lora_sent(method, round);
    sent->down_count = fl_factors_count(sent->layout, sent->down);
    sent->up_count = fl_factors_count(sent->layout, sent->up);
}

fl_status fl_sent_bcast(fl_sent *sent, fl_transport *transport, float *values, unsigned factors)
{
    const fl_params *layout = sent->layout;
    if (factors == FL_FACTORS)
        return fl_transport_bcast(transport, 0, values, layout->count * sizeof *values);
    size_t count = fl_factors_count(layout, factors);
    fl_factors_pack(sent->scratch, values, layout, factors);
    FL_TRY(fl_transport_bcast(transport, 0, sent->scratch, count * sizeof *values));
    fl_factors_unpack(values, sent->scratch, layout, factors);
    return FL_OK;
}

fl_update_fault fl_sent_add(const fl_sent *sent, const fl_backend_ops *ops, int64_t *sum,
                            const float *w, const float *y, double weight, int grid)
{
    const fl_params *layout = sent->layout;
    if (sent->up == FL_FACTORS) return fl_update_add(ops, sum, w, y, layout->count, weight, grid);
    fl_update_fault fault = fl_update_check(ops, w, y, layout->count);
    if (fault != FL_UPDATE_FINE) return fault;
    for (size_t i = 0; i < layout->num_params; i++) {
        const fl_param *part = &layout->params[i];
        if (!fl_factors_have(sent->up, i)) continue;
        ops->add_change(sum, y + part->offset, w ? w + part->offset : NULL, ldexp(weight, grid),
                        (int64_t)part->count);
        sum += part->count;
    }
    return FL_UPDATE_FINE;
}

void fl_sent_aggregate(fl_sent *sent, const fl_algorithm *algorithm, const fl_aggregation *round,
                       size_t num_states)
{
    if (sent->up == FL_FACTORS) {
        algorithm->aggregate(round);
        return;
    }
    fl_params part[1 + FL_MAX_SERVER_STATES];
    fl_aggregation view = *round;
    view.global = &part[0];
    view.server = &part[1];
    for (size_t i = 0; i < 1 + num_states; i++) {
        const fl_params *whole = i ? &round->server[i - 1] : round->global;
        part[i] =
            (fl_params){.data = sent->scratch + i * sent->layout->count, .count = sent->up_count};
        fl_factors_pack(part[i].data, whole->data, sent->layout, sent->up);
    }
    algorithm->aggregate(&view);
    for (size_t i = 0; i < 1 + num_states; i++) {
        float *whole = i ? round->server[i - 1].data : round->global->data;
        fl_factors_unpack(whole, part[i].data, sent->layout, sent->up);
    }
}
