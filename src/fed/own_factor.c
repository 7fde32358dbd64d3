#include "fed/own_factor.h"

fl_status fl_own_factor_init(fl_own_factor *out, const fl_lora_method *method,
                             const fl_params *layout, const char *output_dir)
{
    unsigned factors = fl_lora_kept(method, 0);
    size_t count = fl_factors_count(layout, factors);
    FL_ASSERT(output_dir && factors == fl_lora_kept(method, 1));
    *out = (fl_own_factor){
        .layout = layout,
        .factors = factors,
        .store = {.dir = output_dir, .name = method->client, .count = count},
    };
    return fl_alloc(&out->packed, count, sizeof *out->packed);
}

void fl_own_factor_fini(fl_own_factor *own)
{
    fl_client_store_fini(&own->store);
    fl_free(own->packed);
    *own = (fl_own_factor){0};
}

fl_status fl_own_factor_load(fl_own_factor *own, uint32_t client, int64_t round, float *adapter)
{
    if (round == 0) return FL_OK;
    FL_TRY(fl_client_store_load(&own->store, client, round, own->packed));
    fl_factors_unpack(adapter, own->packed, own->layout, own->factors);
    return FL_OK;
}

fl_status fl_own_factor_save(fl_own_factor *own, uint32_t client, int64_t round,
                             const float *adapter)
{
    fl_factors_pack(own->packed, adapter, own->layout, own->factors);
    return fl_client_store_save(&own->store, client, round, own->packed);
}
