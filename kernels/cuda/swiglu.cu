/* Element-wise ops: sums, factors, caps, and the gated activations (Shazeer 2020). */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"

namespace FL_DEVICE
{

struct Add {
    float *y;
    const float *x;
    __device__ void operator()(int64_t i) const
    {
        y[i] += x[i];
    }
};

struct Scale {
    float *x, factor;
    __device__ void operator()(int64_t i) const
    {
        x[i] *= factor;
    }
};

struct Axpy {
    float *y;
    const float *x;
    float a;
    __device__ void operator()(int64_t i) const
    {
        y[i] += a * x[i];
    }
};

struct Softcap {
    float *x, cap;
    __device__ void operator()(int64_t i) const
    {
        x[i] = cap * tanhf(x[i] / cap);
    }
};

struct SoftcapBackward {
    float *d;
    const float *y;
    float cap;
    __device__ void operator()(int64_t i) const
    {
        float t = y[i] / cap;
        d[i] *= 1.0f - t * t;
    }
};

/* What a gate does: value = z * share(z), share the sigmoid of `argument`, whose slope times z is
 * `inner`. */
struct Silu {
    static __device__ float argument(float z)
    {
        return z;
    }
    static __device__ float inner(float z)
    {
        return z;
    }
};

/* gelu(z) = z sigmoid(2u), u = sqrt(2/pi) (z + 0.044715 z^3), since (1 + tanh(u)) / 2 is the
 * sigmoid of 2u. */
struct Gelu {
    static __device__ float argument(float z)
    {
        return 2 * 0.7978845608f * (z + 0.044715f * z * z * z);
    }
    static __device__ float inner(float z)
    {
        return 2 * 0.7978845608f * z * (1.0f + 3.0f * 0.044715f * z * z);
    }
};

template <class Gate> struct GatedForward {
    float *out;
    const float *gate, *up;
    __device__ void operator()(int64_t i) const
    {
        float z = gate[i];
        out[i] = z / (1.0f + expf(-Gate::argument(z))) * up[i];
    }
};

/* All is read before anything is written: outputs may be the inputs. */
template <class Gate> struct GatedBackward {
    float *dgate, *dup;
    const float *dout, *gate, *up;
    __device__ void operator()(int64_t i) const
    {
        float z = gate[i], u = up[i], d = dout[i];
        float share = 1.0f / (1.0f + expf(-Gate::argument(z)));
        dgate[i] = d * u * share * (1.0f + (1.0f - share) * Gate::inner(z));
        dup[i] = d * z * share;
    }
};

void op_add(fl_act y, fl_act x, int64_t T, int64_t C)
{
    each(T * C, Add{dense(y, C), dense(x, C)});
}

void op_scale(float *x, float factor, int64_t n)
{
    each(n, Scale{x, factor});
}

void op_axpy(float *y, const float *x, float a, int64_t n)
{
    each(n, Axpy{y, x, a});
}

void op_softcap_fwd(float *x, float cap, int64_t n)
{
    each(n, Softcap{x, cap});
}

void op_softcap_bwd(fl_act d, const float *y, float cap, int64_t T, int64_t C)
{
    each(T * C, SoftcapBackward{dense(d, C), y, cap});
}

void op_swiglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    each(T * F, GatedForward<Silu>{dense(out, F), dense(gate, F), dense(up, F)});
}

void op_swiglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                   int64_t F)
{
    each(T * F, GatedBackward<Silu>{dense(dgate, F), dense(dup, F), dense(dout, F), dense(gate, F),
                                    dense(up, F)});
}

void op_geglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    each(T * F, GatedForward<Gelu>{dense(out, F), dense(gate, F), dense(up, F)});
}

void op_geglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                  int64_t F)
{
    each(T * F, GatedBackward<Gelu>{dense(dgate, F), dense(dup, F), dense(dout, F), dense(gate, F),
                                    dense(up, F)});
}

} // namespace FL_DEVICE
