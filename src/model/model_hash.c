/* Which base this is: a hash of its shape and of samples of its weights, as they are kept or as
 * products see them. */
#include "base/hash.h"
#include "model/model_internal.h"

enum { SAMPLES = 64, SAMPLE_BYTES = 4 * FL_SAMPLE_FLOATS };

typedef struct sampler {
    const fl_backend_ops *ops;
    uint64_t hash;
} sampler;

/* SAMPLES pieces at even distances, all of it where it is not larger than they are. */
static void add(sampler *s, const void *data, size_t bytes)
{
    unsigned char piece[SAMPLE_BYTES];
    size_t step = bytes / SAMPLES > SAMPLE_BYTES ? bytes / SAMPLES : SAMPLE_BYTES;
    s->hash = fl_hash(s->hash, &bytes, sizeof bytes);
    for (size_t at = 0; at < bytes; at += step) {
        size_t length = bytes - at < SAMPLE_BYTES ? bytes - at : SAMPLE_BYTES;
        s->ops->copy_out(piece, (const char *)data + at, length);
        s->hash = fl_hash(s->hash, piece, length);
    }
}

/* Bits of an element as it is kept. */
static size_t element_bits(const fl_weight *w)
{
    if (!w->quant) return 8 * fl_dtype_size(w->dtype);
    return w->quant->format == FL_NF4 ? 4 : 8;
}

static void add_kept(sampler *s, const fl_weight *w)
{
    const size_t bits = element_bits(w), count = (size_t)w->rows * (size_t)w->cols;
    const char *data = w->quant ? w->quant->codes : w->data;
    s->hash = fl_hash(s->hash, &bits, sizeof bits);
    add(s, data + (size_t)w->first * bits / 8, count * bits / 8);
}

/* Samples of the weight in bf16. */
static void add_widened(sampler *s, const fl_weight *w, void *values)
{
    enum { VALUES = SAMPLE_BYTES / 2 };
    int64_t count = w->rows * w->cols, step = count / SAMPLES > VALUES ? count / SAMPLES : VALUES;
    s->hash = fl_hash(s->hash, &count, sizeof count);
    for (int64_t at = 0; at < count; at += step) {
        unsigned char piece[SAMPLE_BYTES];
        fl_weight part = *w;
        part.rows = 1;
        part.cols = count - at < VALUES ? count - at : VALUES;
        if (w->quant)
            part.first += at;
        else
            part.data = (const char *)w->data + (size_t)at * fl_dtype_size(w->dtype);
        s->ops->widen(values, &part);
        s->ops->copy_out(piece, values, (size_t)part.cols * 2);
        s->hash = fl_hash(s->hash, piece, (size_t)part.cols * 2);
    }
}

/* One that products read.  Where they round it to bf16 the hash does not tell in which form it
 * waits for them. */
static void add_weight(sampler *s, const fl_weight *w, void *values)
{
    if (fl_model_can_expand(s->ops))
        add_widened(s, w, values);
    else
        add_kept(s, w);
    if (w->bias) add(s, w->bias, (size_t)w->rows * sizeof *w->bias);
}

uint64_t fl_model_hash(const fl_model *model)
{
    const fl_model_config *c = &model->config;
    sampler s = {.ops = model->ops, .hash = FL_HASH_START};
    const int64_t sizes[] = {c->num_layers, c->num_heads, c->num_kv_heads};
    s.hash = fl_hash(s.hash, sizes, sizeof sizes);
    add_kept(&s, &model->embedding);
    add_weight(&s, &model->head, model->sample);
    add(&s, model->final_norm, (size_t)c->hidden_size * sizeof(float));
    for (int64_t l = 0; l < c->num_layers; l++)
        for (int m = 0; m < FL_NUM_MODULES; m++)
            add_weight(&s, &model->layers[l].linear[m], model->sample);
    return s.hash;
}
