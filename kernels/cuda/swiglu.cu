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

void op_add(float *y, const float *x, int64_t n)
{
    each(n, Add{y, x});
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

void op_softcap_bwd(float *d, const float *y, float cap, int64_t n)
{
    each(n, SoftcapBackward{d, y, cap});
}

void op_swiglu_fwd(float *out, const float *gate, const float *up, int64_t n)
{
    each(n, GatedForward<Silu>{out, gate, up});
}

void op_swiglu_bwd(float *dgate, float *dup, const float *dout, const float *gate, const float *up,
                   int64_t n)
{
    each(n, GatedBackward<Silu>{dgate, dup, dout, gate, up});
}

void op_geglu_fwd(float *out, const float *gate, const float *up, int64_t n)
{
    each(n, GatedForward<Gelu>{out, gate, up});
}

void op_geglu_bwd(float *dgate, float *dup, const float *dout, const float *gate, const float *up,
                  int64_t n)
{
    each(n, GatedBackward<Gelu>{dgate, dup, dout, gate, up});
}

} // namespace FL_DEVICE
