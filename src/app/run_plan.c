/* The memory of a run, held against what its node has before any of it is taken. */
#include "app/run.h"
#include "base/machine.h"
#include "fed/placement.h"

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
                          .server = server,
                          .alone = size == 1,
                          .process = fl_process_private_bytes()};
    set_lengths(&in, run);
    return in;
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
    FL_TRY(fl_memory_plan_make(&run->memory_plan, &run->memory_input));
    if (o->run.memory_limit > 0)
        return fl_memory_plan_check(&run->memory_plan, &run->memory_input,
                                    (uint64_t)(o->run.memory_limit * 1e9), "memory_limit");
    /* what the ranks of the node hold by now is in the plan, too */
    uint64_t available = fl_machine_available_bytes("");
    uint64_t held = run->memory_input.process * (uint64_t)fl_transport_node(run->transport).ranks;
    if (available > UINT64_MAX - held) return FL_OK; /* unknown */
    return fl_memory_plan_check(&run->memory_plan, &run->memory_input, available + held,
                                "free memory");
}
