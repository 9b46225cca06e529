#ifndef HWGEN_FORMATS_H_
#define HWGEN_FORMATS_H_
// What codes are worth: every number is significand * 2**(exponent + lsb), exponent from 0 up; in blocks that is the
// element, and the number is element * factor * 2**scale, scale from 0 up.
// Products of two codes: exact ones, and those that add codes (L-Mul and its relatives), which are codes again.

#include "ap_int.h"

namespace hwgen {

template <int A, int B> struct greater { static const int value = A > B ? A : B; };

// Codes that share no scale: it is 1.
struct unscaled {
    static const int scale_bits = 0;
    typedef ap_uint<1> factor_t;
    template <class T> static factor_t factor(const T &) {
        #pragma HLS INLINE
        return 1;
    }
    template <class T> static int scale(const T &) {
        #pragma HLS INLINE
        return 0;
    }
};

// Integers of W bits; a code is what it is worth.
template <int W, bool SIGNED> struct integer : unscaled {
    static const int element_bits = W;
    static const int significand_bits = W + 1;
    typedef ap_int<significand_bits> significand_t;
    static significand_t significand(ap_uint<W> code) {
        #pragma HLS INLINE
        if (SIGNED) return significand_t(ap_int<W>(code));
        return significand_t(code);
    }
    static int exponent(ap_uint<W>) {
        #pragma HLS INLINE
        return 0;
    }
};

// One bit: 0 is worth -1, 1 is worth +1.
struct bipolar : unscaled {
    static const int element_bits = 1;
    static const int significand_bits = 2;
    typedef ap_int<2> significand_t;
    static significand_t significand(ap_uint<1> code) {
        #pragma HLS INLINE
        return code == 1 ? significand_t(1) : significand_t(-1);
    }
    static int exponent(ap_uint<1>) {
        #pragma HLS INLINE
        return 0;
    }
};

// E exponent and M mantissa bits; SUB: exponent field 0 holds zero and the subnormals.
template <int E, int M, bool SIGN, bool SUB> struct minifloat : unscaled {
    static const int element_bits = E + M + (SIGN ? 1 : 0);
    static const int mantissa_bits = M;
    static const int magnitude_bits = E + M;
    static const int significand_bits = M + 2;
    typedef ap_int<significand_bits> significand_t;
    static significand_t significand(ap_uint<element_bits> code) {
        #pragma HLS INLINE
        const ap_uint<E> field = code >> M;
        significand_t magnitude = 0;
        for (int bit = 0; bit < M; bit++) {
            #pragma HLS UNROLL
            magnitude[bit] = bool(code[bit]);
        }
        magnitude[M] = !SUB || field != 0;
        const bool negative = SIGN && code[element_bits - 1] == 1;
        return negative ? significand_t(-magnitude) : magnitude;
    }
    static int exponent(ap_uint<element_bits> code) {
        #pragma HLS INLINE
        const int field = ap_uint<E>(code >> M).to_int();
        return SUB && field > 0 ? field - 1 : field;
    }
};

// An element and, above it, the scale that it shares with its block: a minifloat without a sign.
template <class Element, class Scale> struct blocked {
    static const int element_bits = Element::element_bits;
    static const int scale_bits = Scale::element_bits;
    static const int significand_bits = Element::significand_bits;
    typedef typename Element::significand_t significand_t;
    typedef ap_uint<Scale::mantissa_bits + 1> factor_t;
    typedef ap_uint<element_bits + scale_bits> code_t;
    static significand_t significand(code_t code) {
        #pragma HLS INLINE
        return Element::significand(ap_uint<element_bits>(code));
    }
    static int exponent(code_t code) {
        #pragma HLS INLINE
        return Element::exponent(ap_uint<element_bits>(code));
    }
    static factor_t factor(code_t code) {
        #pragma HLS INLINE
        return factor_t(Scale::significand(ap_uint<scale_bits>(code >> element_bits)));
    }
    static int scale(code_t code) {
        #pragma HLS INLINE
        return Scale::exponent(ap_uint<scale_bits>(code >> element_bits));
    }
};

// The bits of a code, whatever its type is.
template <class Format, class T> ap_uint<Format::element_bits + Format::scale_bits> bits(const T &code) {
    #pragma HLS INLINE
    return ap_uint<Format::element_bits + Format::scale_bits>(code);
}

template <class Format, class T> typename Format::factor_t factor(const T &code) {
    #pragma HLS INLINE
    return Format::factor(bits<Format>(code));
}

template <class Format, class T> int scale(const T &code) {
    #pragma HLS INLINE
    return Format::scale(bits<Format>(code));
}

// What a code is worth on its format's grid, in the type N.
template <class Format, class N, class T> N worth(const T &code) {
    #pragma HLS INLINE
    const N whole = Format::significand(bits<Format>(code)) * factor<Format>(code);
    return whole << (Format::exponent(bits<Format>(code)) + scale<Format>(code));
}

// A product in BITS bits, in units of both formats' least steps.
template <class X, class W, int BITS> struct exact_product {
    typedef ap_int<BITS> result_t;
    template <class x_T, class w_T> static result_t product(const x_T &x, const w_T &w) {
        #pragma HLS INLINE
        const auto a = bits<X>(x);
        const auto b = bits<W>(w);
        const result_t whole = X::significand(a) * W::significand(b);
        return whole << (X::exponent(a) + W::exponent(b));
    }
};

// |x| + |y| - OFFSET on packed exponents and mantissas, MOST the greatest finite code: L-Mul and Mitchell.
template <class F, int OFFSET, int MOST, int BITS> struct added_codes {
    typedef ap_int<BITS> result_t;
    static const int magnitude_bits = F::magnitude_bits;
    static ap_uint<F::element_bits> code(ap_uint<F::element_bits> x, ap_uint<F::element_bits> y) {
        #pragma HLS INLINE
        const ap_uint<magnitude_bits> a = x, b = y;
        const ap_int<magnitude_bits + 3> least = 1 << F::mantissa_bits;
        ap_int<magnitude_bits + 3> sum = ap_int<magnitude_bits + 3>(a) + ap_int<magnitude_bits + 3>(b) - OFFSET;
        if (a < least || b < least || sum < least) return 0;
        if (sum > MOST) sum = MOST;
        ap_uint<F::element_bits> out = sum;
        out[F::element_bits - 1] = x[F::element_bits - 1] ^ y[F::element_bits - 1];
        return out;
    }
    template <class x_T, class w_T> static result_t product(const x_T &x, const w_T &w) {
        #pragma HLS INLINE
        const ap_uint<F::element_bits> out = code(bits<F>(x), bits<F>(w));
        return result_t(F::significand(out)) << F::exponent(out);
    }
};

// (1 + xm + ym + CORRECTION) * 2**(xe + ye), its mantissa truncated.
template <class F, int CORRECTION, int BIAS, int MOST, int BITS> struct truncated_formula {
    typedef ap_int<BITS> result_t;
    static const int magnitude_bits = F::magnitude_bits;
    static const int mantissa_bits = F::mantissa_bits;
    static ap_uint<F::element_bits> code(ap_uint<F::element_bits> x, ap_uint<F::element_bits> y) {
        #pragma HLS INLINE
        const ap_uint<magnitude_bits> a = x, b = y;
        const int least = 1 << mantissa_bits;
        const int low = a.to_int() % least + b.to_int() % least + least + CORRECTION;
        const int carry = low >= 2 * least ? 1 : 0;
        const int field = (a.to_int() >> mantissa_bits) + (b.to_int() >> mantissa_bits) - BIAS + carry;
        int magnitude = field * least + (low >> carry) - least;
        if (a < least || b < least || magnitude < least) return 0;
        if (magnitude > MOST) magnitude = MOST;
        ap_uint<F::element_bits> out = magnitude;
        out[F::element_bits - 1] = x[F::element_bits - 1] ^ y[F::element_bits - 1];
        return out;
    }
    template <class x_T, class w_T> static result_t product(const x_T &x, const w_T &w) {
        #pragma HLS INLINE
        const ap_uint<F::element_bits> out = code(bits<F>(x), bits<F>(w));
        return result_t(F::significand(out)) << F::exponent(out);
    }
};

} // namespace hwgen

#endif
