/* What test_linears.c runs: a group of linears with its adapters and activations, and the results.
 */
#ifndef FL_TESTS_KERNELS_LINEARS_SCENE_H
#define FL_TESTS_KERNELS_LINEARS_SCENE_H

#include "backend/linears.h"
#include "check.h"

enum { MOST_CLIENTS = 5, STREAMS = 4 };

typedef struct scene {
    const char *name;
    int count;
    int64_t rows[FL_MOST_LINEARS], cols, r[FL_MOST_LINEARS];
    int clients;
    int32_t first[MOST_CLIENTS + 1];
    float dropout;
    unsigned frozen;
    fl_dtype dtype; /* of activations */
    int64_t gap;    /* elements behind a row */
    bool aligned, joined, shares_a, no_base, has_bias, has_add, has_side, no_dx;
} scene;

/* Host memory. */
typedef struct data {
    fl_lora_slot slot[FL_MOST_LINEARS], side_slot[FL_MOST_LINEARS];
    size_t stride, side_size;
    float *x, *dy[FL_MOST_LINEARS], *w, *bias, *add, *adapters, *grads, *side;
    double factor[MOST_CLIENTS];
} data;

/* What fwd and bwd left; rows without gaps. */
typedef struct results {
    float *y[FL_MOST_LINEARS], *dx, *grads;
} results;

int64_t tokens_of(const scene *s);
int64_t all_rows(const scene *s);
/* Random numbers, the same for the same scene. */
data make_data(const scene *s);
/* Forward, then backward with dx accumulating on x's values.  Gaps must be left alone. */
results run(const fl_backend_ops *ops, const scene *s, data *d);

#endif
