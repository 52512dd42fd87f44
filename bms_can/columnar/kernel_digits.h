/* Digits as candump writes them, eight characters at a time, and the exact number they stand for. */
#ifndef KERNEL_DIGITS_H
#define KERNEL_DIGITS_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian machines only; numpy does it elsewhere"
#endif

#define ONES 0x0101010101010101u

typedef const uint8_t *Text;

static const uint8_t HEX[256] = {
#define NO4 255, 255, 255, 255
#define NO16 NO4, NO4, NO4, NO4
    NO16, NO16, NO16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 255, NO4,
    255, 10, 11, 12, 13, 14, 15, 255, NO4, NO4, NO16,
    255, 10, 11, 12, 13, 14, 15, 255, NO4, NO4, NO16,
    NO16, NO16, NO16, NO16, NO16, NO16, NO16, NO16};

static const double TENS[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
static const uint64_t POWERS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
                                  1000000000};

static inline uint64_t load(Text at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Eight ASCII digits, or -1. */
static inline int64_t eight_digits(uint64_t word) {
    uint64_t value = word ^ 0x30 * ONES;
    if (((value + 0x76 * ONES) | value) & 0x80 * ONES)
        return -1;
    value = value * 10 + (value >> 8);
    value = ((value & 0x000000FF000000FF) * 0x000F424000000064 +
             ((value >> 16) & 0x000000FF000000FF) * 0x0000271000000001) >> 32;
    return (int64_t)value;
}

/* Eight hexadecimal digits as four bytes, or -1. */
static inline int64_t four_bytes(uint64_t word) {
    uint64_t letter = word >> 6 & ONES;
    uint64_t nibble = (word & 0x0F * ONES) + 9 * letter;
    uint64_t upper = word & ~(letter << 5);
    uint64_t above_nine = (nibble + 6 * ONES) >> 4 & ONES;
    if ((nibble & 0x10 * ONES) || upper != 0x30 * ONES + nibble + 7 * above_nine)
        return -1;
    word = (nibble & 0x000F000F000F000F) << 4 | (nibble >> 8 & 0x000F000F000F000F);
    word = (word | word >> 8) & 0x0000FFFF0000FFFF;
    return (int64_t)((word | word >> 16) & 0xFFFFFFFF);
}

static inline int bits_of(uint64_t number) { return 64 - __builtin_clzll(number); }

/* numerator / 10^digits, rounded once and to even, as Python reads the decimal. */
static inline double quotient(uint64_t numerator, int digits) {
    if (numerator < (uint64_t)1 << 53)
        return (double)numerator / TENS[digits]; /* both exact, one rounding */
    unsigned __int128 top = numerator, divisor = POWERS[digits];
    int shift = 55 + bits_of(POWERS[digits]) - bits_of(numerator); /* for 55 or 56 bits */
    if (shift > 0)
        top <<= shift;
    else
        divisor <<= -shift;
    uint64_t whole = (uint64_t)(top / divisor);
    whole |= top % divisor != 0; /* sticky: below the bit that decides the rounding */
    double value = (double)whole;
    for (; shift > 0; shift--)
        value *= 0.5;
    for (; shift < 0; shift++)
        value *= 2;
    return value;
}

#endif
