#include "data_tools/picture.h"

#include "base/file.h"
#include "data_tools/svg.h"

#include <stdio.h>

enum {
    WIDTH = 960,
    HEIGHT = 700,
    LEFT = 80, /* of both panels */
    RIGHT = 770,
    MAX_BARS = 400,
    BINS = 46,
    X_LABELS = 20,
    LEGEND_CHARACTERS = 20
};

/* Okabe and Ito's colours, which people tell apart whatever they see. */
static const char *const colours[SUMMARY_COLUMNS] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                                     "#56b4e9", "#d55e00", "#f0e442", "#999999"};
static const char grid_colour[] = "#dddddd", axis_colour[] = "#222222", cut_colour[] = "#d55e00";

typedef struct panel {
    double top, bottom;
    double most; /* value at the top */
    size_t step; /* between two lines of the grid */
} panel;

/* A round step that gives at most five lines up to `most`. */
static size_t round_step(size_t most)
{
    size_t step = 1;
    for (;;) {
        static const size_t factors[] = {1, 2, 5};
        for (size_t i = 0; i < 3; i++)
            if (step * factors[i] * 5 >= most) return step * factors[i];
        step *= 10;
    }
}

static double height_at(const panel *p, double value)
{
    return p->bottom - (p->bottom - p->top) * value / p->most;
}

static panel draw_panel(svg *s, double top, size_t most, const char *title, const char *x,
                        const char *y)
{
    panel p = {.top = top, .bottom = top + 220, .step = round_step(most)};
    p.most = (double)(p.step * ((most + p.step - 1) / p.step));
    char text[32];
    for (size_t value = 0; (double)value <= p.most; value += p.step) {
        double at = height_at(&p, (double)value);
        svg_line(s, LEFT, at, RIGHT, at, value ? grid_colour : axis_colour);
        snprintf(text, sizeof text, "%zu", value);
        svg_text(s, LEFT - 8, at + 4, SVG_END, 12, text);
    }
    svg_text(s, LEFT, top - 14, SVG_START, 14, title);
    svg_text(s, (LEFT + RIGHT) / 2.0, p.bottom + 38, SVG_MIDDLE, 12, x);
    svg_text_up(s, 22, (p.top + p.bottom) / 2, 12, y);
    return p;
}

/* ---- the clients ---------------------------------------------------------------------------- */

static void draw_client(svg *s, const panel *p, const data_summary *summary, size_t k, size_t bars)
{
    double width = (double)(RIGHT - LEFT) / (double)bars, x = LEFT + width * (double)k;
    double thin = width * (bars > 100 ? 1 : 0.8);
    size_t below = 0;
    for (size_t c = 0; c < summary->num_columns; c++) {
        size_t records = summary->records[k][c];
        if (records == 0) continue;
        double low = height_at(p, (double)below);
        below += records;
        double high = height_at(p, (double)below);
        svg_rect(s, x + (width - thin) / 2, high, thin, low - high, colours[c]);
    }
    size_t every = (bars + X_LABELS - 1) / X_LABELS;
    if (k % every) return;
    char text[32];
    snprintf(text, sizeof text, "%zu", k);
    svg_text(s, x + width / 2, p->bottom + 17, SVG_MIDDLE, 12, text);
}

/* A name cut to what fits beside the panel. */
static void draw_name(svg *s, double y, const char *name)
{
    char text[LEGEND_CHARACTERS * 4 + 8];
    size_t length = 0, characters = 0;
    for (; name[length]; length++) {
        bool starts = ((unsigned char)name[length] & 0xc0) != 0x80;
        if (starts && characters == LEGEND_CHARACTERS) break;
        characters += starts;
    }
    snprintf(text, sizeof text, "%.*s%s", (int)length, name, name[length] ? "…" : "");
    svg_text(s, RIGHT + 36, y + 10, SVG_START, 12, text);
}

static void draw_legend(svg *s, const data_summary *summary, const char *field, double top)
{
    if (!summary->has_labels) return;
    svg_text(s, RIGHT + 18, top + 6, SVG_START, 12, field);
    for (size_t c = 0; c < summary->num_columns; c++) {
        double y = top + 16 + 20 * (double)c;
        svg_rect(s, RIGHT + 18, y, 12, 12, colours[c]);
        draw_name(s, y, summary->column[c]);
    }
}

static void draw_clients(svg *s, const data_summary *summary, const data_tool *tool)
{
    size_t bars = summary->num_clients < MAX_BARS ? summary->num_clients : MAX_BARS;
    char title[120];
    snprintf(title, sizeof title, "Records of the clients, split %s%s",
             tool->options.fed.split_strategy,
             bars < summary->num_clients ? " (the first 400)" : "");
    panel p = draw_panel(s, 90, summary->largest_client, title, "client", "records");
    for (size_t k = 0; k < bars; k++)
        draw_client(s, &p, summary, k, bars);
    draw_legend(s, summary, tool->options.data.dataset.label_field, p.top);
}

/* ---- the lengths ---------------------------------------------------------------------------- */

/* A histogram: bins of `width` tokens, the first one begins with `first`. */
typedef struct bins {
    int64_t first, width; /* tokens; width >= 1 */
    size_t used;
    size_t count[BINS], most;
} bins;

static void fill_bins(bins *b, const data_summary *summary)
{
    b->first = summary->length[0];
    int64_t span = data_summary_quantile(summary, 1) - b->first + 1;
    b->width = (span + BINS - 1) / BINS;
    b->used = (size_t)((span + b->width - 1) / b->width);
    for (size_t i = 0; i < summary->num_records; i++) {
        size_t *count = &b->count[(summary->length[i] - b->first) / b->width];
        if (++*count > b->most) b->most = *count;
    }
}

static double length_at(const bins *b, int64_t length)
{
    return LEFT +
           (RIGHT - LEFT) * (double)(length - b->first) / ((double)b->width * (double)b->used);
}

/* What stands right of the line is cut off. */
static void draw_cut(svg *s, const panel *p, double x, const char *name)
{
    bool has_room = x < RIGHT - 80;
    svg_line(s, x, p->top, x, p->bottom, cut_colour);
    svg_text(s, has_room ? x + 5 : x - 5, p->top + 12, has_room ? SVG_START : SVG_END, 12, name);
}

static void draw_lengths(svg *s, const data_summary *summary)
{
    bins b = {0};
    fill_bins(&b, summary);
    char below[64];
    snprintf(below, sizeof below, "tokens, before %s cuts", summary->limit_name);
    panel p = draw_panel(s, 410, b.most, "Tokens of a record", below, "records");
    double width = (double)(RIGHT - LEFT) / (double)b.used;
    size_t every = (b.used + X_LABELS / 2 - 1) / (X_LABELS / 2);
    for (size_t i = 0; i < b.used; i++) {
        int64_t from = b.first + (int64_t)i * b.width;
        double high = height_at(&p, (double)b.count[i]), x = length_at(&b, from);
        char text[32];
        svg_rect(s, x + width * 0.04, high, width * 0.92, p.bottom - high, colours[0]);
        snprintf(text, sizeof text, "%lld", (long long)from);
        if (i % every == 0)
            svg_text(s, b.width == 1 ? x + width / 2 : x, p.bottom + 17, SVG_MIDDLE, 12, text);
    }
    double cut = length_at(&b, summary->limit + 1);
    if (cut >= LEFT && cut <= RIGHT) draw_cut(s, &p, cut, summary->limit_name);
}

fl_status data_picture_write(const char *path, const data_summary *summary, const data_tool *tool)
{
    svg s = {0};
    char title[200];
    snprintf(title, sizeof title, "%.120s: %zu records, %zu clients",
             tool->options.data.dataset_name, summary->num_records, summary->num_clients);
    svg_begin(&s, WIDTH, HEIGHT);
    svg_text(&s, WIDTH / 2.0, 36, SVG_MIDDLE, 18, title);
    draw_clients(&s, summary, tool);
    draw_lengths(&s, summary);
    svg_end(&s);
    fl_status status = s.status;
    if (status == FL_OK) status = fl_file_write_atomic(path, s.text.data, s.text.length);
    fl_buf_fini(&s.text);
    return status;
}
