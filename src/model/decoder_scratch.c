/* What the ops of a decoder keep for themselves at the most. */
#include "model/decoder_internal.h"

/* Linears first .. last read one input: what they want together. */
static void need_of_group(fl_scratch_need *need, const fl_model_config *c, fl_module first,
                          fl_module last)
{
    int64_t rows, cols = 0, all_rows = 0, all_cols = 0;
    bool biased = false;
    for (int m = (int)first; m <= (int)last; m++) {
        fl_module_shape((fl_module)m, c, &rows, &cols);
        all_rows += rows;
        all_cols += cols;
        biased = biased || c->bias[m];
    }
    if (all_rows * cols > need->matrix) need->matrix = all_rows * cols;
    if (cols > need->longest_row) need->longest_row = cols;
    if (all_rows > need->width) need->width = all_rows;
    if (all_cols > need->width) need->width = all_cols;
    if (biased && all_rows > need->biased) need->biased = all_rows;
}

/* Rows of logits at a time, as fl_decoder_fill_up leaves them. */
static int64_t most_loss_rows(const fl_backend_ops *ops, int64_t T)
{
    int64_t rows = ops->replay ? (T + FL_LOSS_CHUNK - 1) / FL_LOSS_CHUNK * FL_LOSS_CHUNK : T;
    return rows < ops->loss_rows ? rows : ops->loss_rows;
}

fl_scratch_need fl_decoder_scratch_need(const fl_model_config *c, const fl_model_sizes *sizes,
                                        fl_format format, bool expanded, const fl_backend_ops *ops,
                                        const fl_lora_config *lora, const fl_decoder_limits *limits)
{
    int64_t T = fl_decoder_rows(ops, limits->max_tokens);
    int64_t chunk = most_loss_rows(ops, T);
    int64_t linears = T * fl_decoder_widest(c), head = chunk * c->vocab_size;
    bool quantised = format != FL_STORED || c->stored != FL_STORED;
    fl_dtype stored = quantised ? FL_U8 : sizes->stored;
    fl_scratch_need need = {.product = linears > head ? linears : head,
                            .longest = limits->max_tokens / limits->max_sequences,
                            .H = c->num_heads,
                            .KV = c->num_kv_heads,
                            .D = c->head_dim,
                            .tokens = T > chunk ? T : chunk,
                            .clients = limits->max_clients > 0 ? limits->max_clients : 1,
                            .matrix = c->vocab_size * c->hidden_size,
                            .r = fl_lora_most_rank(lora, c),
                            .squares = (int64_t)fl_lora_count(lora, c),
                            .stored = expanded ? FL_BF16 : stored};
    need_of_group(&need, c, FL_Q_PROJ, FL_V_PROJ);
    need_of_group(&need, c, FL_O_PROJ, FL_O_PROJ);
    need_of_group(&need, c, FL_GATE_PROJ, FL_UP_PROJ);
    need_of_group(&need, c, FL_DOWN_PROJ, FL_DOWN_PROJ);
    return need;
}
