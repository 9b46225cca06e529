#ifndef HWGEN_ROUNDING_H_
#define HWGEN_ROUNDING_H_
// Roundings by name, of integers that are shifted right.

#include "ap_int.h"

namespace hwgen {

enum rounding { half_even, half_away, half_zero, half_up, down, up, zero, away };

// Whether a magnitude goes up by one: its last bit that is kept, whether half a step and whether less than that is lost.
inline bool increments(rounding mode, bool negative, bool odd, bool half, bool rest) {
    #pragma HLS INLINE
    const bool lost = half || rest;
    switch (mode) {
    case half_even: return half && (rest || odd);
    case half_away: return half;
    case half_zero: return half && rest;
    case half_up: return half && (rest || !negative);
    case down: return lost && negative;
    case up: return lost && !negative;
    case zero: return false;
    default: return lost;
    }
}

// `magnitude` / 2**shift rounded; of a number that is `negative`; `above` is added first, in units of the result.
template <int W> ap_uint<W + 1> round_magnitude(ap_uint<W> magnitude, int shift, rounding mode, bool negative, int above) {
    #pragma HLS INLINE
    const int by = shift > W + 1 ? W + 1 : shift;
    const ap_uint<W + 2> wide = magnitude;
    const ap_uint<W + 2> lost = wide & ((ap_uint<W + 2>(1) << by) - 1);
    const bool half = by > 0 && wide[by > 0 ? by - 1 : 0] == 1;
    const ap_uint<W + 2> below = half ? ap_uint<W + 2>(lost ^ (ap_uint<W + 2>(1) << (by - 1))) : lost;
    const ap_uint<W + 1> floor = (wide >> by) + above;
    return floor + (increments(mode, negative, floor[0] == 1, half, below != 0) ? 1 : 0);
}

// `value` / 2**shift rounded, an integer in two's complement.
template <int W> ap_int<W + 1> round_shift(ap_int<W> value, int shift, rounding mode) {
    #pragma HLS INLINE
    const bool negative = value < 0;
    const ap_uint<W> magnitude = negative ? ap_uint<W>(-value) : ap_uint<W>(value);
    const ap_uint<W + 1> rounded = round_magnitude<W>(magnitude, shift, mode, negative, 0);
    return negative ? ap_int<W + 1>(-rounded) : ap_int<W + 1>(rounded);
}

} // namespace hwgen

#endif
