#include "app/memory_plan.h"

#include "base/log.h"
#include "fed/client.h"
#include "fed/lora_server.h"
#include "fed/participation.h"
#include "fed/round.h"
#include "fed/sent.h"

#include <stddef.h>
#include <stdio.h>

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
    out->round += plan.host;
    out->scratch = fl_decoder_scratch_need(in->model, &in->sizes, in->format, in->expanded, in->ops,
                                           &in->lora, &plan.limits);
    out->kernels = in->ops->scratch_bytes ? in->ops->scratch_bytes(&out->scratch) : 0;
    if (out->cache) /* and the positions beside it */
        out->cache += 2 * (uint64_t)plan.limits.max_tokens * sizeof(int32_t);
    return FL_OK;
}

/* What the base moves by.  Every rank has it in host memory, those that train also where the
 * backend computes; one of the two is there twice while it grows.  On a device what it leaves
 * behind then may be too short for what comes next. */
static void plan_side(fl_memory_plan *out, const fl_memory_input *in, uint64_t side)
{
    enum {
        SERVER_COPIES = 2,
        COPIES = 3,
        HOST_COPIES = 2,
        SAVING_COPIES = 3 /* image, twice;
                            joined one */
    };
    out->side = COPIES * side;
    if (!in->ops->host_memory) out->round += HOST_COPIES * side;
    out->server += (SERVER_COPIES + SAVING_COPIES) * side;
    out->saving += SAVING_COPIES * side;
}

/* What a method needs beside the exact sums: single clients' factors at rank 0, and the base's
 * change. */
static void plan_method(fl_memory_plan *out, const fl_memory_input *in)
{
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
    plan_side(out, in, fl_lora_side_count(&in->lora, in->model, rank) * sizeof(float));
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
    size_t live = fl_round_live_bytes(&rank), slots = (size_t)in->clients;
    size_t round = fl_round_bytes(&rank) - live + vector, server = fl_round_bytes(&root) + vector;
    out->adapter += slots * fl_client_side_live_bytes(in->algorithm, count) + live;
    out->round += round + sent * vector + slots * fl_client_side_host_bytes(in->algorithm, count);
    out->saving =
        (states - sent) * vector + 2 * (1 + states) * vector; /* the image grows by copy */
    out->server = in->process + server + sent * vector + out->saving;
}

static void plan_base(fl_memory_plan *out, const fl_memory_input *in, int64_t example)
{
    int64_t answered = in->longest_prompt + in->eval->max_new_tokens;
    int64_t longest = in->eval_items && answered > example ? answered : example;
    fl_model_plan base =
        fl_model_plan_for(in->model, &in->sizes, longest, in->format, in->expanded);
    out->mapped = base.mapped;
    out->base = base.own;
    out->staged = base.staged;
    if (in->eval_items == 0) return;
    int64_t batch = min64(in->eval->eval_batch, in->train.batch_size);
    out->cache = fl_generator_plan_bytes(in->model, in->ops, batch, answered);
}

/* What lies on a device: all weights of the files, in buffers of their own. */
static void plan_device(fl_memory_plan *out, const fl_memory_input *in)
{
    enum { FEW = 24 }; /* buffers beside the weights' */
    out->base += out->mapped + (in->sizes.tensors + FEW) * FL_RESERVE_ALIGNMENT;
    out->mapped = 0;
    out->copies = in->ops->host_bytes;
}

/* What is staged is released before the rest is taken. */
static uint64_t where_it_computes(const fl_memory_plan *p)
{
    uint64_t rest = p->adapter + p->side + p->layers + p->workspace + p->loss + p->cache;
    return p->base + p->kernels + (rest > p->staged ? rest : p->staged);
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
    if (!in->ops->host_memory) plan_device(out, in);
    uint64_t computes = where_it_computes(out);
    out->rank = out->round + out->copies + out->saving + out->process;
    if (in->ops->host_memory)
        out->rank += computes;
    else
        out->device = computes;
    uint64_t hosts = (uint64_t)in->hosts;
    out->node = out->server + hosts * out->rank + (hosts ? out->mapped : 0);
    return FL_OK;
}

uint64_t fl_memory_plan_device(const fl_memory_plan *plan, const fl_memory_input *in)
{
    int devices = in->devices > 0 ? in->devices : 1, ranks = (in->hosts + devices - 1) / devices;
    return plan->device * (uint64_t)ranks;
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
    LINE(staged, "packed, while the base is read"),
    LINE(adapter, "adapter, gradients, moments"),
    LINE(side, "change of the base, at most"),
    LINE(layers, "activations kept per layer"),
    LINE(workspace, "activations shared by layers"),
    LINE(loss, "logits"),
    LINE(cache, "key/value cache of evaluation"),
    LINE(kernels, "scratch of the kernels"),
    LINE(device, "device, of one rank in all"),
    LINE(round, "round and batch"),
    LINE(copies, "copies to the device"),
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
    char shared[80] = "";
    if (in->ops->host_memory)
        snprintf(shared, sizeof shared, ", %.1f MB of the base as a map that they share",
                 megabytes(plan->mapped));
    FL_INFO("memory    %.1f MB on this node: %d training rank(s) of %.1f MB each%s",
            megabytes(plan->node), in->hosts, megabytes(plan->rank), shared);
    if (!in->ops->host_memory)
        FL_INFO("device    %.1f MB on each of %d device(s) of this node, %.1f MB per training rank",
                megabytes(fl_memory_plan_device(plan, in)), in->devices, megabytes(plan->device));
    for (size_t i = 0; all && i < sizeof lines / sizeof lines[0]; i++) {
        uint64_t bytes = *(const uint64_t *)(const void *)((const char *)plan + lines[i].at);
        if (bytes) FL_INFO("  %-32s %12.1f MB", lines[i].text, megabytes(bytes));
    }
}
