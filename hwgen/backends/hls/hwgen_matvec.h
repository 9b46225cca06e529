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
                    const typename CONFIG_T::accum_t wide = sum * (factor<X>(data[x]) * factor<W>(weights[w]));
                    acc[lane] = before + (wide << (scale<X>(data[x]) + scale<W>(weights[w])));
                    if (start == n_in - simd) res[position * n_out + out] = acc[lane] >> CONFIG_T::shift;
                }
            }
        }
    }
}

// Groups of channels by weights of their own. CONFIG_T: as matvec, but groups, taps, channels and rows (inputs of a tap
// and outputs of a group), beside (groups at a time), pe and simd within each. data: channel after channel within a tap;
// weights: row o holds those of output o, its group's channels within a tap.
template <class data_T, class res_T, typename CONFIG_T>
void grouped(data_T data[CONFIG_T::positions * CONFIG_T::taps * CONFIG_T::groups * CONFIG_T::channels],
             res_T res[CONFIG_T::positions * CONFIG_T::groups * CONFIG_T::rows],
             typename CONFIG_T::weight_t weights[CONFIG_T::groups * CONFIG_T::rows * CONFIG_T::taps * CONFIG_T::channels],
             typename CONFIG_T::bias_t biases[CONFIG_T::groups * CONFIG_T::rows]) {
    static const int groups = CONFIG_T::groups, taps = CONFIG_T::taps, channels = CONFIG_T::channels;
    static const int rows = CONFIG_T::rows, beside = CONFIG_T::beside, pe = CONFIG_T::pe, simd = CONFIG_T::simd;
    static const int steps = taps * channels / simd;
    typedef typename CONFIG_T::x_format X;
    typedef typename CONFIG_T::w_format W;
    #pragma HLS ARRAY_RESHAPE variable=weights cyclic factor=CONFIG_T::simd
    typename CONFIG_T::accum_t acc[beside * pe];
    #pragma HLS ARRAY_PARTITION variable=acc complete

    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int first = 0; first < groups; first += beside) {
            for (int row = 0; row < rows; row += pe) {
                for (int step = 0; step < steps; step++) {
                    #pragma HLS PIPELINE II=1
                    const int tap = step * simd / channels, start = step * simd % channels;
                    for (int lane = 0; lane < beside * pe; lane++) {
                        #pragma HLS UNROLL
                        const int group = first + lane / pe, out = group * rows + row + lane % pe;
                        const int x = ((position * taps + tap) * groups + group) * channels + start;
                        const int w = (out * taps + tap) * channels + start;
                        typename CONFIG_T::block_t sum = 0;
                        for (int i = 0; i < simd; i++) {
                            #pragma HLS UNROLL
                            sum += CONFIG_T::product::product(data[x + i], weights[w + i]);
                        }
                        const typename CONFIG_T::accum_t before =
                            step == 0 ? typename CONFIG_T::accum_t(biases[out]) << CONFIG_T::shift : acc[lane];
                        const typename CONFIG_T::accum_t wide = sum * (factor<X>(data[x]) * factor<W>(weights[w]));
                        acc[lane] = before + (wide << (scale<X>(data[x]) + scale<W>(weights[w])));
                        if (step == steps - 1) {
                            res[position * groups * rows + out] = acc[lane] >> CONFIG_T::shift;
                        }
                    }
                }
            }
        }
    }
}

} // namespace hwgen

#endif
