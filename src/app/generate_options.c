#include "app/generate_options.h"

#include "app/program.h"

#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(fl_generate_options, field)

/* Hugging Face's names and defaults, but for the temperature: its greedy default is 0 here. */
// clang-format off
static const fl_conf_row rows[] = {
    {"adapter", FL_CONF_STRING, AT(adapter), "", 0, 0, NULL,
     "folder of a LoRA adapter as PEFT lays it out; empty = the base alone"},
    {"load_in_8bit", FL_CONF_BOOL, AT(load_in_8bit), "false", 0, 0, NULL,
     "keep the linears of the layers in int8, as in training; computed at load"},
    {"load_in_4bit", FL_CONF_BOOL, AT(load_in_4bit), "false", 0, 0, NULL, "keep them in NF4"},
    {"prompt", FL_CONF_STRING, AT(prompt), "", 0, 0, NULL, "one prompt"},
    {"file", FL_CONF_STRING, AT(file), "", 0, 0, NULL,
     "file of prompts: one a line, or JSON Lines with prompt or instruction; also .gz"},
    {"template", FL_CONF_STRING, AT(template), "alpaca", 0, 0, NULL,
     "text around each prompt (docs/templates.md), or none; with --chat, unless set, the model's own "
     "chat template, or vicuna where it has none"},
    {"chat", FL_CONF_BOOL, AT(chat), "false", 0, 0, NULL,
     "keep a conversation with lines from the terminal; /reset forgets it, /quit ends"},
    {"json", FL_CONF_BOOL, AT(json), "false", 0, 0, NULL,
     "print one JSON object per answer: prompt, text, tokens, finish_reason"},
    {"max_new_tokens", FL_CONF_INT, AT(max_new_tokens), "256", 1, 1048576, NULL,
     "tokens of an answer at the most"},
    {"max_length", FL_CONF_INT, AT(max_length), "0", 0, 1048576, NULL,
     "tokens of prompt (or conversation) and answer together; 0 = what the model allows"},
    {"batch_size", FL_CONF_INT, AT(batch_size), "8", 1, 256, NULL,
     "prompts answered at a time; answers do not depend on it"},
    {"temperature", FL_CONF_FLOAT, AT(temperature), "0", 0, 100, NULL,
     "0 = always the most likely token; else scores are divided by it and a token is drawn"},
    {"top_k", FL_CONF_INT, AT(top_k), "50", 0, 16777216, NULL,
     "draw from the k most likely tokens; 0 = from all"},
    {"top_p", FL_CONF_FLOAT, AT(top_p), "1", 1e-9, 1, NULL,
     "draw from the fewest most likely tokens that have this probability together"},
    {"repetition_penalty", FL_CONF_FLOAT, AT(repetition_penalty), "1", 0.01, 100, NULL,
     "makes tokens of prompt and answer less likely; 1 = no penalty"},
    {"seed", FL_CONF_INT, AT(seed), "2023", 0, 4294967295.0, NULL,
     "of the draws; same seed, same answers"},
};
static const fl_conf_row backend_rows[] = {
    {"backend", FL_CONF_WORD, AT(backend), "auto", 0, 0, "auto|cpu|cuda|cuda_emu",
     "where the mathematics runs; auto takes the best one present"},
    {"compute_dtype", FL_CONF_WORD, AT(compute_dtype), "auto", 0, 0, "auto|float32|bfloat16",
     "what matrix products multiply and activations are stored in; all else is float32; auto: "
     "bfloat16 on cuda, float32 elsewhere"},
    {"threads", FL_CONF_INT, AT(threads), "1", 1, 1024, NULL, "threads; answers do not depend on it"},
};
// clang-format on

enum { NUM_GROUPS = 3 };
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void join_groups(fl_conf_group groups[NUM_GROUPS], fl_generate_options *options)
{
    groups[0] = (fl_conf_group){"generate", "what is answered and how", rows, COUNT(rows), options};
    groups[1] =
        (fl_conf_group){"chat", "the conversation format of template = custom", fl_custom_rows,
                        fl_custom_row_count, options ? &options->custom : NULL};
    groups[2] =
        (fl_conf_group){"backend", "where it runs", backend_rows, COUNT(backend_rows), options};
}

static fl_status add_stop(fl_generate_options *o, const char *text)
{
    char *copy;
    FL_CHECK(text[0], FL_ERR_USAGE, "command line: --stop needs a text");
    FL_TRY(fl_grow(&o->stops, &o->stop_capacity, o->num_stops + 1, sizeof *o->stops));
    FL_TRY(fl_arena_text(o->arena, &copy, text, strlen(text)));
    fl_unescape(copy); /* a shell passes a line break on only with tricks */
    o->stops[o->num_stops++] = copy;
    return FL_OK;
}

/* --stop may stand several times, and its texts may hold commas; a list of the tables has neither.
 * Takes it out of argv. */
static fl_status take_stops(fl_generate_options *o, int *argc, char **argv)
{
    for (;;) {
        const char *text;
        FL_TRY(fl_args_take(argc, argv, "--stop", &text));
        if (!text) return FL_OK;
        FL_TRY(add_stop(o, text));
    }
}

static fl_status check(fl_generate_options *o)
{
    int sources = fl_conf_is_set(o->conf, "prompt") + (o->file[0] != 0) + o->chat;
    FL_CHECK(sources <= 1, FL_ERR_USAGE, "only one of prompt, file and chat can be given");
    o->is_free = o->chat && !fl_conf_is_set(o->conf, "template");
    if (o->is_free) o->template = "chat";
    const bool is_plain = strcmp(o->template, "none") == 0;
    FL_CHECK(!o->chat || !is_plain, FL_ERR_USAGE, "a chat needs a conversation, not template none");
    return is_plain ? FL_OK : fl_text_format_check(o->template, &o->custom);
}

fl_status fl_generate_options_load(fl_generate_options *out, int argc, char **argv)
{
    static fl_conf_group groups[NUM_GROUPS]; /* outlive the conf, once per process */
    *out = (fl_generate_options){0};
    join_groups(groups, out);
    FL_TRY(fl_arena_create(&out->arena));
    FL_TRY(fl_conf_create(&out->conf, groups, NUM_GROUPS));
    FL_TRY(take_stops(out, &argc, argv));
    FL_TRY(fl_conf_override(out->conf, argc, argv));
    FL_TRY(fl_conf_finish(out->conf));
    return check(out);
}

void fl_generate_options_fini(fl_generate_options *options)
{
    fl_free(options->stops);
    fl_arena_destroy(options->arena);
    fl_conf_destroy(options->conf);
    *options = (fl_generate_options){0};
}

fl_status fl_generate_options_help(fl_buf *out)
{
    fl_conf_group groups[NUM_GROUPS];
    join_groups(groups, NULL);
    return fl_conf_help(groups, NUM_GROUPS, out);
}
