/* Attention.  Activations of the forward pass: q, k, v, out; of the backward pass also dout, dq,
 * dk, dv; of decoding: q, out, k, v. */
#include "case.h"

typedef struct attention_data {
    fl_attn_shape shape;
    fl_act q, k, v, out;
    float *lse;
    int64_t HD, KVD;
} attention_data;

static fl_attn_shape make_shape(const kernel_case *c)
{
    fl_attn_shape shape = {.S = c->S,
                           .T = c->cu[c->S],
                           .H = c->H,
                           .KV = c->KV,
                           .D = c->D,
                           .scale = (float)(2 / sqrt((double)c->D)),
                           .softcap = c->softcap,
                           .window = c->window};
    int32_t prefix[CASE_SEQUENCES];
    bool continues = false;
    for (int64_t s = 0; s < c->S; s++) {
        prefix[s] = c->prefix[s] - 1;
        continues = continues || c->prefix[s] > 0;
    }
    shape.cu = check_ints(c->cu, c->S + 1);
    if (continues) shape.prefix = check_ints(prefix, c->S);
    return shape;
}

static attention_data run_forward(case_run *run)
{
    const kernel_case *c = run->row;
    attention_data d = {.shape = make_shape(c), .HD = c->H * c->D, .KVD = c->KV * c->D};
    int64_t T = d.shape.T;
    d.q = case_act(run, T, d.HD);
    d.k = case_act(run, T, d.KVD);
    d.v = case_act(run, T, d.KVD);
    d.out = case_blank(run, T, d.HD);
    d.lse = check_floats(T * c->H);
    run->ops->attention_fwd(d.out, d.lse, d.q, d.k, d.v, &d.shape);
    return d;
}

static void attention_fwd(case_run *run)
{
    attention_data d = run_forward(run);
    case_result_act(run, "out", d.out, d.shape.T, d.HD, BOUND_ATTENTION);
    case_result(run, "lse", d.lse, d.shape.T * d.shape.H, BOUND_SUM);
}

static void attention_bwd(case_run *run)
{
    attention_data d = run_forward(run);
    int64_t T = d.shape.T;
    fl_act dout = case_act(run, T, d.HD), dq = case_blank(run, T, d.HD);
    fl_act dk = case_blank(run, T, d.KVD), dv = case_blank(run, T, d.KVD);
    float *scratch = check_floats(run->ops->attention_bwd_scratch(&d.shape));
    run->ops->attention_bwd(dq, dk, dv, dout, d.out, d.lse, d.q, d.k, d.v, &d.shape, scratch);
    case_result_act(run, "dq", dq, T, d.HD, BOUND_ATTENTION_GRADIENT);
    case_result_act(run, "dk", dk, T, d.KVD, BOUND_ATTENTION_GRADIENT);
    case_result_act(run, "dv", dv, T, d.KVD, BOUND_ATTENTION);
}

/* The lengths of the sequences are those of `cu`; the rest of the cache is NaN. */
static void attention_decode(case_run *run)
{
    const kernel_case *c = run->row;
    fl_attn_shape shape = make_shape(c);
    int64_t HD = c->H * c->D, KVD = c->KV * c->D;
    int32_t lengths[CASE_SEQUENCES];
    for (int64_t s = 0; s < c->S; s++)
        lengths[s] = c->cu[s + 1] - c->cu[s];
    fl_act q = case_act(run, c->S, HD), out = case_blank(run, c->S, HD);
    fl_act k = case_rows(run, c->S, c->capacity, lengths, KVD);
    fl_act v = case_rows(run, c->S, c->capacity, lengths, KVD);
    run->ops->attention_decode(out, q, k, v, check_ints(lengths, c->S), c->capacity, &shape);
    case_result_act(run, "out", out, c->S, HD, BOUND_ATTENTION);
}

#define BOTH(...)                                           \
    KERNEL_CASE(attention_fwd, attention_fwd, __VA_ARGS__), \
        KERNEL_CASE(attention_bwd, attention_bwd, __VA_ARGS__)
#define DECODE(...) KERNEL_CASE(attention_decode, attention_decode, __VA_ARGS__)

// clang-format off
const kernel_case case_attention[] = {
    BOTH(.S = 1, .cu = {0, 1}, .H = 1, .KV = 1, .D = 2, .vanishes = true),
    BOTH(.S = 5, .cu = {0, 0, 3, 3, 4, 4}, .H = 4, .KV = 2, .D = 6),
    BOTH(.S = 1, .cu = {0, 0}, .H = 2, .KV = 1, .D = 16),
    BOTH(.S = 3, .cu = {0, 33, 34, 101}, .H = 4, .KV = 2, .D = 16),
    BOTH(.S = 2, .cu = {0, 17, 82}, .H = 2, .KV = 1, .D = 64),
    BOTH(.S = 1, .cu = {0, 66}, .H = 1, .KV = 1, .D = 80),
    BOTH(.S = 1, .cu = {0, 35}, .H = 2, .KV = 2, .D = 96),
    BOTH(.S = 2, .cu = {0, 7, 40}, .H = 2, .KV = 1, .D = 128),
    BOTH(.S = 2, .cu = {0, 9, 27}, .H = 2, .KV = 1, .D = 256),
    BOTH(.S = 1, .cu = {0, 20}, .H = 1, .KV = 1, .D = 18),
    BOTH(.S = 1, .cu = {0, 130}, .H = 2, .KV = 1, .D = 16, .window = 33),
    BOTH(.S = 2, .cu = {0, 40, 75}, .H = 2, .KV = 2, .D = 16, .window = 2, .softcap = 2),
    BOTH(.S = 1, .cu = {0, 70}, .H = 8, .KV = 1, .D = 16, .softcap = 0.7f),
    BOTH(.S = 1, .cu = {0, 90}, .H = 1, .KV = 1, .D = 32, .window = 1000, .softcap = 50),
    BOTH(.S = 2, .cu = {0, 33, 70}, .H = 2, .KV = 1, .D = 16, .gap = 3),
    BOTH(.S = 2, .cu = {0, 33, 70}, .H = 2, .KV = 1, .D = 64, .gap = 64),
    BOTH(.S = 3, .cu = {0, 5, 9, 12}, .H = 2, .KV = 1, .D = 8, .prefix = {0, 1, 1}),
    BOTH(.S = 4, .cu = {0, 40, 75, 110, 130}, .H = 2, .KV = 2, .D = 16, .prefix = {0, 1, 1}),
    BOTH(.S = 4, .cu = {0, 3, 40, 75, 95}, .H = 4, .KV = 2, .D = 18, .window = 20,
         .prefix = {0, 0, 2, 2}),
    BOTH(.S = 3, .cu = {0, 0, 30, 75}, .H = 2, .KV = 2, .D = 32, .window = 9, .softcap = 0.7f,
         .prefix = {0, 1, 1}),
    BOTH(.S = 2, .cu = {0, 65, 66}, .H = 1, .KV = 1, .D = 128, .prefix = {0, 1}),
    DECODE(.S = 1, .cu = {0, 1}, .capacity = 1, .H = 1, .KV = 1, .D = 2),
    DECODE(.S = 3, .cu = {0, 1, 41, 178}, .capacity = 140, .H = 4, .KV = 2, .D = 20),
    DECODE(.S = 2, .cu = {0, 40, 63}, .capacity = 48, .H = 9, .KV = 3, .D = 64),
    DECODE(.S = 2, .cu = {0, 33, 40}, .capacity = 40, .H = 2, .KV = 2, .D = 80),
    DECODE(.S = 2, .cu = {0, 33, 40}, .capacity = 33, .H = 2, .KV = 1, .D = 128, .gap = 8),
    DECODE(.S = 1, .cu = {0, 20}, .capacity = 21, .H = 2, .KV = 1, .D = 256, .gap = 3),
    DECODE(.S = 2, .cu = {0, 60, 75}, .capacity = 64, .H = 4, .KV = 1, .D = 16, .window = 37,
           .softcap = 0.8f),
    {0},
};
