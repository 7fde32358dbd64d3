#include "fed/server_state.h"

#include "fed/lora_method.h"

static void add(fl_server_state *s, const char *name, fl_params *params)
{
    s->named[s->num_named++] = (fl_named_params){.name = name, .params = params};
}

static fl_status make_client_round(fl_params *out, int64_t num_clients)
{
    FL_TRY(fl_params_init(out, 1));
    FL_TRY(fl_params_add(out, "round", 1, &num_clients));
    return fl_params_allocate(out);
}

static fl_status make_side(fl_server_state *s, const fl_params *adapter, bool keeper)
{
    FL_TRY(fl_side_init(&s->side, adapter));
    if (!keeper) return FL_OK;
    add(s, "side_rank", &s->side.rank);
    add(s, "side", &s->side.values);
    s->named[s->num_named - 1].grows = true;
    return FL_OK;
}

static fl_status make_all(fl_server_state *s, const fl_algorithm *algorithm,
                          const fl_fed_config *config, const fl_params *adapter, bool keeper)
{
    for (; s->num_states < FL_MAX_SERVER_STATES && algorithm->server[s->num_states];
         s->num_states++) {
        size_t i = s->num_states;
        bool sent = i == 0 && algorithm->sends_state;
        if (!keeper && !sent) continue;
        FL_TRY(fl_params_like(&s->states[i], adapter));
        if (keeper) add(s, algorithm->server[i], &s->states[i]);
    }
    if (fl_lora_method_of(config)->moves_base) FL_TRY(make_side(s, adapter, keeper));
    if (!keeper) return FL_OK;
    if (algorithm->init) algorithm->init(config, s->states);
    if (!algorithm->client && !fl_lora_method_of(config)->client) return FL_OK;
    FL_TRY(make_client_round(&s->client_round, config->num_clients));
    add(s, "client_round", &s->client_round);
    return FL_OK;
}

fl_status fl_server_state_init(fl_server_state *out, const fl_algorithm *algorithm,
                               const fl_fed_config *config, const fl_params *adapter, bool keeper)
{
    *out = (fl_server_state){0};
    fl_status status = make_all(out, algorithm, config, adapter, keeper);
    if (status != FL_OK) fl_server_state_fini(out);
    return status;
}

void fl_server_state_fini(fl_server_state *s)
{
    for (size_t i = 0; i < FL_MAX_SERVER_STATES; i++)
        fl_params_fini(&s->states[i]);
    fl_params_fini(&s->client_round);
    fl_side_fini(&s->side);
    *s = (fl_server_state){0};
}
