/* exp and log1p on vectors of doubles, for the arguments the sigmoid needs. GCC/Clang vector extensions: VECTOR_BYTES
 * decides the width, and the same source serves every instruction set. */
#ifndef VECTOR_BYTES
#error "define VECTOR_BYTES before including vector_math.h"
#endif

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if VECTOR_BYTES == 64
#define LANES 8
#elif VECTOR_BYTES == 32
#define LANES 4
#else
#define LANES 2
#endif

typedef double vdouble __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t vint __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t vuint __attribute__((vector_size(VECTOR_BYTES)));

static inline vdouble splat(double x) {
    return x - (vdouble){0}; /* x - 0 is x, which the compiler knows: no subtraction is left */
}

static inline vdouble load_f64(const double *p) {
    vdouble v;
    memcpy(&v, p, sizeof v);
    return v;
}

typedef float vfloat __attribute__((vector_size(VECTOR_BYTES / 2)));

/* GCC itself would convert halves and join them. */
static inline vdouble widen(vfloat x) {
#if LANES == 8 && defined(__AVX512F__)
    return (vdouble)_mm512_cvtps_pd((__m256)x);
#elif LANES == 4 && defined(__AVX__)
    return (vdouble)_mm256_cvtps_pd((__m128)x);
#else
    return __builtin_convertvector(x, vdouble);
#endif
}

static inline void store_f64(double *p, vdouble v) { memcpy(p, &v, sizeof v); }

/* The lanes of a vector that are not zero, as bits; the names end with the number of lanes. */
#if defined(__AVX512F__)
static inline uint64_t not_zero_8(vdouble v) {
    return _mm512_cmp_pd_mask((__m512d)v, _mm512_setzero_pd(), _CMP_NEQ_UQ);
}
#endif
#if defined(__AVX__)
typedef double pd4 __attribute__((vector_size(32)));
static inline uint64_t not_zero_4(pd4 v) {
    return (uint64_t)_mm256_movemask_pd(_mm256_cmp_pd((__m256d)v, _mm256_setzero_pd(), _CMP_NEQ_UQ));
}
#endif
#if LANES == 2
static inline uint64_t not_zero_2(vdouble v) { return (uint64_t)(v[0] != 0.0) | (uint64_t)(v[1] != 0.0) << 1; }
#endif

/* The first `count` of at most LANES lanes; the others are 0, or left as they are in memory. */
static inline vdouble load_first(const double *p, ptrdiff_t count) {
    vdouble v = {0};
    if (count >= LANES)
        return load_f64(p);
#if LANES == 8 && defined(__AVX512F__)
    return (vdouble)_mm512_maskz_loadu_pd((__mmask8)((1 << count) - 1), p);
#elif LANES == 4 && defined(__AVX__)
    const vint lane = {0, 1, 2, 3};
    return (vdouble)_mm256_maskload_pd(p, (__m256i)(lane < count));
#endif
    memcpy(&v, p, (size_t)count * sizeof(double));
    return v;
}

/* The same of bytes, as doubles. */
static inline vdouble load_bytes(const uint8_t *p, ptrdiff_t count) {
    uint8_t bytes[8] = {0};
    if (count >= LANES)
        memcpy(bytes, p, LANES);
    else
        memcpy(bytes, p, (size_t)count);
#if LANES == 8 && defined(__AVX512F__)
    return (vdouble)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)));
#elif LANES == 4 && defined(__AVX2__)
    return (vdouble)_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)));
#else
    vdouble v;
    for (int i = 0; i < LANES; i++)
        v[i] = bytes[i];
    return v;
#endif
}

static inline void store_first(double *p, vdouble v, ptrdiff_t count) {
    if (count >= LANES)
        store_f64(p, v);
    else
        memcpy(p, &v, (size_t)count * sizeof(double));
}

static inline vdouble select(vint mask, vdouble a, vdouble b) {
#if LANES == 8 && defined(__AVX512DQ__)
    return (vdouble)_mm512_mask_blend_pd(_mm512_movepi64_mask((__m512i)mask), (__m512d)b, (__m512d)a);
#else
    return (vdouble)((mask & (vint)a) | (~mask & (vint)b));
#endif
}

/* NaN stays NaN. */
static inline vdouble at_least(double lowest, vdouble x) {
#if LANES == 8 && defined(__AVX512F__)
    return (vdouble)_mm512_max_pd((__m512d)splat(lowest), (__m512d)x);
#elif LANES == 4 && defined(__AVX__)
    return (vdouble)_mm256_max_pd((__m256d)splat(lowest), (__m256d)x);
#elif LANES == 2 && defined(__SSE2__)
    return (vdouble)_mm_max_pd((__m128d)splat(lowest), (__m128d)x);
#else
    return select(x < lowest, splat(lowest), x);
#endif
}

/* Whether any lane of a comparison's result is true. */
static inline int any_lane(vint mask) {
#if LANES == 8 && defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif LANES == 4 && defined(__AVX__)
    return _mm256_movemask_pd((__m256d)mask) != 0;
#elif LANES == 2 && defined(__SSE2__)
    return _mm_movemask_pd((__m128d)mask) != 0;
#else
    int64_t any = 0;
    for (int i = 0; i < LANES; i++)
        any |= mask[i];
    return any != 0;
#endif
}

static inline vdouble absolute(vdouble x) { return (vdouble)((vint)x & INT64_C(0x7fffffffffffffff)); }

typedef double vdouble2 __attribute__((vector_size(16)));
typedef double vdouble4 __attribute__((vector_size(32)));
typedef double vdouble8 __attribute__((vector_size(64)));

/* Sums of lanes, halves first; through pointers, since vectors wider than the registers make a poor argument. */
static inline double sum_of_2(const vdouble2 *v) { return (*v)[0] + (*v)[1]; }

static inline double sum_of_4(const vdouble4 *v) {
    vdouble2 half[2];
    memcpy(half, v, sizeof half);
    half[0] += half[1];
    return sum_of_2(half);
}

static inline double sum_of_8(const vdouble8 *v) {
    vdouble4 half[2];
    memcpy(half, v, sizeof half);
    half[0] += half[1];
    return sum_of_4(half);
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define sum_of_lanes(v) PASTE(sum_of_, LANES)(v)

/* Lanes of two vectors, those of the second numbered after those of the first. */
#if defined(__clang__) || __GNUC__ >= 12
#define LANES_OF(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LANES_OF(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

typedef int64_t vint2 __attribute__((vector_size(16)));
typedef int64_t vint4 __attribute__((vector_size(32)));
typedef int64_t vint8 __attribute__((vector_size(64)));

/* Of two vectors, their even lanes in turn, and their odd ones: from vectors of pairs of numbers to the first and the
 * second of each, and back. */
#if LANES == 8
#define EVEN_LANES(a, b) LANES_OF(vint8, a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define ODD_LANES(a, b) LANES_OF(vint8, a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#elif LANES == 4
#define EVEN_LANES(a, b) LANES_OF(vint4, a, b, 0, 4, 2, 6)
#define ODD_LANES(a, b) LANES_OF(vint4, a, b, 1, 5, 3, 7)
#else
#define EVEN_LANES(a, b) LANES_OF(vint2, a, b, 0, 2)
#define ODD_LANES(a, b) LANES_OF(vint2, a, b, 1, 3)
#endif

static inline vdouble2 load_pair(const double *pairs, ptrdiff_t place) {
    vdouble2 pair;
    memcpy(&pair, pairs + 2 * place, sizeof pair);
    return pair;
}

static inline void store_pair(double *pairs, ptrdiff_t place, vdouble2 pair) {
    memcpy(pairs + 2 * place, &pair, sizeof pair);
}

/* The pairs at every other place, from the first one on. Gathering the same numbers takes far longer. */
static inline vdouble load_pairs(const double *pairs, const int32_t *place) {
#if LANES == 8 && defined(__AVX512F__)
    const __m256d low = _mm256_set_m128d((__m128d)load_pair(pairs, place[2]), (__m128d)load_pair(pairs, place[0]));
    const __m256d high = _mm256_set_m128d((__m128d)load_pair(pairs, place[6]), (__m128d)load_pair(pairs, place[4]));
    return (vdouble)_mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1);
#elif LANES == 4 && defined(__AVX__)
    return (vdouble)_mm256_set_m128d((__m128d)load_pair(pairs, place[2]), (__m128d)load_pair(pairs, place[0]));
#else
    vdouble v;
    for (int i = 0; i < LANES; i += 2)
        store_pair((double *)&v, i / 2, load_pair(pairs, place[i]));
    return v;
#endif
}

/* The sums of the lanes of as many vectors as these have lanes, bit for bit those above: what is left of one vector at
 * each halving shares a vector with what is left of another. */
static inline void sums_of_2(const vdouble2 *v, double *sums_out) {
    const vdouble2 sums = LANES_OF(vint2, v[0], v[1], 0, 2) + LANES_OF(vint2, v[0], v[1], 1, 3);
    memcpy(sums_out, &sums, sizeof sums);
}

static inline void sums_of_4(const vdouble4 *v, double *sums_out) {
    vdouble4 half[2], sums;
    for (int i = 0; i < 2; i++)
        half[i] = LANES_OF(vint4, v[i], v[i + 2], 0, 1, 6, 7) + LANES_OF(vint4, v[i], v[i + 2], 2, 3, 4, 5);
    sums = LANES_OF(vint4, half[0], half[1], 0, 5, 2, 7) + LANES_OF(vint4, half[0], half[1], 1, 4, 3, 6);
    memcpy(sums_out, &sums, sizeof sums);
}

static inline void sums_of_8(const vdouble8 *v, double *sums_out) {
    vdouble8 half[4], quarter[2], sums;
    for (int i = 0; i < 4; i++)
        half[i] = LANES_OF(vint8, v[i], v[i + 4], 0, 1, 2, 3, 12, 13, 14, 15) +
                  LANES_OF(vint8, v[i], v[i + 4], 4, 5, 6, 7, 8, 9, 10, 11);
    for (int i = 0; i < 2; i++)
        quarter[i] = LANES_OF(vint8, half[i], half[i + 2], 0, 1, 10, 11, 4, 5, 14, 15) +
                     LANES_OF(vint8, half[i], half[i + 2], 2, 3, 8, 9, 6, 7, 12, 13);
    sums = LANES_OF(vint8, quarter[0], quarter[1], 0, 9, 2, 11, 4, 13, 6, 15) +
           LANES_OF(vint8, quarter[0], quarter[1], 1, 8, 3, 10, 5, 12, 7, 14);
    memcpy(sums_out, &sums, sizeof sums);
}

/* Coefficients of the two polynomials below: mpmath.chebyfit at 200 bits, of (exp(r) - 1 - r) / r^2 over
 * |r| <= 1.0001 ln 2 / 2 and of (atanh(s) / s - 1) / s^2, s^2 = z, over z in [0, 1/9]. */
#define EXP_Q0 0x1.0000000000000p-1
#define EXP_Q1 0x1.5555555555557p-3
#define EXP_Q2 0x1.5555555555556p-5
#define EXP_Q3 0x1.11111111100dcp-7
#define EXP_Q4 0x1.6c16c16c162d4p-10
#define EXP_Q5 0x1.a01a01abe7fe1p-13
#define EXP_Q6 0x1.a01a01a6d889cp-16
#define EXP_Q7 0x1.71de0231960ebp-19
#define EXP_Q8 0x1.27e4db646b17ep-22
#define EXP_Q9 0x1.af4de97ca4194p-26
#define EXP_Q10 0x1.1f730349868cep-29
#define LOG_P0 0x1.5555555555555p-2
#define LOG_P1 0x1.999999999a3ddp-3
#define LOG_P2 0x1.24924923d44c6p-3
#define LOG_P3 0x1.c71c727143318p-4
#define LOG_P4 0x1.745cf0b0e03bdp-4
#define LOG_P5 0x1.3b18b294bebf9p-4
#define LOG_P6 0x1.10ac75dc602b1p-4
#define LOG_P7 0x1.eb905e8575054p-5
#define LOG_P8 0x1.687a6e7c95176p-5
#define LOG_P9 0x1.4b0a26c5f2aefp-4

/* ln 2 in three parts; the first two have at most 41 significant bits, so a power of two's exponent times them is exact
 * (Cody and Waite). */
#define LN2_HIGH 0x1.62e42fefa3000p-1
#define LN2_MIDDLE 0x1.3de6af278e000p-42
#define LN2_LOW 0x1.9cc01f97b57a0p-83
#define EXP_LOWEST -746.0 /* exp of it rounds to 0 */

/* Adding it leaves the nearest integer in the low bits of the significand. */
#define ROUND_TO_INTEGER 0x1.8p52
#define ROUND_TO_INTEGER_BITS UINT64_C(0x4338000000000000)

/* k with exp(x) = 2^k exp(r), |r| <= ln 2 / 2, for x in [EXP_LOWEST, 0]. */
static inline vdouble nearest_power_of_two(vdouble x) {
    return (x * 0x1.71547652b82fep+0 + ROUND_TO_INTEGER) - ROUND_TO_INTEGER;
}

/* x 2^k for whole k in [-1077, 0], rounded once also where the result is subnormal: 2^k is applied as two normal
 * factors 2^(h - 1024), whose biased exponent is h - 1. */
static inline vdouble times_power_of_two(vdouble x, vdouble power) {
#if LANES == 8 && defined(__AVX512F__)
    return (vdouble)_mm512_scalef_pd((__m512d)x, (__m512d)power);
#endif
    const vuint k_plus_2048 = (vuint)(power + ROUND_TO_INTEGER) - ROUND_TO_INTEGER_BITS + 2048;
    const vuint half = k_plus_2048 >> 1;
    return x * (vdouble)((half - 1) << 52) * (vdouble)((k_plus_2048 - half - 1) << 52);
}

/* exp(x) for x <= 0 (NaN stays NaN), error below 1.5 ulp, gradual underflow to 0 at -745.2: exp(x) = 2^k exp(r),
 * exp(r) = 1 + r + r^2 q(r); q is the near-minimax polynomial of degree 10 (error 2^-62 of exp(r)). */
static inline vdouble exp_nonpositive(vdouble x) {
    x = at_least(EXP_LOWEST, x);
    const vdouble power = nearest_power_of_two(x);
    vdouble r = x - power * LN2_HIGH;
    r = r - power * (LN2_MIDDLE + LN2_LOW);
    vdouble r2 = r * r;
    vdouble r4 = r2 * r2;
    vdouble q01 = EXP_Q0 + r * EXP_Q1, q23 = EXP_Q2 + r * EXP_Q3;
    vdouble q45 = EXP_Q4 + r * EXP_Q5, q67 = EXP_Q6 + r * EXP_Q7;
    vdouble q89 = EXP_Q8 + r * EXP_Q9;
    vdouble high = (q45 + r2 * q67) + r4 * (q89 + r2 * EXP_Q10);
    vdouble q = (q01 + r2 * q23) + r4 * high;
    return times_power_of_two(1.0 + (r + r2 * q), power);
}

/* log(1 + e) for e in [0, 1], error below 2 ulp: 2 atanh(t / 2) with t = 2 e / (2 + e) = t + t z P(z), z = (t / 2)^2 in
 * [0, 1/9]; P is the near-minimax polynomial of degree 9 (error 2^-57 of the whole). All terms are positive. */
static inline vdouble log1p_unit(vdouble e) {
    vdouble t = e / (1.0 + 0.5 * e);
    vdouble z = 0.25 * t * t;
    vdouble z2 = z * z, z4 = z2 * z2;
    vdouble p01 = LOG_P0 + z * LOG_P1, p23 = LOG_P2 + z * LOG_P3;
    vdouble p45 = LOG_P4 + z * LOG_P5, p67 = LOG_P6 + z * LOG_P7;
    vdouble p89 = LOG_P8 + z * LOG_P9;
    vdouble p = (p01 + z2 * p23) + z4 * ((p45 + z2 * p67) + z4 * p89);
    return t + t * (z * p);
}

/* log(1 + x) for x >= 0: 1 + x = 2^k (1 + f). For x < 1, k is zero and f is x itself. */
static inline vdouble log1p_nonnegative(vdouble x) {
    const vdouble one_plus = 1.0 + x;
    const vint exponent = (vint)((vuint)one_plus >> 52) - 1023;
    const vdouble power = (vdouble)(exponent + (vint)splat(ROUND_TO_INTEGER)) - ROUND_TO_INTEGER;
    const vdouble unit = (vdouble)((vuint)one_plus - ((vuint)exponent << 52));
    const vdouble f = select(exponent == 0, x, unit - 1.0);
    return power * LN2_HIGH + (log1p_unit(f) + power * LN2_MIDDLE) + 0.0 * x; /* NaN stays NaN */
}
