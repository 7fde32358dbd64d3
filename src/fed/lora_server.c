#include "fed/lora_server.h"

#include "fed/agree.h"

#include <string.h>

static const size_t auto_bytes = 256000000; /* of lora_metrics = "auto" */

static bool wants_figures(const fl_fed_config *config, const fl_lora_method *method, size_t count,
                          int64_t max_clients)
{
    size_t bytes, adapter = count * sizeof(float);
    const char *word = config->lora_metrics;
    /* what clients keep to themselves is not sent for a figure, and noise does not cover figures */
    if (!word || strcmp(word, "off") == 0 || method->client || config->dp) return false;
    return strcmp(word, "on") == 0 ||
           (fl_mul_size((size_t)max_clients, adapter, &bytes) && bytes <= auto_bytes);
}

static bool gathers(const fl_fed_config *config, size_t count, int64_t max_clients)
{
    const fl_lora_method *method = fl_lora_method_of(config);
    return method->aggregate || wants_figures(config, method, count, max_clients);
}

size_t fl_lora_server_bytes(const fl_fed_config *config, size_t count, int64_t max_clients)
{
    return gathers(config, count, max_clients) ? (size_t)max_clients * count * sizeof(float) : 0;
}

fl_status fl_lora_server_init(fl_lora_server *out, const fl_lora_server_env *env,
                              int64_t max_clients)
{
    const fl_lora_method *method = fl_lora_method_of(env->config);
    *out = (fl_lora_server){.method = method,
                            .config = env->config,
                            .transport = env->transport,
                            .seed = env->seed,
                            .global = env->global,
                            .side = method->moves_base ? env->side : NULL};
    FL_ASSERT(!method->moves_base || env->side);
    out->figures = wants_figures(env->config, method, env->global->count, max_clients);
    out->gathers = gathers(env->config, env->global->count, max_clients);
    fl_client_factors_init(&out->clients, env->global, env->setup);
    return out->side ? fl_side_init(&out->change, env->global) : FL_OK;
}

void fl_lora_server_fini(fl_lora_server *server)
{
    fl_client_factors_fini(&server->clients);
    fl_side_fini(&server->change);
}

fl_status fl_lora_server_restart(fl_lora_server *server)
{
    return server->side ? fl_side_bcast(server->side, server->transport) : FL_OK;
}

fl_status fl_lora_server_take(fl_lora_server *server, const fl_sent *sent, const float *y)
{
    return server->gathers ? fl_client_factors_add(&server->clients, sent, y) : FL_OK;
}

fl_status fl_lora_server_collect(fl_lora_server *server, const fl_sent *sent, int64_t round,
                                 const fl_kept_client *kept, size_t count)
{
    if (!server->gathers) return FL_OK;
    if (server->side) fl_side_clear(&server->change);
    return fl_client_factors_collect(&server->clients, server->transport, sent, round, kept, count,
                                     server->global->data);
}

fl_status fl_lora_server_aggregate(fl_lora_server *server, int64_t round)
{
    fl_lora_round what = {.config = server->config,
                          .seed = server->seed,
                          .round = round,
                          .clients = &server->clients,
                          .global = server->global,
                          .change = server->side ? &server->change : NULL};
    return server->method->aggregate(&what);
}

fl_status fl_lora_server_figures(const fl_lora_server *server, fl_lora_figures *out)
{
    if (!server->figures) return FL_OK;
    return fl_lora_figures_find(out, &server->clients, server->global,
                                server->side ? &server->change : NULL);
}

/* Only what is new travels; adding it up is the same arithmetic on every rank. */
fl_status fl_lora_server_finish(fl_lora_server *server)
{
    fl_client_factors_clear(&server->clients);
    if (!server->side) return FL_OK;
    FL_TRY(fl_side_bcast(&server->change, server->transport));
    return fl_side_add(server->side, &server->change);
}

size_t fl_lora_server_change_count(const fl_lora_server *server)
{
    return server->side ? server->change.values.count : 0;
}
