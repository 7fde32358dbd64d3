/* A model that answers: everything opened for generation, and one answer in the making. */
#ifndef FL_APP_SESSION_H
#define FL_APP_SESSION_H

#include "app/generate_options.h"
#include "data/text_stream.h"
#include "model/generate.h"
#include "model/generation_config.h"
#include "model/sampling.h"

typedef struct fl_session {
    const fl_generate_options *options;
    fl_tokenizer *tokenizer;
    fl_text_format format; /* of prompts and conversations, unless is_plain */
    bool is_plain;         /* prompts as they are */
    fl_model *model;
    fl_lora_config lora;
    fl_params adapter;   /* host memory; empty without an adapter */
    float *live_adapter; /* the same in backend memory, or NULL */
    fl_eos_ids eos;      /* any of them ends an answer */
    const char **stops;  /* [num_stops] texts that do; those of options and format */
    size_t num_stops;
    fl_sampling sampling; /* from the options */
    int64_t max_length;   /* of prompt and answer */
    fl_decoder *decoder;
    fl_generator *generator;
    fl_sampler *sampler; /* NULL when every token is the most likely one */
} fl_session;

/* Opens model, tokenizer and adapter.  fl_session_close is due in any case.  Errors: FL_ERR_USAGE,
 * and those of what is opened. */
fl_status fl_session_open(fl_session *session, const fl_generate_options *options,
                          const char *model_dir);
void fl_session_close(fl_session *session);

/* Makes room for that many sequences of up to `capacity` tokens. */
fl_status fl_session_prepare(fl_session *session, int64_t num_sequences, int64_t capacity);
/* Prints what it would take instead. */
fl_status fl_session_describe(const fl_session *session, int64_t num_sequences, int64_t capacity);

/* One answer; all zeros to begin with, fl_answer_fini in the end. */
typedef struct fl_answer {
    uint64_t number; /* among all answers: the random stream's key */
    int32_t *ids;    /* [count] prompt and answer */
    size_t count, capacity, prompt_length;
    int64_t most_new;   /* tokens that the answer may have */
    const char *finish; /* "stop", "length"; NULL: it goes on */
    fl_text_stream stream;
} fl_answer;

fl_status fl_answer_add_ids(fl_answer *answer, const int32_t *ids, size_t count);
/* The prompt is complete: the answer begins behind what ids hold.  drops_space: see
 * fl_text_stream_start.  Errors: FL_ERR_MEMORY. */
fl_status fl_answer_begin(fl_answer *answer, const fl_session *session, bool drops_space);
/* Chooses the next token of sequence s, which is this answer's, and appends it unless it ends the
 * answer.  Errors: FL_ERR_NUMERIC, FL_ERR_MEMORY. */
fl_status fl_answer_choose(fl_answer *answer, fl_session *session, int64_t s);
void fl_answer_fini(fl_answer *answer);

/* ---- standard output ------------------------------------------------------------------------ */

/* Prints text from byte *printed on up to what may be shown, and moves *printed.  On a terminal
 * control characters become '?': a model must not steer it. */
void fl_answer_show(const fl_answer *answer, size_t *printed);
/* Prints the object of --json.  Errors: FL_ERR_INPUT for a prompt that is not UTF-8. */
fl_status fl_answer_print_json(const fl_answer *answer, const char *prompt, size_t length);
/* Errors: FL_ERR_IO when something of what was printed got lost. */
fl_status fl_output_check(void);

/* ---- what the program does with a session --------------------------------------------------- */

/* Prompts as the user gave them; closed texts, owned by the arena. */
typedef struct fl_prompts {
    const char **texts;
    size_t count, capacity;
    fl_arena *arena;
} fl_prompts;

/* From options->prompt, options->file or standard input.  Errors name the line: FL_ERR_INPUT,
 * FL_ERR_IO. */
fl_status fl_prompts_read(fl_prompts *out, const fl_generate_options *options);
void fl_prompts_fini(fl_prompts *prompts);

/* Answers all prompts, several at a time, printing in their order. */
fl_status fl_session_answer_all(fl_session *session, const fl_prompts *prompts);
/* Keeps a conversation with standard input until it ends. */
fl_status fl_session_chat(fl_session *session);

#endif
