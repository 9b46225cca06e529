#ifndef HWGEN_MATVEC_H_
#define HWGEN_MATVEC_H_
// A matrix unit on codes of any format: exact products, an accumulator that holds every sum.

#include "hwgen_formats.h"

namespace hwgen {

// CONFIG_T: positions, n_in, n_out, pe (outputs at a time), simd (inputs at a time, of one block of inputs),
// shift (the result's unit is 2**shift accumulator units, and no sum loses bits);
// weight_t, bias_t, block_t (the sum of simd products), accum_t; x_format, w_format and product, see hwgen_formats.h.
// weights: row o holds those of output o. One chunk of pe x simd products enters every clock cycle.
template <class data_T, class res_T, typename CONFIG_T>
void matvec(data_T data[CONFIG_T::positions * CONFIG_T::n_in], res_T res[CONFIG_T::positions * CONFIG_T::n_out],
            typename CONFIG_T::weight_t weights[CONFIG_T::n_out * CONFIG_T::n_in],
            typename CONFIG_T::bias_t biases[CONFIG_T::n_out]) {
    static const int n_in = CONFIG_T::n_in, n_out = CONFIG_T::n_out, pe = CONFIG_T::pe, simd = CONFIG_T::simd;
    typedef typename CONFIG_T::x_format X;
    typedef typename CONFIG_T::w_format W;
    #pragma HLS ARRAY_RESHAPE variable=weights cyclic factor=CONFIG_T::simd
    typename CONFIG_T::accum_t acc[pe];
    #pragma HLS ARRAY_PARTITION variable=acc complete

    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int first = 0; first < n_out; first += pe) {
            for (int start = 0; start < n_in; start += simd) {
                #pragma HLS PIPELINE II=1
                for (int lane = 0; lane < pe; lane++) {
                    #pragma HLS UNROLL
                    const int out = first + lane, x = position * n_in + start, w = out * n_in + start;
                    typename CONFIG_T::block_t sum = 0;
                    for (int i = 0; i < simd; i++) {
                        #pragma HLS UNROLL
                        sum += CONFIG_T::product::product(data[x + i], weights[w + i]);
                    }
                    const typename CONFIG_T::accum_t before =
                        start == 0 ? typename CONFIG_T::accum_t(biases[out]) << CONFIG_T::shift : acc[lane];
                    const typename CONFIG_T::accum_t wide = sum;
                    acc[lane] = before + (wide << (scale<X>(data[x]) + scale<W>(weights[w])));
                    if (start == n_in - simd) res[position * n_out + out] = acc[lane] >> CONFIG_T::shift;
                }
            }
        }
    }
}

// Channels by weights of their own. CONFIG_T: positions, channels, taps, simd (channels at a time), shift; weight_t,
// bias_t, accum_t; x_format, w_format, product. data: channel after channel within a tap; weights: tap after tap within
// a channel.
template <class data_T, class res_T, typename CONFIG_T>
void depthwise(data_T data[CONFIG_T::positions * CONFIG_T::taps * CONFIG_T::channels],
               res_T res[CONFIG_T::positions * CONFIG_T::channels],
               typename CONFIG_T::weight_t weights[CONFIG_T::channels * CONFIG_T::taps],
               typename CONFIG_T::bias_t biases[CONFIG_T::channels]) {
    static const int channels = CONFIG_T::channels, taps = CONFIG_T::taps, simd = CONFIG_T::simd;
    typename CONFIG_T::accum_t acc[simd];
    #pragma HLS ARRAY_PARTITION variable=acc complete

    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int first = 0; first < channels; first += simd) {
            for (int tap = 0; tap < taps; tap++) {
                #pragma HLS PIPELINE II=1
                for (int lane = 0; lane < simd; lane++) {
                    #pragma HLS UNROLL
                    const int channel = first + lane;
                    const typename CONFIG_T::accum_t before =
                        tap == 0 ? typename CONFIG_T::accum_t(biases[channel]) << CONFIG_T::shift : acc[lane];
                    acc[lane] = before + CONFIG_T::product::product(data[(position * taps + tap) * channels + channel],
                                                                    weights[channel * taps + tap]);
                    if (tap == taps - 1) res[position * channels + channel] = acc[lane] >> CONFIG_T::shift;
                }
            }
        }
    }
}

} // namespace hwgen

#endif
