#include "app/memory_plan.h"

#include "base/log.h"
#include "fed/client.h"
#include "fed/lora_server.h"
#include "fed/participation.h"
#include "fed/round.h"
#include "fed/sent.h"

#include <stddef.h>

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static size_t count_states(const fl_algorithm *algorithm)
{
    size_t count = 0;
    while (count < FL_MAX_SERVER_STATES && algorithm->server[count])
        count++;
    return count;
}

static fl_status plan_trainer(fl_memory_plan *out, const fl_memory_input *in, int64_t example)
{
    int64_t prompt = in->longest_prompt;
    fl_trainer_limits limits = {.longest = example > prompt ? example : prompt,
                                .most_examples = in->most_examples,
                                .clients = in->clients};
    fl_trainer_plan plan;
    FL_TRY(fl_trainer_plan_for(&plan, in->model, in->ops, &in->lora, &in->train, &limits));
    out->adapter += plan.adapter;
    out->layers = plan.decoder.layers;
    out->workspace = plan.decoder.workspace;
    out->loss = plan.decoder.loss;
    out->kernels = plan.decoder.kernels;
    out->round += plan.host;
    return FL_OK;
}

/* What a method needs beside the exact sums: single clients' factors at rank 0, and what the base
 * moves by.  Every rank has that in host memory, those that train also where the backend computes;
 * one of the two is there twice while it grows. */
static void plan_method(fl_memory_plan *out, const fl_memory_input *in)
{
    enum { SERVER_COPIES = 2, HOST_COPIES = 3, SAVING_COPIES = 3 /* image, twice; joined one */ };
    int64_t clients = fl_participation_count(in->fed);
    size_t count = fl_lora_count(&in->lora, in->model);
    uint64_t factors = fl_lora_server_bytes(in->fed, count, clients);
    uint64_t parts = fl_sent_bytes(fl_lora_method_of(in->fed), count);
    /* those of its own clients, where they are placed evenly */
    out->round += parts + (factors + (uint64_t)in->trainers - 1) / (uint64_t)in->trainers;
    out->server += parts + factors;
    out->saving += factors;
    if (!in->lora.has_side) return;
    int64_t rank = in->fed->num_rounds * clients * in->lora.r;
    uint64_t side = fl_lora_side_count(&in->lora, in->model, rank) * sizeof(float);
    out->side = HOST_COPIES * side;
    out->server += (SERVER_COPIES + SAVING_COPIES) * side;
    out->saving += SAVING_COPIES * side;
}

static void plan_federation(fl_memory_plan *out, const fl_memory_input *in)
{
    size_t count = fl_lora_count(&in->lora, in->model), vector = count * sizeof(float);
    size_t states = count_states(in->algorithm), sent = in->algorithm->sends_state ? 1 : 0;
    fl_round_need rank = {.algorithm = in->algorithm,
                          .ops = in->ops,
                          .count = count,
                          .slots = in->clients,
                          .alone = in->alone,
                          .own_start = fl_lora_method_of(in->fed)->client ||
                                       in->fed->client_lora_r.count > 0};
    fl_round_need root = {.algorithm = in->algorithm, .count = count};
    size_t round = fl_round_bytes(&rank) + vector, server = fl_round_bytes(&root) + vector;
    out->adapter += (size_t)in->clients * fl_client_side_bytes(in->algorithm, count);
    out->round += round + sent * vector;
    out->saving =
        (states - sent) * vector + 2 * (1 + states) * vector; /* the image grows by copy */
    out->server = in->process + server + sent * vector + out->saving;
}

static void plan_base(fl_memory_plan *out, const fl_memory_input *in, int64_t example)
{
    int64_t answered = in->longest_prompt + in->eval->max_new_tokens;
    int64_t longest = in->eval_items && answered > example ? answered : example;
    fl_model_plan base = fl_model_plan_for(in->model, &in->sizes, longest, in->format);
    out->mapped = base.mapped;
    out->base = base.own;
    if (in->eval_items == 0) return;
    int64_t batch = min64(in->eval->eval_batch, in->train.batch_size);
    out->cache = fl_generator_plan_bytes(in->model, in->ops, batch, answered);
}

fl_status fl_memory_plan_make(fl_memory_plan *out, const fl_memory_input *in)
{
    int64_t example = min64(in->longest_example, in->seq_length);
    *out = (fl_memory_plan){.process = in->process};
    plan_base(out, in, example);
    FL_TRY(plan_trainer(out, in, example));
    plan_federation(out, in);
    plan_method(out, in);
    if (!in->alone) out->saving = 0;
    if (!in->server) out->server = 0;
    out->rank = out->base + out->adapter + out->side + out->layers + out->workspace + out->loss +
                out->cache + out->kernels + out->round + out->saving + out->process;
    uint64_t hosts = (uint64_t)in->hosts;
    out->node = out->server + hosts * out->rank + (hosts ? out->mapped : 0);
    return FL_OK;
}

/* ---- for people ----------------------------------------------------------------------------- */

typedef struct plan_line {
    size_t at; /* in fl_memory_plan */
    const char *text;
} plan_line;

#define LINE(field, text)                     \
    {                                         \
        offsetof(fl_memory_plan, field), text \
    }

static const plan_line lines[] = {
    LINE(base, "base, of its own"),
    LINE(adapter, "adapter, gradients, moments"),
    LINE(side, "change of the base, at most"),
    LINE(layers, "activations kept per layer"),
    LINE(workspace, "activations shared by layers"),
    LINE(loss, "logits"),
    LINE(cache, "key/value cache of evaluation"),
    LINE(kernels, "panels of the kernels"),
    LINE(round, "round and batch"),
    LINE(saving, "server states, factors, saving"),
    LINE(process, "program, tokenizer, data"),
    LINE(rank, "training rank in all"),
    LINE(server, "rank 0, which only aggregates"),
    LINE(mapped, "base, map of its files"),
    LINE(node, "this node in all"),
};

static double megabytes(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

void fl_memory_plan_print(const fl_memory_plan *plan, const fl_memory_input *in, bool all)
{
    FL_INFO("memory    %.1f MB on this node: %d training rank(s) of %.1f MB each, %.1f MB of the "
            "base as a map that they share",
            megabytes(plan->node), in->hosts, megabytes(plan->rank), megabytes(plan->mapped));
    for (size_t i = 0; all && i < sizeof lines / sizeof lines[0]; i++) {
        uint64_t bytes = *(const uint64_t *)(const void *)((const char *)plan + lines[i].at);
        if (bytes) FL_INFO("  %-32s %12.1f MB", lines[i].text, megabytes(bytes));
    }
}
