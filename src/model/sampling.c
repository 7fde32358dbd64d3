/* Scores stay in fp32 as in the reference; sums of probabilities are taken in double precision. */
#include "model/sampling.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A candidate that may still be drawn. */
typedef struct candidate {
    float score;
    int32_t id;
} candidate;

struct fl_sampler {
    int64_t V;
    float *scores;   /* [V] after the penalty */
    candidate *kept; /* [V] */
    int64_t num_kept;
    double *weights; /* [V] of the kept ones, in their order */
    fl_arena *arena;
};

static fl_status allocate(fl_sampler *s)
{
    size_t V = (size_t)s->V;
    FL_TRY(fl_arena_create(&s->arena));
    FL_TRY(fl_arena_alloc(s->arena, &s->scores, V, sizeof *s->scores));
    FL_TRY(fl_arena_alloc(s->arena, &s->kept, V, sizeof *s->kept));
    return fl_arena_alloc(s->arena, &s->weights, V, sizeof *s->weights);
}

fl_status fl_sampler_create(fl_sampler **out, int64_t vocab_size)
{
    fl_sampler *s;
    FL_TRY(fl_alloc(&s, 1, sizeof *s));
    s->V = vocab_size;
    fl_status status = allocate(s);
    if (status != FL_OK) {
        fl_sampler_destroy(s);
        return status;
    }
    *out = s;
    return FL_OK;
}

void fl_sampler_destroy(fl_sampler *s)
{
    if (!s) return;
    fl_arena_destroy(s->arena);
    fl_free(s);
}

/* ---- processors ----------------------------------------------------------------------------- */

/* A token that stands in the history several times is penalised once: the score is always made from
 * the logit. */
static void penalise(fl_sampler *s, const float *logits, const int32_t *history, int64_t n,
                     float penalty)
{
    memcpy(s->scores, logits, (size_t)s->V * sizeof *s->scores);
    if (penalty == 1.0f) return;
    for (int64_t i = 0; i < n; i++) {
        int32_t id = history[i];
        if (id < 0 || id >= s->V) continue;
        s->scores[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
    }
}

/* NaN would pass every comparison below unnoticed, so it is looked for here. */
static fl_status find_largest(const fl_sampler *s, int32_t *out)
{
    int32_t best = 0;
    bool bad = false;
    for (int32_t id = 0; id < s->V; id++) {
        bad |= isnan(s->scores[id]) != 0;
        if (s->scores[id] > s->scores[best]) best = id;
    }
    FL_CHECK(!bad && isfinite(s->scores[best]), FL_ERR_NUMERIC,
             "the model's logits hold NaN or infinity");
    *out = best;
    return FL_OK;
}

/* Greedy: one candidate, weight 1. */
static void keep_only(fl_sampler *s, int32_t id)
{
    s->kept[0] = (candidate){.score = 0, .id = id};
    s->num_kept = 1;
}

/* Most likely first, of equals the smaller id. */
static int by_score(const void *a, const void *b)
{
    const candidate *p = a, *q = b;
    if (p->score != q->score) return p->score > q->score ? -1 : 1;
    return (p->id > q->id) - (p->id < q->id);
}

static int by_id(const void *a, const void *b)
{
    const candidate *p = a, *q = b;
    return (p->id > q->id) - (p->id < q->id);
}

/* The list must be sorted by score.  Equal scores at the edge all stay, as in the reference, which
 * removes what is below the k-th score. */
static void keep_top_k(fl_sampler *s, int64_t k)
{
    if (k == 0 || k >= s->num_kept) return;
    float limit = s->kept[k - 1].score;
    int64_t kept = k;
    while (kept < s->num_kept && s->kept[kept].score == limit)
        kept++;
    s->num_kept = kept;
}

/* weights[i] = softmax over the kept ones. */
static void weigh(fl_sampler *s)
{
    double sum = 0, largest = (double)s->kept[0].score;
    for (int64_t i = 1; i < s->num_kept; i++)
        largest = fmax(largest, (double)s->kept[i].score);
    for (int64_t i = 0; i < s->num_kept; i++)
        sum += s->weights[i] = exp((double)s->kept[i].score - largest);
    for (int64_t i = 0; i < s->num_kept; i++)
        s->weights[i] /= sum;
}

/* Sorted by score too.  From the tail, as Hugging Face has it: a token goes when it and all less
 * likely ones together have at most 1 - p. */
static void keep_top_p(fl_sampler *s, double p)
{
    if (p >= 1) return;
    weigh(s);
    double tail = 0;
    while (s->num_kept > 1 && tail + s->weights[s->num_kept - 1] <= 1 - p)
        tail += s->weights[--s->num_kept];
}

/* Leaves the candidates in ascending order of ids, with their weights. */
static fl_status process(fl_sampler *s, const fl_sampling *o, const float *logits,
                         const int32_t *history, int64_t n)
{
    int32_t best;
    penalise(s, logits, history, n, (float)o->repetition_penalty);
    FL_TRY(find_largest(s, &best));
    float temperature = (float)o->temperature;
    if (temperature <= 0)
        keep_only(s, best);
    else
        for (s->num_kept = 0; s->num_kept < s->V; s->num_kept++)
            /* relative to the largest, so that a tiny temperature does not reach infinity */
            s->kept[s->num_kept] =
                (candidate){.score = (s->scores[s->num_kept] - s->scores[best]) / temperature,
                            .id = (int32_t)s->num_kept};
    bool cuts = s->num_kept > 1 && ((o->top_k > 0 && o->top_k < s->V) || o->top_p < 1);
    if (cuts) {
        qsort(s->kept, (size_t)s->num_kept, sizeof *s->kept, by_score);
        keep_top_k(s, o->top_k);
        keep_top_p(s, o->top_p);
        qsort(s->kept, (size_t)s->num_kept, sizeof *s->kept, by_id);
    }
    weigh(s);
    return FL_OK;
}

fl_status fl_sampler_probabilities(fl_sampler *s, const fl_sampling *options, const float *logits,
                                   const int32_t *history, int64_t n, double *probs)
{
    FL_TRY(process(s, options, logits, history, n));
    memset(probs, 0, (size_t)s->V * sizeof *probs);
    for (int64_t i = 0; i < s->num_kept; i++)
        probs[s->kept[i].id] = s->weights[i];
    return FL_OK;
}

/* ---- the draw ------------------------------------------------------------------------------- */

/* Uniform in [0, 1) with 53 bits: 24 would never reach tokens rarer than 6e-8. */
static double uniform(const fl_sampling *options, fl_draw draw)
{
    fl_rng rng =
        fl_rng_make(options->seed, FL_PURPOSE_SAMPLING, draw.sequence, draw.position, 0, 0);
    uint64_t high = fl_rng_u32(&rng), low = fl_rng_u32(&rng);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

fl_status fl_sampler_next(fl_sampler *s, const fl_sampling *options, const float *logits,
                          const int32_t *history, int64_t n, fl_draw draw, int32_t *token)
{
    FL_TRY(process(s, options, logits, history, n));
    double target = uniform(options, draw), sum = 0;
    int64_t chosen = -1;
    for (int64_t i = 0; i < s->num_kept && sum <= target; i++) {
        if (s->weights[i] == 0) continue; /* cannot be drawn, also when the sum rounds badly */
        sum += s->weights[i];
        chosen = i;
    }
    *token = s->kept[chosen].id;
    return FL_OK;
}
