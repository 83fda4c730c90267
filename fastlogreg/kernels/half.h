/* Half precision, as NumPy's float16 holds it: a sign, five bits of an exponent, ten of a fraction (IEEE 754, 2008). */

#ifndef FASTLOGREG_HALF_H
#define FASTLOGREG_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The bits moved to their places in a double are the value times 2^-1008, the difference of the two biases, for small
 * numbers without a leading one as well; a full exponent stands for infinity and NaN. */
static inline double double_of_half(uint16_t half) {
    const uint64_t sign = (uint64_t)(half >> 15) << 63, magnitude = half & 0x7fff;
    const uint64_t bits = magnitude << 42;
    double value;
    memcpy(&value, &bits, sizeof(value));
    value = magnitude >= 0x7c00 ? (magnitude == 0x7c00 ? (double)INFINITY : (double)NAN) : value * 0x1p1008;
    uint64_t signed_bits;
    memcpy(&signed_bits, &value, sizeof(value));
    signed_bits |= sign;
    memcpy(&value, &signed_bits, sizeof(value));
    return value;
}

#endif
