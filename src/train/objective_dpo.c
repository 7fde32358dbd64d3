/* Direct preference optimisation: of two answers to a prompt the chosen one becomes more likely
 * than under the reference, the base without adapter.
 *
 * The decoder's layers run once per micro-batch; the weights of the rows are known between its two
 * halves.  LoRA's dropout is off, as in TRL: the reference has none either.
 */
#include "train/dpo_loss.h"
#include "train/objective.h"

#include <math.h>

enum { CHOSEN, REJECTED, ANSWERS };
enum { MARGIN, ACCURACY, LOGP_CHOSEN, LOGP_REJECTED };

static size_t count_pairs(const fl_train_data *data)
{
    return data->pairs->count;
}

static int64_t pair_tokens(const fl_train_data *data, size_t i)
{
    return fl_pair_tokens(data->pairs, i, data->share_prompts);
}

static int64_t longest_pair(const fl_train_data *data)
{
    return data->pairs->max_tokens[data->share_prompts];
}

static int64_t most_positions(const fl_train_data *data)
{
    return data->pairs->max_length;
}

static fl_status pack(fl_batch *batch, const fl_micro_part *part)
{
    return fl_batch_add_pairs(batch, part->data->pairs, part->picked, part->count,
                              part->data->share_prompts);
}

static int64_t answer_length(const fl_micro_part *part, size_t i, int answer)
{
    return fl_pair_length(part->data->pairs, part->picked[i], FL_PART_CHOSEN + answer);
}

static double *reference_of(const fl_micro_part *part, size_t i)
{
    return part->data->reference + ANSWERS * (size_t)part->picked[i];
}

/* logp[2i], logp[2i + 1] = the summed log-probabilities of the answers of pair i, counted through
 * the parts. */
static void sum_rows(const fl_micro_batch *m, double *logp)
{
    const double *nll = m->nll;
    for (int64_t c = 0; c < m->clients; c++)
        for (size_t i = 0; i < m->parts[c].count; i++)
            for (int a = 0; a < ANSWERS; a++) {
                double sum = 0;
                for (int64_t t = answer_length(&m->parts[c], i, a); t > 0; t--)
                    sum += *nll++;
                *logp++ = -sum;
            }
}

/* The first of the two is enough: both are computed together. */
static bool has_reference(const fl_train_data *data, uint32_t i)
{
    return !isnan(data->reference[ANSWERS * (size_t)i]);
}

static fl_status make_reference(const fl_micro_batch *m)
{
    fl_tokens_view tokens = fl_micro_tokens(m);
    fl_targets_view targets = fl_micro_targets(m);
    FL_TRY(fl_decoder_nll(m->decoder, &tokens, &targets, m->nll));
    sum_rows(m, m->logp);
    const double *logp = m->logp;
    for (int64_t c = 0; c < m->clients; c++)
        for (size_t i = 0; i < m->parts[c].count; i++)
            for (size_t a = 0; a < ANSWERS; a++)
                reference_of(&m->parts[c], i)[a] = *logp++;
    return FL_OK;
}

static void fill(float *weights, int64_t count, double value)
{
    for (int64_t t = 0; t < count; t++)
        weights[t] = (float)value;
}

/* How far the walk over the rows of a batch has come. */
typedef struct place {
    const double *logp; /* of the answers of the pair at hand */
    float *weights;     /* of its rows */
} place;

/* Loss of pair i of a client; writes d loss / d nll of its rows and moves on. */
static double pair_loss(const fl_train_config *config, const fl_dpo_loss *loss,
                        const fl_micro_part *part, size_t i, place *at)
{
    double logp[ANSWERS], gain[ANSWERS], scale[ANSWERS], slope, *measures = part->measures;
    for (int a = 0; a < ANSWERS; a++) {
        scale[a] = loss->per_token ? 1 / (double)answer_length(part, i, a) : 1;
        logp[a] = scale[a] * at->logp[a];
        gain[a] = scale[a] * (at->logp[a] - reference_of(part, i)[a]);
    }
    double h = gain[CHOSEN] - gain[REJECTED], value = loss->value(config, h, &slope);
    for (int a = 0; a < ANSWERS; a++) {
        double sign = a == CHOSEN ? -1 : 1; /* of d h / d nll */
        int64_t length = answer_length(part, i, a);
        fill(at->weights, length, sign * slope * scale[a] / (double)part->count);
        at->weights += length;
    }
    at->logp += ANSWERS;
    measures[MARGIN] += config->dpo_beta * h;
    measures[ACCURACY] += h > 0;
    measures[LOGP_CHOSEN] += logp[CHOSEN];
    measures[LOGP_REJECTED] += logp[REJECTED];
    return value;
}

static fl_status gradient(const fl_micro_batch *m)
{
    fl_tokens_view tokens = fl_micro_tokens(m);
    fl_targets_view targets = fl_micro_targets(m);
    const fl_dpo_loss *kind = fl_dpo_loss_find(m->config->dpo_loss);
    FL_TRY(fl_decoder_forward(m->decoder, &tokens, &targets, NULL, m->nll));
    sum_rows(m, m->logp);
    place at = {.logp = m->logp, .weights = m->batch->weights};
    for (int64_t c = 0; c < m->clients; c++) {
        const fl_micro_part *part = &m->parts[c];
        m->loss[c] = 0;
        for (size_t i = 0; i < part->count; i++)
            m->loss[c] += pair_loss(m->config, kind, part, i, &at) / (double)part->count;
    }
    fl_decoder_backward(m->decoder, m->batch->weights, m->grads);
    return FL_OK;
}

const fl_objective fl_objective_dpo = {
    .name = "dpo",
    .sequences = 1 + ANSWERS, /* the prompt, where it is shared */
    .measures = {[MARGIN] = {"reward_margin", "margin"},
                 [ACCURACY] = {"reward_accuracy", "accuracy"},
                 [LOGP_CHOSEN] = {"logp_chosen", NULL},
                 [LOGP_REJECTED] = {"logp_rejected", NULL}},
    .count = count_pairs,
    .tokens = pair_tokens,
    .longest = longest_pair,
    .positions = most_positions,
    .pack = pack,
    .gradient = gradient,
    .has_reference = has_reference,
    .make_reference = make_reference,
};
