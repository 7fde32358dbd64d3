#include "reference.h"

#include <math.h>
#include <string.h>

void ref_matmul(double *c, const double *a, const double *b, int64_t M, int64_t N, int64_t K,
                bool trans_a, bool trans_b)
{
    for (int64_t i = 0; i < M; i++) {
        for (int64_t j = 0; j < N; j++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++)
                sum += a[trans_a ? k * M + i : i * K + k] * b[trans_b ? j * K + k : k * N + j];
            c[i * N + j] = sum;
        }
    }
}

static double row_rstd(const double *x, int64_t C, double eps)
{
    double sum = 0;
    for (int64_t c = 0; c < C; c++)
        sum += x[c] * x[c];
    return 1 / sqrt(sum / (double)C + eps);
}

void ref_rmsnorm(double *out, const double *x, const double *w, int64_t T, int64_t C, double eps)
{
    for (int64_t t = 0; t < T; t++) {
        double rstd = row_rstd(x + t * C, C, eps);
        for (int64_t c = 0; c < C; c++)
            out[t * C + c] = x[t * C + c] * rstd * w[c];
    }
}

void ref_rmsnorm_bwd(double *dx, const double *dout, const double *x, const double *w, int64_t T,
                     int64_t C, double eps)
{
    for (int64_t t = 0; t < T; t++) {
        const double *xt = x + t * C, *dt = dout + t * C;
        double rstd = row_rstd(xt, C, eps), mean = 0;
        for (int64_t c = 0; c < C; c++)
            mean += w[c] * dt[c] * xt[c] / (double)C;
        for (int64_t c = 0; c < C; c++)
            dx[t * C + c] = rstd * (w[c] * dt[c] - xt[c] * rstd * rstd * mean);
    }
}

void ref_swiglu(double *out, const double *gate, const double *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
}

void ref_swiglu_bwd(double *dgate, double *dup, const double *dout, const double *gate,
                    const double *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double sigmoid = 1 / (1 + exp(-gate[i]));
        dgate[i] = dout[i] * up[i] * (sigmoid + gate[i] * sigmoid * (1 - sigmoid));
        dup[i] = dout[i] * gate[i] * sigmoid;
    }
}

static double gelu_inner(double z)
{
    return sqrt(2 / acos(-1)) * (z + 0.044715 * z * z * z);
}

void ref_geglu(double *out, const double *gate, const double *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = gate[i] / 2 * (1 + tanh(gelu_inner(gate[i]))) * up[i];
}

/* In the form 1/(1 + exp(-2u)) for (1 + tanh(u))/2: the left tail does not cancel. */
void ref_geglu_bwd(double *dgate, double *dup, const double *dout, const double *gate,
                   const double *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double z = gate[i], half = 1 / (1 + exp(-2 * gelu_inner(z)));
        double slope = sqrt(2 / acos(-1)) * (1 + 3 * 0.044715 * z * z);
        dgate[i] = dout[i] * up[i] * (half + z * half * (1 - half) * 2 * slope);
        dup[i] = dout[i] * z * half;
    }
}

void ref_softcap(double *x, double cap, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = cap * tanh(x[i] / cap);
}

void ref_softcap_bwd(double *d, const double *x, double cap, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        d[i] /= cosh(x[i] / cap) * cosh(x[i] / cap);
}

void ref_rope(double *x, const int32_t *pos, const double *cos_table, const double *sin_table,
              int64_t T, int64_t heads, int64_t D, double sign)
{
    int64_t half = D / 2;
    for (int64_t t = 0; t < T; t++) {
        for (int64_t h = 0; h < heads; h++) {
            double *head = x + (t * heads + h) * D;
            for (int64_t i = 0; i < half; i++) {
                double c = cos_table[pos[t] * half + i], s = sign * sin_table[pos[t] * half + i];
                double a = head[i], b = head[i + half];
                head[i] = a * c - b * s;
                head[i + half] = b * c + a * s;
            }
        }
    }
}

/* One query head at one token: itself and its own sequence's earlier tokens, from `start` on;
 * behind the prefix that the sequence continues, which ends at `end`, comes its own token `own`. */
typedef struct query {
    int64_t t, start, end, own, h, kv;
} query;

static int64_t next_key(const query *at, int64_t j)
{
    return j + 1 == at->end ? at->own : j + 1;
}

static double score(const double *q, const double *k, const query *at, int64_t j,
                    const fl_attn_shape *shape)
{
    double sum = 0;
    for (int64_t d = 0; d < shape->D; d++)
        sum += q[(at->t * shape->H + at->h) * shape->D + d] *
               k[(j * shape->KV + at->kv) * shape->D + d];
    sum *= (double)shape->scale;
    if (shape->softcap > 0) ref_softcap(&sum, (double)shape->softcap, 1);
    return sum;
}

static double row_lse(const double *q, const double *k, const query *at, const fl_attn_shape *shape)
{
    double max = -INFINITY, sum = 0;
    for (int64_t j = at->start; j <= at->t; j = next_key(at, j))
        max = fmax(max, score(q, k, at, j, shape));
    for (int64_t j = at->start; j <= at->t; j = next_key(at, j))
        sum += exp(score(q, k, at, j, shape) - max);
    return max + log(sum);
}

static void forward_query(double *out, double *lse, const double *q, const double *k,
                          const double *v, const query *at, const fl_attn_shape *shape)
{
    double row = row_lse(q, k, at, shape);
    int64_t D = shape->D;
    if (lse) lse[at->t * shape->H + at->h] = row;
    double *o = out + (at->t * shape->H + at->h) * D;
    memset(o, 0, (size_t)D * sizeof *o);
    for (int64_t j = at->start; j <= at->t; j = next_key(at, j)) {
        double p = exp(score(q, k, at, j, shape) - row);
        for (int64_t d = 0; d < D; d++)
            o[d] += p * v[(j * shape->KV + at->kv) * D + d];
    }
}

/* The query of head h at token t. */
static query query_at(const fl_attn_shape *shape, int64_t s, int64_t t, int64_t h)
{
    const int32_t *cu = shape->cu;
    int64_t p = shape->prefix && shape->prefix[s] >= 0 ? shape->prefix[s] : s;
    int64_t prefix = p == s ? 0 : cu[p + 1] - cu[p], first = 0; /* counted along what t sees */
    if (shape->window > 0) first = prefix + t - cu[s] + 1 - shape->window;
    if (first < 0) first = 0;
    query at = {.t = t, .end = -1, .h = h, .kv = h / (shape->H / shape->KV)};
    at.start = first < prefix ? cu[p] + first : cu[s] + first - prefix;
    if (first < prefix) {
        at.end = cu[p + 1];
        at.own = cu[s];
    }
    return at;
}

void ref_attention(double *out, double *lse, const double *q, const double *k, const double *v,
                   const fl_attn_shape *shape)
{
    for (int64_t s = 0; s < shape->S; s++) {
        for (int64_t t = shape->cu[s]; t < shape->cu[s + 1]; t++) {
            for (int64_t h = 0; h < shape->H; h++) {
                query at = query_at(shape, s, t, h);
                forward_query(out, lse, q, k, v, &at, shape);
            }
        }
    }
}

typedef struct attention_grads {
    double *dq, *dk, *dv;
} attention_grads;

static void backward_query(const attention_grads *grads, const double *dout, const double *q,
                           const double *k, const double *v, const query *at,
                           const fl_attn_shape *shape)
{
    int64_t D = shape->D, row = (at->t * shape->H + at->h) * D;
    double lse = row_lse(q, k, at, shape), delta = 0;
    for (int64_t pass = 0; pass < 2; pass++) { // first delta = sum_j P dP, then the gradients
        for (int64_t j = at->start; j <= at->t; j = next_key(at, j)) {
            int64_t key = (j * shape->KV + at->kv) * D;
            double s = score(q, k, at, j, shape), p = exp(s - lse), dp = 0;
            for (int64_t d = 0; d < D; d++)
                dp += dout[row + d] * v[key + d];
            if (pass == 0) delta += p * dp;
            double ds = p * (dp - delta) * (double)shape->scale;
            if (shape->softcap > 0) ds *= 1 - pow(s / (double)shape->softcap, 2);
            for (int64_t d = 0; d < D && pass == 1; d++) {
                grads->dv[key + d] += p * dout[row + d];
                grads->dk[key + d] += ds * q[row + d];
                grads->dq[row + d] += ds * k[key + d];
            }
        }
    }
}

void ref_attention_bwd(double *dq, double *dk, double *dv, const double *dout, const double *q,
                       const double *k, const double *v, const fl_attn_shape *shape)
{
    attention_grads grads = {dq, dk, dv};
    memset(dq, 0, (size_t)(shape->T * shape->H * shape->D) * sizeof *dq);
    memset(dk, 0, (size_t)(shape->T * shape->KV * shape->D) * sizeof *dk);
    memset(dv, 0, (size_t)(shape->T * shape->KV * shape->D) * sizeof *dv);
    for (int64_t s = 0; s < shape->S; s++) {
        for (int64_t t = shape->cu[s]; t < shape->cu[s + 1]; t++) {
            for (int64_t h = 0; h < shape->H; h++) {
                query at = query_at(shape, s, t, h);
                backward_query(&grads, dout, q, k, v, &at, shape);
            }
        }
    }
}

void ref_cross_entropy(double *loss, double *dlogits, const double *logits, const int32_t *target,
                       const double *weight, int64_t N, int64_t V)
{
    for (int64_t n = 0; n < N; n++) {
        const double *row = logits + n * V;
        double max = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++)
            max = fmax(max, row[v]);
        for (int64_t v = 0; v < V; v++)
            sum += exp(row[v] - max);
        loss[n] = log(sum) + max - row[target[n]];
        for (int64_t v = 0; v < V && dlogits; v++)
            dlogits[n * V + v] = weight[n] * (exp(row[v] - max) / sum - (v == target[n]));
    }
}
