#ifndef HWGEN_JOIN_H_
#define HWGEN_JOIN_H_
// Where two branches meet.

#include "hwgen_formats.h"

namespace hwgen {

// factor_a * a + factor_b * b, of what the codes are worth on their formats' grids. CONFIG_T: n (numbers), factor_a,
// factor_b; a_format, b_format.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void add(a_T a[CONFIG_T::n], b_T b[CONFIG_T::n], res_T res[CONFIG_T::n]) {
    typedef typename CONFIG_T::a_format A;
    typedef typename CONFIG_T::b_format B;
    // Whatever wraps on the way is right in the end, since the result's width holds every sum.
    typedef ap_int<res_T::width + 1> sum_t;
    for (int i = 0; i < CONFIG_T::n; i++) {
        #pragma HLS PIPELINE II=1
        const sum_t x = worth<A, sum_t>(a[i]), y = worth<B, sum_t>(b[i]);
        res[i] = x * sum_t(CONFIG_T::factor_a) + y * sum_t(CONFIG_T::factor_b);
    }
}

// The channels of a, then those of b: factor * code + offset of each. CONFIG_T: positions, channels_a, channels_b,
// factor_a, factor_b, offset_a, offset_b.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void concat(a_T a[CONFIG_T::positions * CONFIG_T::channels_a], b_T b[CONFIG_T::positions * CONFIG_T::channels_b],
            res_T res[CONFIG_T::positions * (CONFIG_T::channels_a + CONFIG_T::channels_b)]) {
    static const int of_a = CONFIG_T::channels_a, of_b = CONFIG_T::channels_b;
    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int channel = 0; channel < of_a + of_b; channel++) {
            #pragma HLS PIPELINE II=1
            const a_T code_a = channel < of_a ? a[position * of_a + channel] : a_T(0);
            const b_T code_b = channel < of_a ? b_T(0) : b[position * of_b + channel - of_a];
            const res_T from_a = code_a * CONFIG_T::factor_a + CONFIG_T::offset_a;
            const res_T from_b = code_b * CONFIG_T::factor_b + CONFIG_T::offset_b;
            res[position * (of_a + of_b) + channel] = channel < of_a ? from_a : from_b;
        }
    }
}

} // namespace hwgen

#endif
