/* What to change when a run does not fit: every remedy is tried on the plan itself. */
#include "app/memory_plan.h"

#include "base/buf.h"

/* One key that makes the plan smaller. */
typedef struct remedy {
    bool (*less)(fl_memory_input *in); /* one step; false: there is none left */
    fl_status (*say)(fl_buf *out, const fl_memory_input *in); /* the key with the value reached */
} remedy;

static bool less_expanded(fl_memory_input *in)
{
    if (!in->expanded) return false;
    in->expanded = false;
    return true;
}

static fl_status say_expanded(fl_buf *out, const fl_memory_input *in)
{
    (void)in;
    return fl_buf_add_text(out, "expand_base = no");
}

static bool less_clients(fl_memory_input *in)
{
    if (in->clients <= 1) return false;
    in->clients--;
    return true;
}

static fl_status say_clients(fl_buf *out, const fl_memory_input *in)
{
    return fl_buf_addf(out, "clients_per_pass = %lld", (long long)in->clients);
}

static bool less_activations(fl_memory_input *in)
{
    if (in->train.gradient_checkpointing) return false;
    return in->train.gradient_checkpointing = true;
}

static fl_status say_activations(fl_buf *out, const fl_memory_input *in)
{
    (void)in;
    return fl_buf_add_text(out, "gradient_checkpointing = true");
}

/* The next smaller divisor, so that accumulation makes the same batch of it. */
static bool less_batch(fl_memory_input *in)
{
    int64_t batch = in->train.batch_size, smaller = batch - 1;
    while (smaller > 1 && batch % smaller != 0)
        smaller--;
    if (smaller < 1) return false;
    in->train.gradient_accumulation_steps *= batch / smaller;
    in->train.batch_size = smaller;
    return true;
}

static fl_status say_batch(fl_buf *out, const fl_memory_input *in)
{
    return fl_buf_addf(out, "batch_size = %lld (gradient_accumulation_steps = %lld)",
                       (long long)in->train.batch_size,
                       (long long)in->train.gradient_accumulation_steps);
}

static bool less_int8(fl_memory_input *in)
{
    if (in->model->stored != FL_STORED || in->format != FL_STORED) return false;
    in->format = FL_INT8;
    return true;
}

static bool less_nf4(fl_memory_input *in)
{
    if (in->model->stored != FL_STORED || in->format == FL_NF4) return false;
    in->format = FL_NF4;
    return true;
}

static fl_status say_format(fl_buf *out, const fl_memory_input *in)
{
    return fl_buf_addf(out, "load_in_%s = true", in->format == FL_NF4 ? "4bit" : "8bit");
}

/* A little at a time; what no example reaches saves nothing. */
static bool less_sequence(fl_memory_input *in)
{
    enum { STEP = 16 };
    int64_t length = in->seq_length;
    if (length > in->longest_example) length = in->longest_example;
    length = (length - length / 32 - 1) / STEP * STEP;
    if (length < 1 || length < in->shortest) return false;
    in->seq_length = length;
    return true;
}

static fl_status say_sequence(fl_buf *out, const fl_memory_input *in)
{
    return fl_buf_addf(out, "seq_length = %lld", (long long)in->seq_length);
}

static bool less_lora(fl_memory_input *in)
{
    if (in->lora.r == 1 || in->lora.sizes) return false; /* patterns choose other ranks */
    in->lora.r = (in->lora.r + 1) / 2;
    return true;
}

static fl_status say_lora(fl_buf *out, const fl_memory_input *in)
{
    return fl_buf_addf(out, "peft_lora_r = %lld", (long long)in->lora.r);
}

static bool less_ranks(fl_memory_input *in)
{
    if (in->hosts <= 1) return false;
    in->hosts--;
    return true;
}

static fl_status say_ranks(fl_buf *out, const fl_memory_input *in)
{
    return fl_buf_addf(out, "%d training rank%s on this node", in->hosts,
                       in->hosts == 1 ? "" : "s");
}

/* In the order in which they cost the user something. */
static const remedy remedies[] = {
    {less_expanded, say_expanded}, {less_clients, say_clients}, {less_activations, say_activations},
    {less_batch, say_batch},       {less_int8, say_format},     {less_nf4, say_format},
    {less_sequence, say_sequence}, {less_lora, say_lora},       {less_ranks, say_ranks},
};
enum { NUM_REMEDIES = sizeof remedies / sizeof remedies[0] };

/* The first limit that a plan does not keep. */
typedef struct shortage {
    uint64_t needs, has;
    bool of_device;
} shortage;

static bool falls_short(shortage *out, const fl_memory_plan *plan, const fl_memory_input *in,
                        const fl_memory_limits *limits)
{
    uint64_t device = fl_memory_plan_device(plan, in);
    bool of_device = plan->node <= limits->node;
    *out = of_device ? (shortage){device, limits->device, true}
                     : (shortage){plan->node, limits->node, false};
    return out->needs > out->has;
}

/* Takes steps of one remedy until the plan fits. */
static fl_status shrink(const remedy *r, fl_memory_input *in, const fl_memory_limits *limits,
                        bool *fits, bool *changed)
{
    *fits = *changed = false;
    while (!*fits && r->less(in)) {
        fl_memory_plan plan;
        shortage still;
        FL_TRY(fl_memory_plan_make(&plan, in));
        *fits = !falls_short(&still, &plan, in, limits);
        *changed = true;
    }
    return FL_OK;
}

static double gigabytes(uint64_t bytes)
{
    return (double)bytes / 1e9;
}

/* Each remedy that is enough by itself. */
static fl_status one_by_one(fl_buf *out, const fl_memory_input *in, const fl_memory_limits *limits)
{
    for (size_t i = 0; i < NUM_REMEDIES; i++) {
        fl_memory_input changed = *in;
        bool fits, any;
        FL_TRY(shrink(&remedies[i], &changed, limits, &fits, &any));
        if (!fits) continue;
        FL_TRY(fl_buf_add_text(out, out->length ? ", or " : "it fits with "));
        FL_TRY(remedies[i].say(out, &changed));
    }
    return FL_OK;
}

/* One after the other, as many as it takes. */
static fl_status together(fl_buf *out, const fl_memory_input *in, const fl_memory_limits *limits)
{
    fl_memory_input changed = *in;
    bool fits = false, any;
    for (size_t i = 0; i < NUM_REMEDIES && !fits; i++) {
        fl_format before = changed.format;
        FL_TRY(shrink(&remedies[i], &changed, limits, &fits, &any));
        bool passed = changed.format == FL_INT8 && before != FL_INT8 && !fits; /* NF4 follows */
        if (!any || passed) continue;
        FL_TRY(fl_buf_add_text(out, out->length ? " and " : "it fits with "));
        FL_TRY(remedies[i].say(out, &changed));
    }
    if (fits) return FL_OK;
    fl_memory_plan least;
    shortage still;
    FL_TRY(fl_memory_plan_make(&least, &changed));
    falls_short(&still, &least, &changed, limits);
    fl_buf_clear(out);
    return fl_buf_addf(out, "at the least it needs %.3f GB%s", gigabytes(still.needs),
                       still.of_device ? " of a device" : "");
}

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

static fl_status refuse(const fl_memory_plan *plan, const fl_memory_input *in,
                        const fl_memory_limits *limits, const shortage *gap, const char *advice)
{
    double needs = gigabytes(gap->needs), has = gigabytes(gap->has);
    if (gap->of_device)
        return fl_fail(FL_ERR_USAGE,
                       "the run needs %.3f GB on a device (%d training rank%s of %.3f GB on %d "
                       "device%s), there are %.3f GB (%s); %s",
                       needs, in->hosts, plural(in->hosts), gigabytes(plan->device), in->devices,
                       plural(in->devices), has, limits->device_source, advice);
    return fl_fail(FL_ERR_USAGE,
                   "the run needs %.3f GB on this node (%d training rank%s of %.3f GB, %.3f GB of "
                   "the base shared by them), there are %.3f GB (%s); %s",
                   needs, in->hosts, plural(in->hosts), gigabytes(plan->rank),
                   gigabytes(plan->mapped), has, limits->node_source, advice);
}

fl_status fl_memory_plan_check(const fl_memory_plan *plan, const fl_memory_input *in,
                               const fl_memory_limits *limits)
{
    shortage gap;
    if (!falls_short(&gap, plan, in, limits)) return FL_OK;
    fl_buf advice = {0};
    fl_status status = one_by_one(&advice, in, limits);
    if (status == FL_OK && advice.length == 0) status = together(&advice, in, limits);
    if (status == FL_OK) status = refuse(plan, in, limits, &gap, fl_buf_text(&advice));
    fl_buf_fini(&advice);
    return status;
}
