/* All keys of a run: the modules' rows joined into groups, and the flags of the command line. */
#ifndef FL_APP_OPTIONS_H
#define FL_APP_OPTIONS_H

#include "comm/transport.h"
#include "data/dataset.h"
#include "fed/evaluate.h"
#include "fed/fed_config.h"
#include "train/train_config.h"

typedef struct fl_data_options {
    const char *model_name_or_path, *dataset_name, *local_data_dir, *template;
    fl_dataset_options dataset;
    int64_t dataset_sample, seq_length;
    bool load_in_8bit, load_in_4bit;
} fl_data_options;

typedef struct fl_lora_options {
    bool use_peft, use_rslora;
    int64_t peft_lora_r, peft_lora_alpha;
    double lora_dropout;
    fl_conf_list target_modules, rank_pattern, alpha_pattern;
} fl_lora_options;

typedef struct fl_run_options {
    const char *backend, *compute_dtype, *expand_base, *device_sums, *gemm_plans;
    const char *output_dir, *log_level;
    int64_t threads, clients_per_pass;
    double memory_limit, device_memory_limit; /* GB; 0: what is there */
} fl_run_options;

/* Options of the reference that its command lines carry and that change nothing here. */
typedef struct fl_reference_options {
    bool ignored_flag;
    int64_t ignored_number;
    const char *ignored_text;
} fl_reference_options;

typedef struct fl_options {
    fl_data_options data;
    fl_custom_format custom;
    fl_lora_options lora;
    fl_train_config train;
    fl_fed_config fed;
    fl_eval_config eval;
    fl_run_options run;
    fl_reference_options reference;
    fl_conf *conf; /* owns the strings */
} fl_options;

enum { FL_MAX_CONFIG = 1 << 24 }; /* bytes of a config file */

/* From the text of the config file `path` and the arguments.  On error, FL_ERR_USAGE, out->conf may
 * have the list of all faults in fl_conf_errors; fl_options_fini is due in any case. */
fl_status fl_options_parse(fl_options *out, const char *path, const fl_buf *text, int argc,
                           char *const *argv);
/* What can be said of the clients once their number is known: called by fl_options_parse, and after
 * the split where the data tells the number.  Errors: FL_ERR_USAGE. */
fl_status fl_options_check_clients(const fl_options *options);
void fl_options_fini(fl_options *options);

/* The text of --help, and docs/config.md. */
fl_status fl_options_help(fl_buf *out);
fl_status fl_options_markdown(fl_buf *out);

#endif
