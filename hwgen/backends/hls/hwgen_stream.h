#ifndef HWGEN_STREAM_H_
#define HWGEN_STREAM_H_
// Layers between streams: a frame is gathered, computed and given on, while the layers before and behind work on others.

#include "hls_stream.h"

namespace hwgen {

// NUMBERS of a frame from beats of data_T, an array of `size` numbers each; and back.
template <class data_T, int NUMBERS>
void gather(hls::stream<data_T> &from, typename data_T::value_type to[NUMBERS]) {
    for (int start = 0; start < NUMBERS; start += data_T::size) {
        #pragma HLS PIPELINE II=1
        const data_T beat = from.read();
        for (unsigned i = 0; i < data_T::size; i++) {
            #pragma HLS UNROLL
            to[start + i] = beat[i];
        }
    }
}

template <class data_T, int NUMBERS>
void scatter(typename data_T::value_type from[NUMBERS], hls::stream<data_T> &to) {
    for (int start = 0; start < NUMBERS; start += data_T::size) {
        #pragma HLS PIPELINE II=1
        data_T beat;
        for (unsigned i = 0; i < data_T::size; i++) {
            #pragma HLS UNROLL
            beat[i] = from[start + i];
        }
        to.write(beat);
    }
}

// FUNCTION: a struct whose `run(in, out, tables...)` is the layer on arrays. CONFIG_T: numbers_in, numbers_out.
template <class FUNCTION, class data_T, class res_T, typename CONFIG_T, class... Tables>
void streamed(hls::stream<data_T> &data, hls::stream<res_T> &res, Tables &...tables) {
    static const int lanes_in = data_T::size, lanes_out = res_T::size;
    typename data_T::value_type in[CONFIG_T::numbers_in];
    typename res_T::value_type out[CONFIG_T::numbers_out];
    #pragma HLS ARRAY_RESHAPE variable=in cyclic factor=lanes_in
    #pragma HLS ARRAY_RESHAPE variable=out cyclic factor=lanes_out
    gather<data_T, CONFIG_T::numbers_in>(data, in);
    FUNCTION::run(in, out, tables...);
    scatter<res_T, CONFIG_T::numbers_out>(out, res);
}

// The same for a layer of two inputs, whose numbers are numbers_in and numbers_in_b.
template <class FUNCTION, class a_T, class b_T, class res_T, typename CONFIG_T>
void streamed_pair(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res) {
    static const int lanes_a = a_T::size, lanes_b = b_T::size, lanes_out = res_T::size;
    typename a_T::value_type in[CONFIG_T::numbers_in];
    typename b_T::value_type in_b[CONFIG_T::numbers_in_b];
    typename res_T::value_type out[CONFIG_T::numbers_out];
    #pragma HLS ARRAY_RESHAPE variable=in cyclic factor=lanes_a
    #pragma HLS ARRAY_RESHAPE variable=in_b cyclic factor=lanes_b
    #pragma HLS ARRAY_RESHAPE variable=out cyclic factor=lanes_out
    gather<a_T, CONFIG_T::numbers_in>(a, in);
    gather<b_T, CONFIG_T::numbers_in_b>(b, in_b);
    FUNCTION::run(in, in_b, out);
    scatter<res_T, CONFIG_T::numbers_out>(out, res);
}

} // namespace hwgen

#endif
