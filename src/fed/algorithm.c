#include "fed/algorithm.h"

#include "fed/lora_method.h"
#include "fed/update.h"

#include <stdio.h>
#include <string.h>

static const fl_algorithm *const algorithms[] = {
    &fl_algorithm_fedavg,     &fl_algorithm_fedprox, &fl_algorithm_scaffold, &fl_algorithm_fedavgm,
    &fl_algorithm_fedadagrad, &fl_algorithm_fedyogi, &fl_algorithm_fedadam,  &fl_algorithm_fednova,
    &fl_algorithm_feddyn,     &fl_algorithm_diloco,  &fl_algorithm_local,
};
enum { NUM_ALGORITHMS = sizeof algorithms / sizeof algorithms[0], MAX_ROWS = 64, MAX_NAMES = 400 };

const fl_algorithm *const *fl_algorithms(size_t *count)
{
    *count = NUM_ALGORITHMS;
    return algorithms;
}

static bool is_named(const fl_algorithm *algorithm, const char *fed_alg)
{
    if (algorithm->alias && strcmp(fed_alg, algorithm->alias) == 0) return true;
    if (!algorithm->numbered) return strcmp(fed_alg, algorithm->name) == 0;
    size_t length = strlen(algorithm->name);
    const char *rest = fed_alg + length;
    return strncmp(fed_alg, algorithm->name, length) == 0 &&
           strspn(rest, "0123456789") == strlen(rest);
}

/* Names and aliases, as words of a configuration row or for a person. */
static void list_names(char names[MAX_NAMES], const char *between, const char *number)
{
    size_t at = 0;
    for (size_t i = 0; i < NUM_ALGORITHMS; i++) {
        const fl_algorithm *a = algorithms[i];
        int length =
            snprintf(names + at, MAX_NAMES - at, "%s%s%s%s%s", i ? between : "", a->name,
                     a->numbered ? number : "", a->alias ? between : "", a->alias ? a->alias : "");
        at += (size_t)length;
        FL_ASSERT(at < MAX_NAMES);
    }
}

fl_status fl_algorithm_find(const fl_algorithm **out, const char *fed_alg)
{
    for (size_t i = 0; i < NUM_ALGORITHMS; i++)
        if (is_named(algorithms[i], fed_alg)) {
            *out = algorithms[i];
            return FL_OK;
        }
    char names[MAX_NAMES];
    list_names(names, ", ", "N");
    FL_FAIL(FL_ERR_USAGE, "fed_alg = \"%s\" is none of %s", fed_alg, names);
}

static bool is_listed(const fl_conf_row *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0) return true;
    return false;
}

/* Those that are not there yet; returns the new number. */
static size_t add_rows(fl_conf_row *rows, size_t n, const fl_conf_row *more, size_t count)
{
    for (size_t j = 0; j < count; j++)
        if (!is_listed(rows, n, more[j].name)) {
            FL_ASSERT(n < MAX_ROWS);
            rows[n++] = more[j];
        }
    return n;
}

const fl_conf_row *fl_algorithm_rows(size_t *count)
{
    static fl_conf_row rows[MAX_ROWS];
    static char words[MAX_NAMES];
    size_t n = 0;
    list_names(words, "|", "#");
    for (; n < fl_fed_row_count; n++) {
        rows[n] = fl_fed_rows[n];
        if (strcmp(rows[n].name, "fed_alg") == 0) rows[n].words = words;
        if (strcmp(rows[n].name, "lora_aggregation") == 0) rows[n].words = fl_lora_method_words();
    }
    for (size_t i = 0; i < NUM_ALGORITHMS; i++)
        n = add_rows(rows, n, algorithms[i]->rows, algorithms[i]->row_count);
    size_t num_methods;
    const fl_lora_method *const *methods = fl_lora_methods(&num_methods);
    for (size_t i = 0; i < num_methods; i++)
        n = add_rows(rows, n, methods[i]->rows, methods[i]->row_count);
    *count = n;
    return rows;
}

bool fl_algorithm_has_client_side(const fl_algorithm *a)
{
    return a->after_backward || a->after_step || a->finish_client;
}

bool fl_algorithm_weighs_equal(const fl_algorithm *a, const fl_fed_config *config)
{
    return a->weighting == FL_WEIGH_EQUAL ||
           (a->weighting == FL_WEIGH_EQUAL_IN_PAPER && !fl_fed_is_reference(config));
}

double fl_mean_of(const fl_round_sum *sum, size_t i)
{
    return fl_update_mean(sum->sum[i], sum->grid, sum->total_weight);
}
