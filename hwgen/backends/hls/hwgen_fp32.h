#ifndef HWGEN_FP32_H_
#define HWGEN_FP32_H_
// FP32 sums over blocks, bit for bit, in integers: subnormals are kept, which HLS' own float operators do not do.

#include "hwgen_formats.h"
#include "hwgen_rounding.h"

namespace hwgen {

typedef ap_uint<32> fp32_t;
static const int fp32_mantissa = 23;
static const int fp32_least = -149; // exponent of the least subnormal

template <int W> int top_bit(ap_uint<W> magnitude) {
    #pragma HLS INLINE
    int top = 0;
    for (int bit = 0; bit < W; bit++) {
        #pragma HLS UNROLL
        if (magnitude[bit]) top = bit;
    }
    return top;
}

// magnitude * 2**exponent rounded half to even; it does not overflow. Zero has no sign.
template <int W> fp32_t to_fp32(ap_uint<W> magnitude, int exponent, bool negative) {
    #pragma HLS INLINE
    static const int wide_bits = W + fp32_mantissa + 1;
    const int step = top_bit<W>(magnitude) + exponent - fp32_mantissa; // of the last bit that is kept
    const int kept = step > fp32_least ? step : fp32_least;
    // Far enough to the left for every shift to go to the right; what is further left is no more than the mantissa.
    const ap_uint<wide_bits> wide = ap_uint<wide_bits>(magnitude) << fp32_mantissa;
    const ap_uint<wide_bits + 1> rounded =
        round_magnitude<wide_bits>(wide, kept - exponent + fp32_mantissa, half_even, negative, 0);
    // A mantissa that rounds up to the next power of two carries into the exponent.
    fp32_t code = (ap_uint<32>(kept - fp32_least) << fp32_mantissa) + ap_uint<32>(rounded);
    if (magnitude == 0) return 0;
    code[31] = negative;
    return code;
}

inline ap_uint<24> fp32_significand(fp32_t code) {
    #pragma HLS INLINE
    ap_uint<24> out = ap_uint<24>(ap_uint<23>(code));
    out[23] = (ap_uint<31>(code) >> 23) != 0;
    return out;
}

inline int fp32_exponent(fp32_t code) {
    #pragma HLS INLINE
    const int field = (ap_uint<31>(code) >> 23).to_int();
    return (field > 0 ? field - 1 : 0) + fp32_least;
}

// a + b rounded half to even, neither of them NaN, infinite or -0.
inline fp32_t add_fp32(fp32_t a, fp32_t b) {
    #pragma HLS INLINE
    static const int guard = 3; // two bits and one that stands for all below
    const bool swap = ap_uint<31>(a) < ap_uint<31>(b);
    const fp32_t big = swap ? b : a, small = swap ? a : b;
    const int far = fp32_exponent(big) - fp32_exponent(small);
    const int by = far > 27 ? 27 : far;
    const ap_uint<27> x = ap_uint<27>(fp32_significand(big)) << guard;
    const ap_uint<27> y = ap_uint<27>(fp32_significand(small)) << guard;
    ap_uint<27> shifted = y >> by;
    if ((shifted << by) != y) shifted[0] = true;
    const bool negative = big[31] == 1;
    const ap_uint<28> sum = big[31] == small[31] ? ap_uint<28>(x + shifted) : ap_uint<28>(x - shifted);
    return to_fp32<28>(sum, fp32_exponent(big) - guard, negative);
}

// CONFIG_T: as matvec, and block (inputs that share a scale), exponent (of a product's unit where both scales are 0).
// The exact sum of each block is rounded to FP32 and added to those before it, in order.
template <class data_T, class res_T, typename CONFIG_T>
void matvec_fp32(data_T data[CONFIG_T::positions * CONFIG_T::n_in], res_T res[CONFIG_T::positions * CONFIG_T::n_out],
                 typename CONFIG_T::weight_t weights[CONFIG_T::n_out * CONFIG_T::n_in]) {
    static const int n_in = CONFIG_T::n_in, n_out = CONFIG_T::n_out, pe = CONFIG_T::pe, simd = CONFIG_T::simd;
    typedef typename CONFIG_T::x_format X;
    typedef typename CONFIG_T::w_format W;
    typedef typename CONFIG_T::block_t block_t;
    static const int width = block_t::width + X::factor_t::width + W::factor_t::width;
    #pragma HLS ARRAY_RESHAPE variable=weights cyclic factor=CONFIG_T::simd
    block_t acc[pe];
    fp32_t total[pe];
    #pragma HLS ARRAY_PARTITION variable=acc complete
    #pragma HLS ARRAY_PARTITION variable=total complete

    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int first = 0; first < n_out; first += pe) {
            for (int start = 0; start < n_in; start += simd) {
                #pragma HLS PIPELINE
                for (int lane = 0; lane < pe; lane++) {
                    #pragma HLS UNROLL
                    const int out = first + lane, x = position * n_in + start, w = out * n_in + start;
                    block_t sum = start % CONFIG_T::block == 0 ? block_t(0) : acc[lane];
                    for (int i = 0; i < simd; i++) {
                        #pragma HLS UNROLL
                        sum += CONFIG_T::product::product(data[x + i], weights[w + i]);
                    }
                    acc[lane] = sum;
                    if ((start + simd) % CONFIG_T::block == 0) {
                        const ap_int<width> scaled = sum * (factor<X>(data[x]) * factor<W>(weights[w]));
                        const bool negative = scaled < 0;
                        const ap_uint<width> magnitude = negative ? ap_uint<width>(-scaled) : ap_uint<width>(scaled);
                        const int exponent = CONFIG_T::exponent + scale<X>(data[x]) + scale<W>(weights[w]);
                        const fp32_t term = to_fp32<width>(magnitude, exponent, negative);
                        total[lane] = add_fp32(start < CONFIG_T::block ? fp32_t(0) : total[lane], term);
                        if (start == n_in - simd) res[position * n_out + out] = total[lane];
                    }
                }
            }
        }
    }
}

// FP32 codes / 2**lsb rounded to odd, from -most to most. CONFIG_T: n (numbers), lsb, most.
template <class data_T, class res_T, typename CONFIG_T> void fix(data_T data[CONFIG_T::n], res_T res[CONFIG_T::n]) {
    static const int width = res_T::width;
    static const int wide = (width > 24 ? width : 24) + 1;
    for (int i = 0; i < CONFIG_T::n; i++) {
        #pragma HLS PIPELINE II=1
        const fp32_t code = data[i];
        const ap_uint<wide> magnitude = fp32_significand(code);
        const int exponent = fp32_exponent(code) - CONFIG_T::lsb;
        const int right = exponent < 0 ? (exponent < -25 ? 25 : -exponent) : 0;
        const int left = exponent > 0 ? (exponent > width ? width : exponent) : 0;
        ap_uint<wide> kept = magnitude >> right;
        if ((kept << right) != magnitude) kept[0] = true;
        const ap_uint<wide> most = CONFIG_T::most;
        const ap_uint<wide> whole = kept > (most >> left) ? most : ap_uint<wide>(kept << left);
        res[i] = code[31] == 1 ? ap_int<wide + 1>(-whole) : ap_int<wide + 1>(whole);
    }
}

} // namespace hwgen

#endif
