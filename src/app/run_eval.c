/* Held-out evaluation in a run: of the global adapter, or of every client's own where the method
 * has clients keep a factor.  Then a model is the global adapter with that client's factor, for
 * each client that has taken part; all ranks judge one client after the other. */
#include "app/run.h"
#include "base/log.h"
#include "fed/agree.h"
#include "fed/own_factor.h"

#include <string.h>

typedef struct tally {
    fl_eval_scores scores;
    fl_eval_answer *answers; /* [items] of the first model */
    int64_t *correct;        /* [items] */
    uint32_t *clients;       /* [num_clients] */
    int64_t *client_correct; /* [num_clients] */
    float *state_round;      /* [num_clients] */
    float *adapter;          /* [adapter.count] */
    fl_own_factor own;
    fl_arena *arena;
} tally;

static fl_status open_tally(tally *t, const fl_run *run)
{
    size_t items = run->eval_set.count, clients = (size_t)run->options.fed.num_clients;
    FL_TRY(fl_arena_create(&t->arena));
    FL_TRY(fl_arena_alloc(t->arena, &t->answers, items, sizeof *t->answers));
    FL_TRY(fl_arena_alloc(t->arena, &t->correct, items, sizeof *t->correct));
    FL_TRY(fl_arena_alloc(t->arena, &t->clients, clients, sizeof *t->clients));
    FL_TRY(fl_arena_alloc(t->arena, &t->client_correct, clients, sizeof *t->client_correct));
    FL_TRY(fl_arena_alloc(t->arena, &t->state_round, clients, sizeof *t->state_round));
    FL_TRY(fl_arena_alloc(t->arena, &t->adapter, run->adapter.count, sizeof *t->adapter));
    t->scores = (fl_eval_scores){
        .answers = t->answers, .correct = t->correct, .client_correct = t->client_correct};
    return FL_OK;
}

static void close_tally(tally *t)
{
    fl_own_factor_fini(&t->own);
    fl_arena_destroy(t->arena);
}

/* Collective: one model, whose adapter this rank has set. */
static fl_status judge(fl_run *run, tally *t)
{
    const fl_eval_answer *answers;
    FL_TRY(fl_evaluate(run->evaluator, &answers));
    size_t model = t->scores.models++;
    for (size_t i = 0; answers && i < run->eval_set.count; i++) {
        if (model == 0) t->answers[i] = answers[i];
        t->correct[i] += answers[i].correct;
        t->client_correct[model] += answers[i].correct;
    }
    return FL_OK;
}

static fl_status judge_global(fl_run *run, tally *t)
{
    if (run->trainer) fl_trainer_set_adapter(run->trainer, run->adapter.data);
    return judge(run, t);
}

static fl_status set_own(fl_run *run, tally *t, uint32_t client)
{
    if (!run->trainer) return FL_OK;
    memcpy(t->adapter, run->adapter.data, run->adapter.count * sizeof *t->adapter);
    FL_TRY(fl_own_factor_load(&t->own, client, (int64_t)t->state_round[client], t->adapter));
    fl_trainer_set_adapter(run->trainer, t->adapter);
    return FL_OK;
}

static fl_status judge_clients(fl_run *run, tally *t)
{
    size_t num_clients = (size_t)run->options.fed.num_clients;
    const float *known = run->server.client_round.data; /* rank 0 knows */
    if (known) memcpy(t->state_round, known, num_clients * sizeof *known);
    FL_TRY(fl_transport_bcast(run->transport, 0, t->state_round,
                              num_clients * sizeof *t->state_round));
    t->scores.clients = t->clients;
    for (uint32_t k = 0; k < num_clients; k++) {
        if (t->state_round[k] == 0) continue;
        t->clients[t->scores.models] = k;
        FL_TRY(fl_agree(run->transport, set_own(run, t, k)));
        FL_TRY(judge(run, t));
    }
    /* no client has taken part: the model is the base */
    return t->scores.models > 0 ? FL_OK : judge_global(run, t);
}

static fl_status judge_all(fl_run *run, tally *t)
{
    fl_status status = open_tally(t, run);
    if (status == FL_OK && run->method->client)
        status =
            fl_own_factor_init(&t->own, run->method, &run->adapter, run->options.run.output_dir);
    FL_TRY(fl_agree(run->transport, status));
    FL_TRY(fl_transport_bcast(run->transport, 0, run->adapter.data,
                              run->adapter.count * sizeof *run->adapter.data));
    return run->method->client ? judge_clients(run, t) : judge_global(run, t);
}

fl_status fl_run_evaluate(fl_run *run, int64_t done)
{
    bool root = fl_transport_rank(run->transport) == 0;
    tally t = {0};
    fl_status status = judge_all(run, &t);
    if (status == FL_OK)
        status = fl_agree(run->transport, root ? fl_record_eval(run, done, &t.scores) : FL_OK);
    close_tally(&t);
    return status;
}
