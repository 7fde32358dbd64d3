/* A frozen decoder: weights of a Hugging Face folder in the storage they have there or quantised
 * while they are read, and the tables that do not change.  Loaded once per rank; adapters are
 * swapped, never the base. */
#ifndef FL_MODEL_MODEL_H
#define FL_MODEL_MODEL_H

#include "backend/ops.h"
#include "model/lora.h"
#include "model/model_config.h"

typedef struct fl_layer {
    fl_quant quant[FL_NUM_MODULES];   /* of holders, when the base is quantised */
    fl_weight linear[FL_NUM_MODULES]; /* fused ones as views of their holder's rows */
    float *norm[FL_NUM_NORMS]; /* backend memory, with the family's offset added; NULL: none */
} fl_layer;

typedef struct fl_model {
    fl_model_config config;
    const fl_backend_ops *ops;
    fl_weight embedding; /* [V, C] */
    fl_weight head;      /* [V, C]; the embedding when tied */
    float *final_norm;   /* [C] */
    fl_layer *layers;    /* [num_layers] */
    float *cos_table;    /* [positions, D/2] */
    float *sin_table;    /* [positions, D/2] */
    int64_t positions;   /* longest sequence the tables serve */
    size_t weight_bytes; /* of the frozen base, as stored */
    struct fl_weights *files;
    struct fl_resident *residents; /* copies of weights in backend memory; NULL: the maps serve */
    char *open_block; /* of the copies that are put one behind the other; NULL: none is open */
    size_t open_left; /* bytes of it that are free */
    fl_arena *arena;
    float *block;      /* backend memory of norms, biases and tables */
    size_t block_used; /* floats */
    float *sample;     /* backend memory that fl_model_hash widens into */
    fl_format format;  /* of the layers' linears; all else is as the files have it */
    bool expanded;     /* instead, all matrices that products read are bf16, made of that */
    char *quant_block; /* backend memory of codes and scales made at load; NULL: none */
    size_t quant_used; /* bytes */
} fl_model;

/* Opens DIR (config.json + safetensors).  `positions`: longest sequence that will be asked for;
 * 0 = what config.json allows.  All weights are checked for shape and for NaN and infinity.
 * Errors: FL_ERR_IO, FL_ERR_INPUT, FL_ERR_UNSUPPORTED, FL_ERR_MEMORY, each naming the file. */
fl_status fl_model_open(fl_model **out, const char *dir, const fl_backend_ops *ops,
                        int64_t positions);
/* The same with the linears of the layers quantised while they are read, one at a time: FL_INT8 or
 * FL_NF4 (with double quantisation).  A checkpoint that bitsandbytes quantised stays what it is:
 * FL_STORED or its own format.  expanded, where fl_model_can_expand: matrices are widened to bf16
 * when they are read and not at every use, with the same values in all products; the table of
 * embeddings stays as it is, so a tied head that is not bf16 is a matrix of its own. */
fl_status fl_model_open_as(fl_model **out, const char *dir, const fl_backend_ops *ops,
                           int64_t positions, fl_format format, bool expanded);
/* Products round to bf16 and have memory of their own.  After set_compute. */
bool fl_model_can_expand(const fl_backend_ops *ops);
/* The format that the keys load_in_8bit and load_in_4bit ask for.  Errors: FL_ERR_USAGE for both.
 */
fl_status fl_format_choose(fl_format *out, bool load_in_8bit, bool load_in_4bit);
void fl_model_close(fl_model *model); /* accepts NULL */

/* Number of weights of the frozen base. */
int64_t fl_model_parameter_count(const fl_model *model);

/* What config.json and the headers of the weight files say about memory; no weight is read. */
typedef struct fl_model_sizes {
    size_t files;       /* bytes of all tensors that the model reads */
    size_t linears;     /* of these, the layers' linears that quantising at load would replace */
    size_t expanded;    /* bytes of all matrices where the base is expanded, the embedding's too */
    size_t staged;      /* of one while it is expanded, at the most */
    int64_t parameters; /* as fl_model_parameter_count */
    size_t tensors;     /* how many there are */
    fl_dtype stored;    /* of all matrices; FL_U8: they differ */
} fl_model_sizes;

/* Checks what can be checked without the weights.  Errors: as fl_model_open_as. */
fl_status fl_model_measure(fl_model_sizes *out, const char *dir, int64_t positions,
                           fl_format format);

/* Bytes that fl_model_open_as would take.  mapped: of the files' pages, one copy for all ranks of a
 * node; own: of this rank (norms, biases, tables, what is quantised or expanded at load); staged:
 * on top, until it returns. */
typedef struct fl_model_plan {
    size_t mapped, own, staged;
} fl_model_plan;
fl_model_plan fl_model_plan_for(const fl_model_config *config, const fl_model_sizes *sizes,
                                int64_t positions, fl_format format, bool expanded);
/* Tells bases apart: of the sizes and of samples of all matrices in the form in which they are
 * kept, so the same weights as bf16 and in NF4 are two bases.  Where products round to bf16, of
 * what products read in the form in which they see it: an expanded base has the hash of the same
 * one that is not, and its numbers. */
uint64_t fl_model_hash(const fl_model *model);

#endif
