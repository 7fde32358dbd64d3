/* The closing report, read back from metrics.jsonl so that a finished run can tell it again. */
#include "app/run.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#include <math.h>
#include <string.h>

typedef struct history {
    json_t *first_eval, *last_eval; /* owned */
    double *loss;                   /* [rounds] */
    size_t rounds, capacity;
    size_t with_loss; /* rounds */
} history;

static fl_status add_line(history *h, json_t *line)
{
    const char *event = json_string_value(json_object_get(line, "event"));
    if (!event) return FL_OK;
    if (strcmp(event, "eval") == 0) {
        json_t **slot = h->first_eval ? &h->last_eval : &h->first_eval;
        json_decref(*slot);
        *slot = json_incref(line);
    } else if (strcmp(event, "round") == 0) {
        FL_TRY(fl_grow(&h->loss, &h->capacity, h->rounds + 1, sizeof *h->loss));
        const json_t *loss = json_object_get(line, "loss");
        h->with_loss += json_is_number(loss);
        h->loss[h->rounds++] = json_is_number(loss) ? json_number_value(loss) : (double)NAN;
    }
    return FL_OK;
}

static fl_status read_history(history *h, const char *path)
{
    fl_buf text = {0};
    FL_TRY(fl_file_read(&text, path, 0));
    fl_status status = FL_OK;
    size_t number = 1;
    for (size_t at = 0; at < text.length && status == FL_OK; number++) {
        const char *start = text.data + at, *end = memchr(start, '\n', text.length - at);
        size_t length = end ? (size_t)(end - start) : text.length - at;
        json_t *line = NULL;
        status = fl_json_parse(&line, start, length, path, number);
        if (status == FL_OK) status = add_line(h, line);
        json_decref(line);
        at += length + 1;
    }
    fl_buf_fini(&text);
    return status;
}

static fl_status say_losses(const history *h)
{
    enum { PER_LINE = 8, MAX_SHOWN = 32 };
    size_t step = (h->rounds + MAX_SHOWN - 1) / MAX_SHOWN;
    fl_buf line = {0};
    fl_status status = FL_OK;
    FL_INFO("loss per round%s:", step > 1 ? " (some)" : "");
    size_t shown = 0;
    for (size_t r = 0; r < h->rounds && status == FL_OK; r++) {
        if (step > 1 && r % step != 0 && r + 1 != h->rounds) continue;
        status = fl_buf_addf(&line, "  %3zu: %.3f", r + 1, h->loss[r]);
        if (++shown % PER_LINE == 0 || r + 1 == h->rounds) {
            FL_INFO("%s", fl_buf_text(&line));
            fl_buf_clear(&line);
        }
    }
    fl_buf_fini(&line);
    return status;
}

static double domain_percent(const json_t *eval, const char *domain)
{
    const json_t *entry = json_object_get(json_object_get(eval, "domains"), domain);
    double items = json_number_value(json_object_get(entry, "items"));
    return items > 0 ? 100.0 * json_number_value(json_object_get(entry, "correct")) / items : 0;
}

static double total_percent(const json_t *eval)
{
    return 100.0 * json_number_value(json_object_get(eval, "exact_match"));
}

static void say_scores(const json_t *before, const json_t *after)
{
    FL_INFO("held-out exact match, %%:     base    tuned");
    const char *domain;
    json_t *entry;
    json_object_foreach(json_object_get(after, "domains"), domain, entry)
    {
        FL_INFO("  %-20s %10.1f %8.1f", domain, domain_percent(before, domain),
                domain_percent(after, domain));
    }
    FL_INFO("  %-20s %10.1f %8.1f   (%+.1f points)", "all", total_percent(before),
            total_percent(after), total_percent(after) - total_percent(before));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* On one line: runs of white space become one blank. */
static void say_text(const char *label, const char *text)
{
    char line[160];
    size_t length = 0;
    for (; *text && length + 1 < sizeof line; text++) {
        bool blank = *text == ' ' || *text == '\n' || *text == '\t' || *text == '\r';
        if (blank && (length == 0 || line[length - 1] == ' ')) continue;
        line[length++] = blank ? ' ' : *text;
    }
    line[length] = 0;
    FL_INFO("    %-9s %s", label, line);
}

static void say_answers(const json_t *before, const json_t *after)
{
    enum { SHOWN = 3 };
    const json_t *old = json_object_get(before, "examples"),
                 *new = json_object_get(after, "examples");
    FL_INFO("sample answers:");
    for (size_t i = 0; i < json_array_size(new) && i < SHOWN; i++) {
        const json_t *example = json_array_get(new, i);
        FL_INFO("  %s", text_of(example, "instruction"));
        say_text("expected:", text_of(example, "expected"));
        say_text("base:", text_of(json_array_get(old, i), "answer"));
        say_text("tuned:", text_of(example, "answer"));
    }
}

static fl_status say_all(const history *h, const char *dir)
{
    if (h->with_loss) FL_TRY(say_losses(h)); /* private runs tell none */
    if (h->first_eval && h->last_eval) {
        say_scores(h->first_eval, h->last_eval);
        say_answers(h->first_eval, h->last_eval);
    }
    FL_INFO("adapter (loads in PEFT): %s/adapter", dir);
    FL_INFO("numbers of every round:  %s/metrics.jsonl", dir);
    return FL_OK;
}

fl_status fl_report(const fl_run *run)
{
    const char *dir = run->options.run.output_dir;
    fl_buf path = {0};
    history h = {0};
    fl_status status = fl_path_join(&path, dir, "metrics.jsonl");
    if (status == FL_OK) status = read_history(&h, fl_buf_text(&path));
    if (status == FL_OK) status = say_all(&h, dir);
    json_decref(h.first_eval);
    json_decref(h.last_eval);
    fl_free(h.loss);
    fl_buf_fini(&path);
    return status;
}
