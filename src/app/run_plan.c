/* The memory of a run, held against what its node and its devices have before any of it is taken.
 */
#include "app/run.h"
#include "base/machine.h"
#include "fed/placement.h"

#include <string.h>

/* The longest sequence that training or an answer can reach. */
static int64_t longest_sequence(const fl_run *run)
{
    const fl_train_data data = fl_run_data_train(&run->data, run->ops);
    int64_t longest = run->data.objective->positions(&data);
    if (run->eval_set.count == 0) return longest;
    int64_t answered = run->eval_set.longest_prompt + run->options.eval.max_new_tokens;
    return answered > longest ? answered : longest;
}

int64_t fl_run_longest_example(const fl_run *run)
{
    const fl_train_data data = fl_run_data_train(&run->data, run->ops);
    int64_t prompt = run->eval_set.longest_prompt, example = run->data.objective->longest(&data);
    return example > prompt ? example : prompt;
}

/* The model's own check would blame seq_length for what evaluation asks for. */
static fl_status check_answers(const fl_run *run)
{
    int64_t prompt = run->eval_set.longest_prompt, answer = run->options.eval.max_new_tokens;
    FL_CHECK(run->eval_set.count == 0 || prompt + answer <= run->model_config.max_positions,
             FL_ERR_USAGE,
             "a held-out prompt of %lld tokens and max_new_tokens = %lld do not fit the model's "
             "%lld positions",
             (long long)prompt, (long long)answer, (long long)run->model_config.max_positions);
    return FL_OK;
}

/* Tokens up to the first that counts, in the example that has most in front of it. */
static int64_t longest_start(const fl_examples *examples)
{
    int64_t longest = 0;
    for (size_t i = 0; i < examples->count; i++) {
        const int32_t *labels = examples->labels + examples->offset[i];
        int64_t length = fl_example_length(examples, i), start = 0;
        while (start < length && labels[start] == FL_LABEL_IGNORE)
            start++;
        if (start < length && start >= longest) longest = start + 1;
    }
    return longest;
}

/* Lengths of the examples; pairs are not cut by seq_length, so it promises nothing there. */
static void set_lengths(fl_memory_input *in, const fl_run *run)
{
    const fl_train_data data = fl_run_data_train(&run->data, run->ops);
    in->longest_example = run->data.objective->longest(&data);
    in->shortest = data.examples ? longest_start(data.examples) : in->longest_example;
    in->seq_length = data.examples ? run->options.data.seq_length : in->longest_example;
}

/* Everything but the sizes of the model. */
static fl_memory_input memory_input(fl_run *run)
{
    const fl_options *o = &run->options;
    fl_node node = fl_transport_node(run->transport);
    int size = fl_transport_size(run->transport);
    bool server = node.first == 0 && size > 1;
    fl_memory_input in = {.ops = run->ops,
                          .model = &run->model_config,
                          .format = run->format,
                          .lora = run->lora,
                          .train = o->train,
                          .eval = &o->eval,
                          .algorithm = run->algorithm,
                          .fed = &o->fed,
                          .longest_prompt = run->eval_set.longest_prompt,
                          .most_examples = run->most_examples,
                          .clients = run->clients_at_once,
                          .eval_items = run->eval_set.count,
                          .hosts = node.ranks - (server ? 1 : 0),
                          .trainers = fl_placement_hosts(size),
                          .devices = run->num_devices,
                          .server = server,
                          .alone = size == 1,
                          .process = fl_process_private_bytes()};
    set_lengths(&in, run);
    return in;
}

static uint64_t bytes_of(double gigabytes)
{
    return (uint64_t)(gigabytes * 1e9);
}

static fl_memory_limits limits_of(const fl_run *run)
{
    const fl_run_options *o = &run->options.run;
    /* what the ranks of the node hold by now is in the plan, too */
    uint64_t available = fl_machine_available_bytes("");
    uint64_t held = run->memory_input.process * (uint64_t)fl_transport_node(run->transport).ranks;
    bool is_known = available <= UINT64_MAX - held;
    fl_memory_limits limits = {.node = is_known ? available + held : UINT64_MAX,
                               .node_source = "free memory",
                               .device = run->device_free,
                               .device_source = "free on the device"};
    if (o->memory_limit > 0) {
        limits.node = bytes_of(o->memory_limit);
        limits.node_source = "memory_limit";
    }
    if (o->device_memory_limit > 0 && run->num_devices > 0) {
        limits.device = bytes_of(o->device_memory_limit);
        limits.device_source = "device_memory_limit";
    }
    return limits;
}

bool fl_run_base_is_wide(const fl_run *run)
{
    const fl_model_sizes *sizes = &run->memory_input.sizes;
    bool quantised = run->format != FL_STORED || run->model_config.stored != FL_STORED;
    return fl_model_can_expand(run->ops) && (quantised || sizes->stored != FL_BF16);
}

/* Of any device of the run, so that all ranks choose alike: sums over many rows of a matrix that is
 * widened piece by piece may differ in the last bits. */
static bool fits_all_devices(const fl_run *run)
{
    double limit = run->options.run.device_memory_limit;
    uint64_t share = run->device_share;
    if (limit > 0 && run->device_sharers > 0)
        share = bytes_of(limit) / (uint64_t)run->device_sharers;
    return run->memory_plan.device <= share;
}

/* The plan, with an expanded base or without. */
static fl_status choose_base(fl_run *run)
{
    const char *word = run->options.run.expand_base;
    fl_memory_input *in = &run->memory_input;
    bool insists = strcmp(word, "yes") == 0;
    FL_CHECK(!insists || fl_model_can_expand(run->ops) || !run->hosts_clients, FL_ERR_USAGE,
             "expand_base = \"yes\" is for a device that computes in bfloat16; this is the %s "
             "backend in %s",
             run->ops->name, fl_dtype_name(run->ops->act_dtype()));
    in->expanded = strcmp(word, "no") != 0 && fl_run_base_is_wide(run);
    FL_TRY(fl_memory_plan_make(&run->memory_plan, in));
    if (!in->expanded || insists || fits_all_devices(run)) return FL_OK;
    in->expanded = false;
    return fl_memory_plan_make(&run->memory_plan, in);
}

fl_status fl_run_plan(fl_run *run)
{
    const fl_options *o = &run->options;
    FL_TRY(check_answers(run));
    fl_backend_set_threads((int)o->run.threads);
    run->longest = longest_sequence(run);
    run->clients_at_once = fl_round_slots(&o->fed, run->privacy, o->run.clients_per_pass);
    run->memory_input = memory_input(run);
    FL_TRY(fl_model_measure(&run->memory_input.sizes, o->data.model_name_or_path, run->longest,
                            run->format));
    FL_TRY(choose_base(run));
    fl_memory_limits limits = limits_of(run);
    return fl_memory_plan_check(&run->memory_plan, &run->memory_input, &limits);
}
