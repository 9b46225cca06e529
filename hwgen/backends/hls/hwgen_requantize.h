#ifndef HWGEN_REQUANTIZE_H_
#define HWGEN_REQUANTIZE_H_
// From accumulators to codes: thresholds, multiply and shift.

#include "hwgen_rounding.h"

namespace hwgen {

// code = codes[how many thresholds of the channel are not above x].
// CONFIG_T: positions, channels, rows (of thresholds: 1 or channels), steps; threshold_t, code_t, count_t.
template <class data_T, class res_T, typename CONFIG_T>
void thresholds(data_T data[CONFIG_T::positions * CONFIG_T::channels],
                res_T res[CONFIG_T::positions * CONFIG_T::channels],
                typename CONFIG_T::threshold_t table[CONFIG_T::rows * CONFIG_T::steps],
                typename CONFIG_T::code_t codes[CONFIG_T::steps + 1]) {
    static const int steps = CONFIG_T::steps, channels = CONFIG_T::channels;
    #pragma HLS ARRAY_RESHAPE variable=table cyclic factor=CONFIG_T::steps
    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int channel = 0; channel < channels; channel++) {
            #pragma HLS PIPELINE II=1
            const int row = CONFIG_T::rows == 1 ? 0 : channel;
            const data_T x = data[position * channels + channel];
            typename CONFIG_T::count_t count = 0;
            for (int step = 0; step < steps; step++) {
                #pragma HLS UNROLL
                if (x >= table[row * steps + step]) count += 1;
            }
            res[position * channels + channel] = codes[count];
        }
    }
}

// code = clip(round((x * multiplier + offset) / 2**shift) + zero_point, low, high).
// CONFIG_T: positions, channels, rows (of parameters: 1 or channels), product_bits, code_bits (of what is not clipped
// yet), zero_point, low, high, mode; multiplier_t, offset_t, shift_t.
template <class data_T, class res_T, typename CONFIG_T>
void requantize(data_T data[CONFIG_T::positions * CONFIG_T::channels],
                res_T res[CONFIG_T::positions * CONFIG_T::channels],
                typename CONFIG_T::multiplier_t multipliers[CONFIG_T::rows],
                typename CONFIG_T::offset_t offsets[CONFIG_T::rows], typename CONFIG_T::shift_t shifts[CONFIG_T::rows]) {
    static const int channels = CONFIG_T::channels, wide = CONFIG_T::product_bits;
    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int channel = 0; channel < channels; channel++) {
            #pragma HLS PIPELINE II=1
            const int row = CONFIG_T::rows == 1 ? 0 : channel;
            const ap_int<wide> product = data[position * channels + channel] * multipliers[row] + offsets[row];
            ap_int<CONFIG_T::code_bits> code = round_shift<wide>(product, shifts[row].to_int(), CONFIG_T::mode);
            code += CONFIG_T::zero_point;
            if (code < CONFIG_T::low) code = CONFIG_T::low;
            if (code > CONFIG_T::high) code = CONFIG_T::high;
            res[position * channels + channel] = code;
        }
    }
}

// code = table[bits of x], a table of the channel's own or one for all.
// CONFIG_T: positions, channels, rows (of the table: 1 or channels), entries (of a row: 2**bits of x); code_t.
template <class data_T, class res_T, typename CONFIG_T>
void table(data_T data[CONFIG_T::positions * CONFIG_T::channels], res_T res[CONFIG_T::positions * CONFIG_T::channels],
           typename CONFIG_T::code_t codes[CONFIG_T::rows * CONFIG_T::entries]) {
    static const int channels = CONFIG_T::channels, entries = CONFIG_T::entries;
    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int channel = 0; channel < channels; channel++) {
            #pragma HLS PIPELINE II=1
            const int row = CONFIG_T::rows == 1 ? 0 : channel;
            const int place = ap_uint<16>(data[position * channels + channel]).to_int() % entries;
            res[position * channels + channel] = codes[row * entries + place];
        }
    }
}

} // namespace hwgen

#endif
