/* Element-wise ops: sums, factors, caps, and the gated activations (Shazeer 2020). */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"

namespace FL_DEVICE
{

template <class Y, class X> struct Add {
    static constexpr int COUNT = chunk_count<Y, X>();
    Y y;
    X x;
    __device__ void operator()(const Chunk &at) const
    {
        float sum[COUNT], term[COUNT];
        load(sum, y, at);
        load(term, x, at);
        FL_UNROLLED (i, COUNT)
            sum[i] += term[i];
        store(y, sum, at);
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

template <class D> struct SoftcapBackward {
    static constexpr int COUNT = chunk_count<D, View<float>>();
    D d;
    View<const float> y;
    float cap;
    __device__ void operator()(const Chunk &at) const
    {
        float slope[COUNT], value[COUNT];
        load(slope, d, at);
        load(value, y, at);
        FL_UNROLLED (i, COUNT) {
            float t = value[i] / cap;
            slope[i] *= 1.0f - t * t;
        }
        store(d, slope, at);
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

template <class Gate, class V> struct GatedForward {
    static constexpr int COUNT = chunk_count<V>();
    V out, gate, up;
    __device__ void operator()(const Chunk &at) const
    {
        float z[COUNT], u[COUNT];
        load(z, gate, at);
        load(u, up, at);
        FL_UNROLLED (i, COUNT)
            z[i] = z[i] / (1.0f + expf(-Gate::argument(z[i]))) * u[i];
        store(out, z, at);
    }
};

/* All is read before anything is written: outputs may be the inputs. */
template <class Gate, class V> struct GatedBackward {
    static constexpr int COUNT = chunk_count<V>();
    V dgate, dup, dout, gate, up;
    __device__ void operator()(const Chunk &at) const
    {
        float z[COUNT], u[COUNT], d[COUNT];
        load(z, gate, at);
        load(u, up, at);
        load(d, dout, at);
        FL_UNROLLED (i, COUNT) {
            float share = 1.0f / (1.0f + expf(-Gate::argument(z[i])));
            u[i] = d[i] * u[i] * share * (1.0f + (1.0f - share) * Gate::inner(z[i]));
            d[i] = d[i] * z[i] * share;
        }
        store(dgate, u, at);
        store(dup, d, at);
    }
};

void op_add(fl_act y, fl_act x, int64_t T, int64_t C)
{
    with_view(y, [&](auto to) {
        with_view(x, [&](auto from) {
            using Op = Add<decltype(to), decltype(from)>;
            each_chunk(span_of(T, C, Op::COUNT, {y, x}), Op{to, from});
        });
    });
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
    with_view(d, [&](auto to) {
        using Op = SoftcapBackward<decltype(to)>;
        each_chunk(span_of(T, C, Op::COUNT, {d, fl_f32(y, C)}), Op{to, {y, C}, cap});
    });
}

template <class Gate>
static void gated_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    with_view(out, [&](auto to) {
        using V = decltype(to);
        using Op = GatedForward<Gate, V>;
        each_chunk(span_of(T, F, Op::COUNT, {out, gate, up}), Op{to, view<V>(gate), view<V>(up)});
    });
}

template <class Gate>
static void gated_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                      int64_t F)
{
    with_view(dgate, [&](auto to) {
        using V = decltype(to);
        using Op = GatedBackward<Gate, V>;
        each_chunk(span_of(T, F, Op::COUNT, {dgate, dup, dout, gate, up}),
                   Op{to, view<V>(dup), view<V>(dout), view<V>(gate), view<V>(up)});
    });
}

void op_swiglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    gated_fwd<Silu>(out, gate, up, T, F);
}

void op_swiglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                   int64_t F)
{
    gated_bwd<Silu>(dgate, dup, dout, gate, up, T, F);
}

void op_geglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    gated_fwd<Gelu>(out, gate, up, T, F);
}

void op_geglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                  int64_t F)
{
    gated_bwd<Gelu>(dgate, dup, dout, gate, up, T, F);
}

} // namespace FL_DEVICE
