/* Opening and closing of a run, in one order and its reverse. */
#include "app/run.h"
#include "base/clock.h"
#include "base/log.h"
#include "fed/agree.h"
#include "fed/client.h"
#include "fed/device_sums.h"
#include "fed/participation.h"
#include "fed/placement.h"

#include <string.h>

/* Warns, on rank 0, of `count` of `all` records with this fault. */
static void warn_of(const fl_run *run, size_t count, size_t all, const char *fault)
{
    if (count && fl_transport_rank(run->transport) == 0)
        FL_WARN("%zu of %zu examples %s", count, all, fault);
}

static fl_status open_data(fl_run *run)
{
    const fl_options *o = &run->options;
    FL_TRY(fl_run_data_open(&run->data, &run->options));
    const fl_dataset *dataset = run->data.dataset;
    if (dataset->num_skipped && fl_transport_rank(run->transport) == 0)
        FL_WARN("%zu records were left out, %zu are there", dataset->num_skipped, dataset->count);
    const fl_examples *examples = run->data.examples;
    const fl_pairs *pairs = run->data.pairs;
    if (examples)
        warn_of(run, examples->num_unmarked, examples->count,
                "teach nothing: no answer, or none within seq_length");
    if (pairs) {
        warn_of(run, pairs->num_cut, pairs->count, "are longer than dpo_max_length and were cut");
        warn_of(run, pairs->num_alike, pairs->count,
                "have the same answer twice and teach nothing");
    }
    return fl_eval_set_load(&run->eval_set, &o->eval, run->data.tokenizer, &run->data.format);
}

static fl_status open_clients(fl_run *run)
{
    const fl_options *o = &run->options;
    size_t num_clients = run->data.partition.num_clients;
    const fl_train_data data = fl_run_data_train(&run->data, run->ops);
    FL_TRY(fl_alloc(&run->weight, num_clients, sizeof *run->weight));
    FL_TRY(fl_alloc(&run->cost, num_clients, sizeof *run->cost));
    double sequences = (double)o->train.batch_size * (double)o->train.max_steps *
                       (double)o->train.gradient_accumulation_steps;
    for (size_t k = 0; k < num_clients; k++) {
        size_t size = fl_partition_size(&run->data.partition, k), tokens = 0;
        for (size_t i = 0; i < size; i++)
            tokens += (size_t)run->data.objective->tokens(
                &data, run->data.partition.indices[run->data.partition.offset[k] + i]);
        run->weight[k] = size;
        run->cost[k] = sequences * (double)tokens / (double)size;
        size_t examples = fl_run_examples(&o->train, size);
        if (examples > run->most_examples) run->most_examples = examples;
    }
    return FL_OK;
}

/* What the model and its adapter are; nothing of their size is allocated. */
static fl_status open_config(fl_run *run)
{
    const fl_options *o = &run->options;
    const char *dir = o->data.model_name_or_path;
    FL_TRY(fl_format_choose(&run->format, o->data.load_in_8bit, o->data.load_in_4bit));
    FL_TRY(fl_model_config_load(&run->model_config, dir));
    FL_CHECK(fl_tokenizer_vocab_size(run->data.tokenizer) <= run->model_config.vocab_size,
             FL_ERR_INPUT, "%s: the tokenizer has %d tokens, the model only %lld", dir,
             fl_tokenizer_vocab_size(run->data.tokenizer), (long long)run->model_config.vocab_size);
    return fl_run_open_lora(run);
}

static fl_status open_algorithm(fl_run *run)
{
    const fl_fed_config *fed = &run->options.fed;
    bool root = fl_transport_rank(run->transport) == 0;
    FL_TRY(fl_algorithm_find(&run->algorithm, fed->fed_alg));
    run->method = fl_lora_method_of(fed);
    FL_TRY(fl_lora_method_check(run->method, run->algorithm, fed));
    const char *alias = run->algorithm->alias;
    if (root && alias && strcmp(fed->fed_alg, alias) == 0)
        FL_WARN("fed_alg = \"%s\" is taken as %s; the reference runs FedAvg under that name", alias,
                run->algorithm->name);
    return fl_run_privacy_open(run);
}

static fl_status open_adapter(fl_run *run)
{
    const fl_options *o = &run->options;
    bool root = fl_transport_rank(run->transport) == 0;
    FL_TRY(fl_run_make_adapter(run));
    return fl_server_state_init(&run->server, run->algorithm, &o->fed, &run->adapter, root);
}

static fl_status open_model(fl_run *run)
{
    if (!run->hosts_clients) return FL_OK;
    fl_options *o = &run->options;
    FL_TRY(fl_run_reserve(run));
    FL_TRY(fl_model_open_as(&run->model, o->data.model_name_or_path, run->ops, run->longest,
                            run->format, run->memory_input.expanded));
    fl_trainer_limits limits = {.longest = fl_run_longest_example(run),
                                .most_examples = run->most_examples,
                                .clients = run->clients_at_once};
    size_t clients = (size_t)run->clients_at_once;
    FL_TRY(fl_alloc(&run->jobs, clients, sizeof *run->jobs));
    FL_TRY(fl_alloc(&run->results, clients, sizeof *run->results));
    FL_TRY(fl_alloc(&run->records, clients * run->most_examples, sizeof *run->records));
    FL_TRY(fl_alloc(&run->positions, run->most_examples, sizeof *run->positions));
    return fl_trainer_create(&run->trainer, run->model, &run->lora, &o->train, &limits);
}

static fl_status open_evaluator(fl_run *run)
{
    fl_decoder *decoder = run->trainer ? fl_trainer_decoder(run->trainer) : NULL;
    fl_eval_config *config = &run->options.eval;
    if (config->eval_batch > run->options.train.batch_size)
        config->eval_batch = run->options.train.batch_size; /* they share the workspace */
    return fl_evaluator_create(&run->evaluator, &run->eval_set, config, run->data.tokenizer,
                               run->transport, decoder);
}

static fl_status open_round(fl_run *run)
{
    fl_round_env env = {.transport = run->transport,
                        .algorithm = run->algorithm,
                        .fed = &run->options.fed,
                        .seed = (uint64_t)run->options.train.seed,
                        .weight = run->weight,
                        .cost = run->cost,
                        .global = &run->adapter,
                        .server = &run->server,
                        .privacy = run->privacy,
                        .ops = run->ops,
                        .devices = run->devices,
                        .output_dir = run->options.run.output_dir,
                        .lora = &run->setup,
                        .clients_per_pass = run->clients_at_once,
                        .train_clients = fl_run_train_clients,
                        .base_moved = fl_run_base_moved,
                        .context = run};
    return fl_round_create(&run->round, &env);
}

static fl_status open_all(fl_run *run)
{
    static fl_status (*const steps[])(fl_run *) = {open_data,      open_clients,  open_config,
                                                   open_algorithm, fl_run_plan,   open_adapter,
                                                   open_model,     open_evaluator};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        FL_TRY(steps[i](run));
    return FL_OK;
}

/* The server trains nobody: it leaves the devices alone.  A client's numbers may not depend on
 * where it is trained, so all ranks that train have the same backend. */
static fl_status open_backend(fl_run *run)
{
    enum { NAME_SIZE = 16 };
    fl_transport *t = run->transport;
    int size = fl_transport_size(t), device = run->hosts_clients ? fl_transport_node(t).rank : -1;
    char mine[NAME_SIZE] = "", *all = NULL;
    fl_status status = fl_backend_open(&run->ops, run->options.run.backend, device);
    if (status == FL_OK) /* also where nothing runs: the plan depends on it */
        status = fl_backend_set_compute(run->ops, run->options.run.compute_dtype);
    if (status == FL_OK && run->hosts_clients) snprintf(mine, sizeof mine, "%s", run->ops->name);
    fl_status gathered = fl_alloc(&all, (size_t)size, sizeof mine);
    status = fl_agree(t, gathered != FL_OK ? gathered : status);
    if (status == FL_OK) status = fl_transport_gather(t, 0, mine, sizeof mine, all);
    for (int rank = 2; rank < size && fl_transport_rank(t) == 0 && status == FL_OK; rank++)
        if (strcmp(all + (size_t)rank * sizeof mine, all + sizeof mine) != 0)
            status = FL_FAIL_VALUE(FL_ERR_USAGE,
                                   "backend = \"auto\" is %s on rank 1 and %s on rank %d; name one",
                                   all + sizeof mine, all + (size_t)rank * sizeof mine, rank);
    fl_free(all);
    return status;
}

/* Once all else is fine, as it may take seconds. */
static fl_status open_devices(fl_run *run)
{
    fl_buf how = {0};
    const fl_backend_ops *ops = run->hosts_clients ? run->ops : NULL;
    fl_status status =
        fl_device_sums_open(&run->devices, run->transport, ops, run->options.run.device_sums, &how);
    if (status == FL_OK && how.length) FL_INFO("sums of updates: %s", fl_buf_text(&how));
    fl_buf_fini(&how);
    return status;
}

fl_status fl_run_open(fl_run *run)
{
    int size = fl_transport_size(run->transport), rank = fl_transport_rank(run->transport);
    run->hosts_clients = size == 1 || rank > 0;
    FL_TRY(fl_agree(run->transport, open_backend(run)));
    FL_TRY(fl_run_read_plans(run));
    FL_TRY(fl_agree(run->transport, fl_run_devices(run)));
    FL_TRY(fl_agree(run->transport, open_all(run)));
    FL_TRY(open_devices(run));
    return fl_agree(run->transport, open_round(run));
}

void fl_run_close(fl_run *run)
{
    fl_run_files_close(run);
    fl_round_destroy(run->round);
    fl_device_sum_close(run->devices);
    fl_metrics_close(run->metrics);
    fl_state_fini(&run->state);
    fl_evaluator_destroy(run->evaluator);
    fl_run_reference_close(run);
    fl_trainer_destroy(run->trainer);
    fl_model_close(run->model);
    fl_free(run->jobs);
    fl_free(run->results);
    fl_free(run->records);
    fl_free(run->positions);
    fl_server_state_fini(&run->server);
    fl_privacy_destroy(run->privacy);
    fl_params_fini(&run->adapter);
    fl_lora_fini(&run->lora);
    fl_arena_destroy(run->texts);
    fl_eval_set_fini(&run->eval_set);
    fl_free(run->cost);
    fl_free(run->weight);
    fl_run_data_close(&run->data);
    fl_options_fini(&run->options);
}

/* ---- --check -------------------------------------------------------------------------------- */

/* How the base is kept, for people. */
static const char *base_words(const fl_run *run)
{
    static const char *const names[] = {"as stored", "with linears in int8", "with linears in NF4"};
    fl_format asked = run->format, stored = run->model_config.stored;
    return names[stored == FL_STORED ? asked : stored];
}

static const char *expanded_words(const fl_run *run)
{
    if (!fl_run_base_is_wide(run)) return "";
    return run->memory_input.expanded ? ", expanded to bfloat16" : ", widened at every product";
}

void fl_run_describe(const fl_run *run, bool all)
{
    const fl_options *o = &run->options;
    const fl_memory_plan *plan = &run->memory_plan;
    int64_t parameters = run->memory_input.sizes.parameters;
    int size = fl_transport_size(run->transport);
    const fl_train_data data = fl_run_data_train(&run->data, run->ops);
    FL_INFO("model     %s: %lld layers, %.2f M parameters, %.1f MB %s%s",
            o->data.model_name_or_path, (long long)run->model_config.num_layers,
            (double)parameters / 1e6, (double)(plan->mapped + plan->base) / 1e6, base_words(run),
            expanded_words(run));
    FL_INFO("data      %s: %zu records (%s), longest %lld tokens, %zu of %zu tokens count",
            o->data.dataset_name, run->data.dataset->count, run->data.dataset->kind,
            (long long)run->data.objective->positions(&data),
            run->data.pairs ? run->data.pairs->num_targets : run->data.examples->num_targets,
            run->data.pairs ? run->data.pairs->num_tokens : run->data.examples->num_tokens);
    FL_INFO("adapter   LoRA r %lld, alpha %lld: trainable %zu of %.2f M parameters (%.3f %%)",
            (long long)o->lora.peft_lora_r, (long long)o->lora.peft_lora_alpha, run->adapter.count,
            (double)parameters / 1e6,
            100.0 * (double)run->adapter.count /
                (double)(parameters + (int64_t)run->adapter.count));
    FL_INFO(
        "federation %s (%s): %lld clients, %lld per round%s, %lld rounds of %lld steps x %lld x "
        "%lld",
        o->fed.fed_alg, o->fed.fed_variant, (long long)o->fed.num_clients,
        (long long)fl_participation_count(&o->fed), run->privacy ? " on average" : "",
        (long long)o->fed.num_rounds, (long long)o->train.max_steps,
        (long long)o->train.gradient_accumulation_steps, (long long)o->train.batch_size);
    FL_INFO("ranks     %d, of which %d train, %s backend, %lld thread(s) each", size,
            fl_placement_hosts(size), run->ops->name, (long long)o->run.threads);
    fl_memory_plan_print(plan, &run->memory_input, all);
    fl_run_privacy_describe(run);
}
