/* Lines of metrics.jsonl.  Keys are stable: scripts of users read them. */
#include "app/run.h"
#include "base/log.h"
#include "base/mem.h"
#include "fed/participation.h"

#include <math.h>
#include <stdio.h>

/* Takes ownership of value.  A NULL value (out of memory) is noticed by the append. */
static void set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static void set_int(json_t *object, const char *key, int64_t value)
{
    set(object, key, json_integer(value));
}

static void set_real(json_t *object, const char *key, double value)
{
    set(object, key, fl_metrics_real(value));
}

static void set_measures(json_t *object, const fl_objective *objective, const double *values)
{
    for (int m = 0; m < FL_MAX_MEASURES && objective->measures[m].name; m++)
        set_real(object, objective->measures[m].name, values[m]);
}

/* What the reference model had to be run for; the rest was known.  It depends on what this folder
 * has seen, not only on the round. */
static json_t *reference_object(const fl_round_result *r)
{
    int64_t needed = 0, made = 0;
    for (int64_t i = 0; i < r->num_clients; i++) {
        needed += r->reports[i].reference_needed;
        made += r->reports[i].reference_made;
    }
    json_t *object = json_object();
    set_int(object, "needed", needed);
    set_int(object, "computed", made);
    set_real(object, "hit_rate", needed ? 1 - (double)made / (double)needed : 1);
    return object;
}

static json_t *client_object(const fl_client_report *report, const fl_objective *objective)
{
    json_t *object = json_object();
    set_int(object, "client", report->client);
    set_int(object, "rank", report->rank);
    set_int(object, "samples", report->samples);
    set_real(object, "loss", report->loss);
    set_measures(object, objective, report->measures);
    set_int(object, "steps", report->steps);
    set_int(object, "tokens", report->tokens);
    set_real(object, "grad_norm", report->grad_norm);
    set_real(object, "seconds", report->seconds);
    set(object, "outcome", json_string(fl_update_fault_text((fl_update_fault)report->fault)));
    return object;
}

static json_t *seconds_object(const fl_round_result *r, double total, double save)
{
    json_t *object = json_object();
    set_real(object, "total", total);
    set_real(object, "wait", r->seconds_wait);
    set_real(object, "train", r->seconds_train);
    set_real(object, "transfer", r->seconds_transfer);
    set_real(object, "aggregate", r->seconds_aggregate);
    set_real(object, "save_before", save);
    return object;
}

/* Who was selected, who answered, who was dropped and why. */
static json_t *participation_object(const fl_round_result *r)
{
    json_t *object = json_object(), *dropped = json_array();
    set_int(object, "selected", r->num_clients);
    set_int(object, "answered", r->num_answered);
    for (int64_t i = 0; i < r->num_clients; i++) {
        if (r->reports[i].fault == FL_UPDATE_FINE) continue;
        json_t *entry = json_object();
        set_int(entry, "client", r->reports[i].client);
        set(entry, "reason",
            json_string(fl_update_fault_text((fl_update_fault)r->reports[i].fault)));
        json_array_append_new(dropped, entry);
    }
    set(object, "dropped", dropped);
    return object;
}

/* Over the adapted matrices. */
static json_t *aggregation_object(const fl_round_result *r)
{
    json_t *object = json_object();
    set_real(object, "error_mean", r->lora.error_mean);
    set_real(object, "error_max", r->lora.error_max);
    set_real(object, "stable_rank_mean", r->lora.stable_rank_mean);
    set_real(object, "stable_rank_max", r->lora.stable_rank_max);
    set_int(object, "bytes", (int64_t)r->bytes_figures);
    return object;
}

static json_t *privacy_object(const fl_run *run)
{
    const fl_fed_config *fed = &run->options.fed;
    bool accounted = fl_privacy_is_accounted(run->privacy);
    json_t *object = json_object();
    set_real(object, "epsilon", accounted ? run->state.epsilon : (double)NAN);
    set_real(object, "delta", fed->dp_delta);
    set_real(object, "clip", fed->dp_clip);
    set_real(object, "noise_multiplier", fed->dp_noise_multiplier);
    set_real(object, "sampling_rate",
             (double)fl_participation_count(fed) / (double)fed->num_clients);
    return object;
}

/* The further numbers of the objective. */
static void add_objective(json_t *line, const fl_round_result *r, const fl_objective *objective)
{
    set_measures(line, objective, r->measures);
    if (objective->has_reference) set(line, "reference", reference_object(r));
}

/* What single clients did; a private run does not tell. */
static void add_clients(json_t *line, const fl_round_result *r, const fl_objective *objective)
{
    json_t *clients = json_array();
    set(line, "participation", participation_object(r));
    for (int64_t i = 0; i < r->num_clients; i++)
        json_array_append_new(clients, client_object(&r->reports[i], objective));
    set(line, "clients", clients);
}

fl_status fl_record_round(fl_run *run, const fl_round_result *r, double seconds)
{
    bool private = fl_privacy_is_accounted(run->privacy);
    json_t *line = json_object();
    set(line, "event", json_string("round"));
    set_int(line, "round", r->round + 1);
    set_real(line, "loss", r->loss);
    set_real(line, "learning_rate", r->learning_rate);
    if (!private) set_int(line, "tokens", r->tokens);
    set(line, "seconds", seconds_object(r, seconds, run->seconds_save));
    set_int(line, "bytes_down", (int64_t)r->bytes_down);
    set_int(line, "bytes_up", (int64_t)r->bytes_up);
    set_int(line, "peak_memory", (int64_t)r->peak_memory);
    if (r->lora.matrices) set(line, "aggregation", aggregation_object(r));
    if (run->privacy) set(line, "privacy", privacy_object(run));
    if (!private) add_objective(line, r, run->data.objective);
    if (!private) add_clients(line, r, run->data.objective);
    fl_status status = fl_metrics_append(run->metrics, line);
    json_decref(line);
    return status;
}

/* Exact match per domain, over all models, and the first item of each as an example. */
static void add_domains(const fl_run *run, const fl_eval_scores *scores, json_t *line)
{
    const fl_eval_set *items = &run->eval_set;
    json_t *domains = json_object(), *examples = json_array();
    set(line, "domains", domains);
    set(line, "examples", examples);
    size_t i = 0; /* items of a domain are neighbours */
    for (size_t d = 0; d < items->num_domains; d++) {
        const fl_eval_item *first = &items->items[i];
        json_t *example = json_object(), *domain = json_object();
        set(example, "domain", json_string(items->domains[d]));
        set(example, "instruction", json_string(first->instruction));
        set(example, "expected", json_string(first->expected));
        set(example, "answer", json_string(scores->answers[i].text));
        json_array_append_new(examples, example);
        int64_t count = 0, correct = 0;
        for (; i < items->count && items->items[i].domain == d; i++, count++)
            correct += scores->correct[i];
        set_int(domain, "items", count * (int64_t)scores->models);
        set_int(domain, "correct", correct);
        set(domains, items->domains[d], domain);
    }
}

/* Exact match of every client's own model, and their spread. */
static void add_models(const fl_run *run, const fl_eval_scores *scores, double mean, json_t *line)
{
    if (!scores->clients) return;
    json_t *clients = json_array();
    double lowest = 1, highest = 0, squares = 0, items = (double)run->eval_set.count;
    for (size_t k = 0; k < scores->models; k++) {
        double score = (double)scores->client_correct[k] / items;
        json_t *client = json_object();
        set_int(client, "client", scores->clients[k]);
        set_real(client, "exact_match", score);
        json_array_append_new(clients, client);
        lowest = fmin(lowest, score);
        highest = fmax(highest, score);
        squares += (score - mean) * (score - mean);
    }
    set(line, "clients", clients);
    set_real(line, "lowest", lowest);
    set_real(line, "highest", highest);
    set_real(line, "deviation", sqrt(squares / (double)scores->models));
}

static void say_eval(const fl_run *run, int64_t round, const fl_eval_scores *scores, double mean)
{
    char models[64] = "";
    if (scores->clients)
        snprintf(models, sizeof models, ", mean of %zu clients' own models", scores->models);
    FL_INFO("held-out exact match after round %lld: %.1f %% of %zu%s", (long long)round,
            100.0 * mean, run->eval_set.count, models);
}

fl_status fl_record_eval(fl_run *run, int64_t round, const fl_eval_scores *scores)
{
    int64_t correct = 0, items = (int64_t)(run->eval_set.count * scores->models);
    for (size_t i = 0; i < run->eval_set.count; i++)
        correct += scores->correct[i];
    double exact_match = (double)correct / (double)items;
    json_t *line = json_object();
    set(line, "event", json_string("eval"));
    set_int(line, "round", round);
    set_real(line, "exact_match", exact_match);
    set_int(line, "items", items);
    set_int(line, "correct", correct);
    add_models(run, scores, exact_match, line);
    add_domains(run, scores, line);
    fl_status status = fl_metrics_append(run->metrics, line);
    json_decref(line);
    if (status == FL_OK) say_eval(run, round, scores, exact_match);
    return status;
}
