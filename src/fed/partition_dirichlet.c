/* Label skew: the records of every label are divided over the clients in shares drawn from
 * Dirichlet(dirichlet_alpha), one draw per label (Hsu, Qi, Brown 2019; Yurochkin et al. 2019).  A
 * client that is left with nothing takes one record of the largest client, so every client can
 * train and the others are hardly changed. */
#include "fed/partition_internal.h"

#include <math.h>
#include <string.h>

void fl_dirichlet_cut(fl_rng *rng, double alpha, size_t parts, size_t total, double *share,
                      size_t *end)
{
    double largest = -INFINITY, sum = 0, so_far = 0;
    for (size_t k = 0; k < parts; k++) {
        share[k] = fl_rng_log_gamma(rng, alpha);
        if (share[k] > largest) largest = share[k];
    }
    for (size_t k = 0; k < parts; k++)
        sum += share[k] = exp(share[k] - largest);
    for (size_t k = 0; k < parts; k++) {
        so_far += share[k];
        end[k] = (size_t)((double)total * (so_far / sum));
    }
    end[parts - 1] = total;
}

/* Scratch of a split. */
typedef struct work {
    double *share;   /* [num_clients] */
    size_t *end;     /* [num_clients] */
    size_t *size;    /* [num_clients] records */
    size_t *first;   /* [labels + 1] in `order` */
    uint32_t *order; /* [count] rows, label by label */
    fl_arena *arena;
} work;

static fl_status make_work(work *w, const fl_partition_job *job)
{
    FL_TRY(fl_arena_create(&w->arena));
    FL_TRY(fl_arena_alloc(w->arena, &w->share, job->num_clients, sizeof *w->share));
    FL_TRY(fl_arena_alloc(w->arena, &w->end, job->num_clients, sizeof *w->end));
    FL_TRY(fl_arena_alloc(w->arena, &w->size, job->num_clients, sizeof *w->size));
    FL_TRY(fl_arena_alloc(w->arena, &w->first, job->groups->count + 2, sizeof *w->first));
    return fl_arena_alloc(w->arena, &w->order, job->count, sizeof *w->order);
}

/* Counting sort; while it runs first[l + 1] is where the next row of label l goes. */
static void sort_by_label(work *w, const fl_partition_job *job)
{
    size_t labels = job->groups->count;
    for (size_t i = 0; i < job->count; i++)
        w->first[job->group[i] + 2]++;
    for (size_t l = 2; l <= labels; l++)
        w->first[l] += w->first[l - 1];
    for (size_t i = 0; i < job->count; i++)
        w->order[w->first[job->group[i] + 1]++] = (uint32_t)i;
}

static void divide_label(work *w, const fl_partition_job *job, size_t label, uint32_t *client)
{
    fl_rng rng = fl_rng_make(job->seed, FL_PURPOSE_PARTITION, label, 0, 0, 0);
    const uint32_t *rows = w->order + w->first[label];
    fl_dirichlet_cut(&rng, job->config->dirichlet_alpha, job->num_clients,
                     w->first[label + 1] - w->first[label], w->share, w->end);
    for (size_t k = 0, row = 0; k < job->num_clients; k++)
        for (; row < w->end[k]; row++) {
            client[rows[row]] = (uint32_t)k;
            w->size[k]++;
        }
}

/* Gives client k the last row of the largest client. */
static void feed(work *w, const fl_partition_job *job, size_t k, uint32_t *client)
{
    size_t largest = 0, row = job->count - 1;
    for (size_t other = 1; other < job->num_clients; other++)
        if (w->size[other] > w->size[largest]) largest = other;
    while (client[row] != largest)
        row--;
    client[row] = (uint32_t)k;
    w->size[largest]--;
    w->size[k]++;
}

static fl_status assign(const fl_partition_job *job, uint32_t *client)
{
    work w = {0};
    fl_status status = make_work(&w, job);
    if (status == FL_OK) {
        sort_by_label(&w, job);
        for (size_t label = 0; label < job->groups->count; label++)
            divide_label(&w, job, label, client);
        for (size_t k = 0; k < job->num_clients; k++)
            if (w.size[k] == 0) feed(&w, job, k, client);
    }
    fl_arena_destroy(w.arena);
    return status;
}

const fl_partition_strategy fl_partition_dirichlet = {
    .name = "dirichlet", .key = FL_KEY_LABEL, .assign = assign};
