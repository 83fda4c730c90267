/* The residual of a soft target near its optimum, where (1 - p) sigma(u) and p sigma(-u) nearly cancel: the difference
 * of the two in double-double arithmetic. Its error is some 2^-100 of the larger term, so that it keeps 4 ulp until
 * 14 digits have cancelled. Labels never need it.
 *
 * Sources: two_sum and two_product by Knuth and Dekker; the rest as in Hida, Li and Bailey's double-double. Products
 * are split with a mask, so the exactness depends neither on a fused multiply-add nor on its absence. */

typedef struct {
    vdouble high, low;
} vdouble_pair;

static inline vdouble_pair two_sum(vdouble a, vdouble b) {
    const vdouble sum = a + b, b_part = sum - a;
    return (vdouble_pair){sum, (a - (sum - b_part)) + (b - b_part)};
}

static inline vdouble_pair quick_two_sum(vdouble large, vdouble small) {
    const vdouble sum = large + small;
    return (vdouble_pair){sum, small - (sum - large)};
}

static inline vdouble upper_half(vdouble x) { return (vdouble)((vint)x & ~INT64_C(0x7ffffff)); }

#if defined(__x86_64__)
#define KEEP_ROUNDED(x) __asm__("" : "+x"(x))
#else
#define KEEP_ROUNDED(x) __asm__("" : "+m"(x))
#endif

static inline vdouble_pair two_product(vdouble a, vdouble b) {
    vdouble product = a * b;
    KEEP_ROUNDED(product); /* no sum further on may be fused with the multiplication */
    const vdouble a_high = upper_half(a), b_high = upper_half(b);
    const vdouble a_low = a - a_high, b_low = b - b_high;
    return (vdouble_pair){product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low};
}

static inline vdouble_pair pair_product(vdouble_pair a, vdouble_pair b) {
    vdouble_pair product = two_product(a.high, b.high);
    return quick_two_sum(product.high, product.low + (a.high * b.low + a.low * b.high));
}

static inline vdouble_pair pair_plus(vdouble_pair a, double high, double low) {
    vdouble_pair sum = two_sum(a.high, splat(high));
    return quick_two_sum(sum.high, sum.low + (a.low + low));
}

/* exp(x) = 2^power (1 + m) for x <= 0, with m = expm1(r), |r| <= ln 2 / 2, to some 2^-95 of m: Taylor's polynomial at
 * r / 64 (from r^6 on the terms are so small that plain doubles serve), then six times (1 + m)^2 = 1 + (2 m + m^2). */
static vdouble_pair expm1_reduced_pair(vdouble x, vdouble power) {
    static const double inverse_factorial[4][2] = {{0x1.5555555555555p-5, 0x1.5555555555555p-59},
                                                   {0x1.5555555555555p-3, 0x1.5555555555555p-57},
                                                   {0.5, 0.0},
                                                   {1.0, 0.0}};
    const vdouble first = x - power * LN2_HIGH; /* exact, as power times each of the two 41-bit parts is */
    vdouble_pair r = two_sum(first, -power * LN2_MIDDLE);
    r = quick_two_sum(r.high, r.low - power * LN2_LOW);
    r.high *= 0x1p-6;
    r.low *= 0x1p-6;
    const vdouble rest =
        0x1.6c16c16c16c17p-10 +
        r.high * (0x1.a01a01a01a01ap-13 +
                  r.high * (0x1.a01a01a01a01ap-16 + r.high * (0x1.71de3a556c734p-19 + r.high * 0x1.27e4fb7789f5cp-22)));
    vdouble_pair m = two_product(rest, r.high);
    m = pair_plus(m, 0x1.1111111111111p-7, 0x1.1111111111111p-63); /* 1 / 5! */
    for (int i = 0; i < 4; i++)
        m = pair_plus(pair_product(m, r), inverse_factorial[i][0], inverse_factorial[i][1]);
    m = pair_product(m, r);
    for (int i = 0; i < 6; i++) {
        const vdouble_pair square = pair_product(m, m);
        const vdouble_pair sum = two_sum(2.0 * m.high, square.high);
        m = quick_two_sum(sum.high, sum.low + (2.0 * m.low + square.low));
    }
    return m;
}

/* (1 - p) sigma(u) - p sigma(-u) = s d with s = sigma(|u|), e = exp(-|u|) and d = 1 - p - p e for u >= 0,
 * d = (1 - p) e - p below. With e = 2^k (1 + m), and a and b the terms of d without and with e, |d| is the difference
 * of a - 2^k b, exact in a pair, and 2^k b m; for small u (k = 0) m keeps the digits that 1 + m would lose. */
static inline vdouble exact_residual(vdouble u, vdouble p) {
    const vint positive = u >= 0.0;
    const vdouble x = select(absolute(u) > -EXP_LOWEST, splat(EXP_LOWEST), -absolute(u));
    const vdouble power = nearest_power_of_two(x);
    const vdouble_pair m = expm1_reduced_pair(x, power);
    const vdouble_pair q = quick_two_sum(splat(1.0), -p);
    const vdouble_pair a = {select(positive, q.high, p), select(positive, q.low, splat(0.0))};
    const vdouble_pair b = {times_power_of_two(select(positive, p, q.high), power),
                            times_power_of_two(select(positive, splat(0.0), q.low), power)};
    const vdouble_pair leading = two_sum(a.high, -b.high);
    const vdouble_pair product = pair_product(b, m);
    const vdouble_pair total = two_sum(leading.high, -product.high);
    const vdouble difference = total.high + (total.low + ((leading.low - product.low) + (a.low - b.low)));
    const vdouble s = 1.0 / (1.0 + exp_nonpositive(x));
    return s * select(positive, difference, -difference);
}
