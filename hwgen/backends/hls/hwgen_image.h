#ifndef HWGEN_IMAGE_H_
#define HWGEN_IMAGE_H_
// Sliding windows, pooling, and the index of the greatest.

#include "ap_int.h"

namespace hwgen {

// CONFIG_T: rows, columns, channels of the image; down, across (positions); kernel_h, kernel_w, stride_h, stride_w,
// dilation_h, dilation_w, pad_top, pad_left; pad (code of the padding).
template <class data_T, class res_T, typename CONFIG_T>
void window(data_T data[CONFIG_T::rows * CONFIG_T::columns * CONFIG_T::channels],
            res_T res[CONFIG_T::down * CONFIG_T::across * CONFIG_T::kernel_h * CONFIG_T::kernel_w * CONFIG_T::channels]) {
    static const int kernel_h = CONFIG_T::kernel_h, kernel_w = CONFIG_T::kernel_w, channels = CONFIG_T::channels;
    for (int y = 0; y < CONFIG_T::down; y++) {
        for (int x = 0; x < CONFIG_T::across; x++) {
            #pragma HLS PIPELINE II=1
            for (int tap = 0; tap < kernel_h * kernel_w; tap++) {
                #pragma HLS UNROLL
                const int row = y * CONFIG_T::stride_h + tap / kernel_w * CONFIG_T::dilation_h - CONFIG_T::pad_top;
                const int column = x * CONFIG_T::stride_w + tap % kernel_w * CONFIG_T::dilation_w - CONFIG_T::pad_left;
                const bool inside = row >= 0 && row < CONFIG_T::rows && column >= 0 && column < CONFIG_T::columns;
                const int pixel = inside ? row * CONFIG_T::columns + column : 0;
                const int place = (y * CONFIG_T::across + x) * kernel_h * kernel_w + tap;
                for (int channel = 0; channel < channels; channel++) {
                    #pragma HLS UNROLL
                    res[place * channels + channel] =
                        inside ? res_T(data[pixel * channels + channel]) : res_T(CONFIG_T::pad);
                }
            }
        }
    }
}

// Each pixel down x across times. CONFIG_T: rows, columns, channels (of the input); down, across.
template <class data_T, class res_T, typename CONFIG_T>
void upsample(data_T data[CONFIG_T::rows * CONFIG_T::columns * CONFIG_T::channels],
              res_T res[CONFIG_T::rows * CONFIG_T::down * CONFIG_T::columns * CONFIG_T::across * CONFIG_T::channels]) {
    static const int channels = CONFIG_T::channels, wide = CONFIG_T::columns * CONFIG_T::across;
    for (int y = 0; y < CONFIG_T::rows * CONFIG_T::down; y++) {
        for (int x = 0; x < wide; x++) {
            #pragma HLS PIPELINE II=1
            const int pixel = y / CONFIG_T::down * CONFIG_T::columns + x / CONFIG_T::across;
            for (int channel = 0; channel < channels; channel++) {
                #pragma HLS UNROLL
                res[(y * wide + x) * channels + channel] = data[pixel * channels + channel];
            }
        }
    }
}

// Codes in the order of what they are worth: minifloats above their sign bit run backwards.
template <int SIGN_BIT, class T> ap_int<T::width + 1> in_order(const T &code) {
    #pragma HLS INLINE
    const ap_int<T::width + 1> plain = code;
    if (SIGN_BIT < 0 || code[SIGN_BIT < 0 ? 0 : SIGN_BIT] == 0) return plain;
    return ~(plain - (ap_int<T::width + 1>(1) << (SIGN_BIT < 0 ? 0 : SIGN_BIT)));
}

// CONFIG_T: positions, taps, channels; maximum (else the sum); sign_bit: of minifloats, else -1.
template <class data_T, class res_T, typename CONFIG_T>
void pool(data_T data[CONFIG_T::positions * CONFIG_T::taps * CONFIG_T::channels],
          res_T res[CONFIG_T::positions * CONFIG_T::channels]) {
    static const int taps = CONFIG_T::taps, channels = CONFIG_T::channels;
    for (int position = 0; position < CONFIG_T::positions; position++) {
        for (int channel = 0; channel < channels; channel++) {
            #pragma HLS PIPELINE II=1
            const int start = position * taps * channels + channel;
            res_T best = data[start];
            for (int tap = 1; tap < taps; tap++) {
                #pragma HLS UNROLL
                const data_T next = data[start + tap * channels];
                if (!CONFIG_T::maximum) best += next;
                else if (in_order<CONFIG_T::sign_bit>(next) > in_order<CONFIG_T::sign_bit>(best)) best = next;
            }
            res[position * channels + channel] = best;
        }
    }
}

// CONFIG_T: positions, channels. Of equal ones the lowest index.
template <class data_T, class res_T, typename CONFIG_T>
void argmax(data_T data[CONFIG_T::positions * CONFIG_T::channels], res_T res[CONFIG_T::positions]) {
    static const int channels = CONFIG_T::channels;
    for (int position = 0; position < CONFIG_T::positions; position++) {
        data_T best = data[position * channels];
        res_T index = 0;
        for (int channel = 1; channel < channels; channel++) {
            #pragma HLS PIPELINE II=1
            const data_T next = data[position * channels + channel];
            if (next > best) {
                best = next;
                index = channel;
            }
        }
        res[position] = index;
    }
}

} // namespace hwgen

#endif
