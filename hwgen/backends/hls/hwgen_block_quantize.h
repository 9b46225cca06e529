#ifndef HWGEN_BLOCK_QUANTIZE_H_
#define HWGEN_BLOCK_QUANTIZE_H_
// Integers to blocks that share a scale: a power of two (OCP Microscaling v1.0, sec. 6.3), or a number with a mantissa.

#include "hwgen_rounding.h"

namespace hwgen {

// Elements of E exponent and M mantissa bits with subnormals and a sign; MOST: the greatest finite magnitude's code.
template <int E, int M, int BIAS, int MOST> struct float_element {
    static const int bits = 1 + E + M;
    static const int lift = M; // bits that make every shift one to the right
    // A magnitude whose top bit is `top`, in units of 2**unit steps of the scale.
    template <int W> static ap_uint<bits> encode(ap_uint<W> magnitude, int top, int unit, bool negative, rounding mode) {
        #pragma HLS INLINE
        const int field = top + unit + BIAS;
        const int kept = field > 1 ? field : 1;
        const int by = kept - BIAS - M - unit + lift;
        const ap_uint<W + lift> wide = ap_uint<W + lift>(magnitude) << lift;
        // Far above the greatest number the code must not wrap: it saturates anyway.
        const int above = field > (1 << E) ? (1 << E) << M : (kept - 1) << M;
        typedef ap_uint<(W > E ? W : E) + M + 3> code_t;
        code_t code = round_magnitude<(W > E ? W : E) + M + 2>(wide, by, mode, negative, above);
        if (code > MOST) code = MOST;
        if (magnitude == 0) code = 0;
        ap_uint<bits> out = code;
        out[bits - 1] = negative;
        return out;
    }
};

// Two's complement elements in units of 2**LSB, from -MOST (or LEAST) to MOST. LIFT: how far a shift may go left.
template <int B, int LSB, int LEAST, int MOST, int LIFT> struct integer_element {
    static const int bits = B;
    static const int lift = LIFT;
    template <int W> static ap_uint<bits> encode(ap_uint<W> magnitude, int, int unit, bool negative, rounding mode) {
        #pragma HLS INLINE
        const int by = LSB - unit + lift;
        const ap_uint<W + lift> wide = ap_uint<W + lift>(magnitude) << lift;
        const ap_int<W + lift + 2> rounded =
            round_magnitude<W + lift>(wide, by > 0 ? by : 0, mode, negative, 0);
        ap_int<W + lift + 2> code = negative ? ap_int<W + lift + 2>(-rounded) : rounded;
        if (code > MOST) code = MOST;
        if (code < LEAST) code = LEAST;
        return ap_uint<bits>(code);
    }
};

// CONFIG_T: n (numbers of a frame), size (of a block), lsb (unit of the input), emax, scale_low, scale_high (exponents),
// mode; element.
template <class data_T, class res_T, typename CONFIG_T>
void block_quantize(data_T data[CONFIG_T::n], res_T res[CONFIG_T::n]) {
    static const int width = data_T::width;
    typedef typename CONFIG_T::element element;
    for (int start = 0; start < CONFIG_T::n; start += CONFIG_T::size) {
        #pragma HLS PIPELINE II=1
        ap_uint<width> any = 0;
        for (int i = 0; i < CONFIG_T::size; i++) {
            #pragma HLS UNROLL
            const data_T x = data[start + i];
            // The top bit of all magnitudes together is that of the greatest.
            any |= x < 0 ? ap_uint<width>(-x) : ap_uint<width>(x);
        }
        int greatest = 0;
        for (int bit = 0; bit < width; bit++) {
            #pragma HLS UNROLL
            if (any[bit]) greatest = bit;
        }
        int shared = greatest + CONFIG_T::lsb - CONFIG_T::emax;
        if (any == 0 || shared < CONFIG_T::scale_low) shared = CONFIG_T::scale_low;
        if (shared > CONFIG_T::scale_high) shared = CONFIG_T::scale_high;
        for (int i = 0; i < CONFIG_T::size; i++) {
            #pragma HLS UNROLL
            const data_T x = data[start + i];
            const bool negative = x < 0;
            const ap_uint<width> magnitude = negative ? ap_uint<width>(-x) : ap_uint<width>(x);
            int top = 0;
            for (int bit = 0; bit < width; bit++) {
                #pragma HLS UNROLL
                if (magnitude[bit]) top = bit;
            }
            res_T code = shared - CONFIG_T::scale_low;
            code <<= element::bits;
            code |= res_T(element::template encode<width>(
                magnitude, top, CONFIG_T::lsb - shared, negative, CONFIG_T::mode));
            res[start + i] = code;
        }
    }
}

// Scales with a mantissa (NVFP4 and relatives); nothing is divided. The block's greatest magnitude is looked for in the
// table of where scales begin, one bit of the scale's code after the other, and each magnitude is compared with where
// elements begin under that scale.
// CONFIG_T: n (numbers of a frame), size (of a block), scales (bounds of scales), scale_bits (that count them), steps
// (bounds of elements under a scale), element_bits, packed (a sign above the magnitude, else two's complement);
// scale_bound_t, element_bound_t. scale_bounds[k]: the least maximum of scale code k + 1; element_bounds: for each scale
// code a row, and in it at k the least magnitude of element k + 1.
template <class data_T, class res_T, typename CONFIG_T>
void scaled_quantize(data_T data[CONFIG_T::n], res_T res[CONFIG_T::n],
                     typename CONFIG_T::scale_bound_t scale_bounds[CONFIG_T::scales],
                     typename CONFIG_T::element_bound_t element_bounds[(CONFIG_T::scales + 1) * CONFIG_T::steps]) {
    static const int width = data_T::width, size = CONFIG_T::size, steps = CONFIG_T::steps;
    static const int element_bits = CONFIG_T::element_bits;
    #pragma HLS ARRAY_PARTITION variable=scale_bounds complete
    #pragma HLS ARRAY_RESHAPE variable=element_bounds cyclic factor=CONFIG_T::steps
    for (int start = 0; start < CONFIG_T::n; start += size) {
        #pragma HLS PIPELINE II=1
        ap_uint<width> magnitudes[size], most = 0;
        #pragma HLS ARRAY_PARTITION variable=magnitudes complete
        for (int i = 0; i < size; i++) {
            #pragma HLS UNROLL
            const data_T x = data[start + i];
            magnitudes[i] = x < 0 ? ap_uint<width>(-x) : ap_uint<width>(x);
            if (magnitudes[i] > most) most = magnitudes[i];
        }
        int scale = 0;
        for (int bit = CONFIG_T::scale_bits - 1; bit >= 0; bit--) {
            #pragma HLS UNROLL
            const int next = scale + (1 << bit);
            if (next <= CONFIG_T::scales && most >= scale_bounds[next - 1]) scale = next;
        }
        for (int i = 0; i < size; i++) {
            #pragma HLS UNROLL
            ap_uint<element_bits> element = 0;
            for (int step = 0; step < steps; step++) {
                #pragma HLS UNROLL
                if (magnitudes[i] >= element_bounds[scale * steps + step]) element = step + 1;
            }
            // Under a scale of 0 there is no sign either.
            const bool negative = data[start + i] < 0 && scale > 0;
            if (negative && !CONFIG_T::packed) element = -element;
            if (negative && CONFIG_T::packed) element[element_bits - 1] = true;
            res[start + i] = (res_T(scale) << element_bits) | res_T(element);
        }
    }
}

} // namespace hwgen

#endif
