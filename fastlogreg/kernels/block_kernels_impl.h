/* The one source of all block primitives. isa_*.c defines VECTOR_BYTES, ISA (a string) and TABLE (the name of the
 * resulting table), includes this file and is compiled with that instruction set's flags. */
#include "block_kernels.h"
#include "vector_math.h"

#include <math.h>

#include "exact_residual.h"

#include "cross_entropy.h"

#include "labels.h"

#include "softmax.h"

#include "prefetch.h"

#include "dual_step.h"

/* Tiles of products: twenty-four sums in the thirty-two registers of AVX-512, eight elsewhere. */
#define TILE_ROWS PANEL_ALIGNMENT
#if LANES == 8
#define TILE_VECTORS 3
#else
#define TILE_VECTORS 1
#endif

/* Rows of X seldom start at a cache line, and every 64-byte load from them would touch two; 32-byte loads are faster
 * even where the registers are wider. Widened floats fill a register with half the bytes. */
#if LANES == 8
#define ROW_LANES_F64 4
#else
#define ROW_LANES_F64 LANES
#endif

typedef double row_f64 __attribute__((vector_size(ROW_LANES_F64 * sizeof(double))));

#define sum_of_row_f64 PASTE(sum_of_, ROW_LANES_F64)

static inline row_f64 load_row_f64(const double *x) {
    row_f64 v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline row_f64 load_row_f32(const float *x) {
#if ROW_LANES_F64 == 4 && defined(__AVX__)
    return (row_f64)_mm256_cvtps_pd(_mm_loadu_ps(x));
#else
    row_f64 v;
    for (int lane = 0; lane < ROW_LANES_F64; lane++)
        v[lane] = x[lane];
    return v;
#endif
}

/* w at ROW_LANES_F64 columns. A vector of them and one load of a row's entries take about half the loads that products
 * one by one would. */
#if ROW_LANES_F64 == 4
#define GATHER(w, columns) ((row_f64){(w)[(columns)[0]], (w)[(columns)[1]], (w)[(columns)[2]], (w)[(columns)[3]]})
#else
#define GATHER(w, columns) ((row_f64){(w)[(columns)[0]], (w)[(columns)[1]]})
#endif

/* The values of a row shorter than its vector, and zeros. */
static inline row_f64 load_part_f64(const double *x, ptrdiff_t count) {
#if LANES == 8 && defined(__AVX512VL__)
    return (row_f64)_mm256_maskz_loadu_pd((__mmask8)((1 << count) - 1), x);
#else
    return load_first(x, count);
#endif
}

static inline vfloat load_part_f32(const float *x, ptrdiff_t count) {
#if LANES == 8 && defined(__AVX512VL__)
    return (vfloat)_mm256_maskz_loadu_ps((__mmask8)((1 << count) - 1), x);
#elif LANES == 4 && defined(__AVX__)
    typedef int32_t lanes __attribute__((vector_size(16)));
    const lanes lane = {0, 1, 2, 3};
    return (vfloat)_mm_maskload_ps(x, (__m128i)(lane < (int32_t)count));
#else
    vfloat values = {0};
    memcpy(&values, x, (size_t)count * sizeof(float));
    return values;
#endif
}

#define REAL double
#define WIDEN(values) (values)
#define LOAD_PART load_part_f64
#define NAME(x) x##_f64
#include "product_tile.h"
#undef NAME
#include "rank_update.h"
#include "sparse_products.h"

#define ADD_TILE add_tile_f64
#define ROW_LANES ROW_LANES_F64
#define NAME(x) c_order_f64_##x
#include "dense_rows.h"
#undef NAME
#define NAME(x) f_order_f64_##x
#include "dense_columns.h"
#undef NAME
#define VALUES(X) const REAL *values = (X)->values
#define VALUE(at) ((double)values[at])
#define VALUE_ROW(at) load_row_f64(values + (at))
#define VALUE_SIZE (ptrdiff_t)sizeof(REAL)
#define INDEX int32_t
#define NAME(x) csr_f64_i32_##x
#include "csr_rows.h"
#undef NAME
#undef INDEX
#define INDEX int64_t
#define NAME(x) csr_f64_i64_##x
#include "csr_rows.h"
#undef NAME
#undef INDEX
#undef VALUES
#undef VALUE
#undef VALUE_ROW
#undef VALUE_SIZE
#undef ADD_TILE
#undef ROW_LANES
#undef WIDEN
#undef LOAD_PART
#undef REAL

#define REAL float
#define WIDEN widen
#define LOAD_PART load_part_f32
#define NAME(x) x##_f32
#include "product_tile.h"
#undef NAME

#define ADD_TILE add_tile_f32
#define ROW_LANES LANES
#define NAME(x) c_order_f32_##x
#include "dense_rows.h"
#undef NAME
#define NAME(x) f_order_f32_##x
#include "dense_columns.h"
#undef NAME
#define VALUES(X) const REAL *values = (X)->values
#define VALUE(at) ((double)values[at])
#define VALUE_ROW(at) load_row_f32(values + (at))
#define VALUE_SIZE (ptrdiff_t)sizeof(REAL)
#define INDEX int32_t
#define NAME(x) csr_f32_i32_##x
#include "csr_rows.h"
#undef NAME
#undef INDEX
#define INDEX int64_t
#define NAME(x) csr_f32_i64_##x
#include "csr_rows.h"
#undef NAME
#undef INDEX
#undef VALUES
#undef VALUE
#undef VALUE_ROW
#undef VALUE_SIZE
#undef ADD_TILE
#undef ROW_LANES
#undef WIDEN
#undef LOAD_PART
#undef REAL

#define VALUES(X) (void)(X)->values
#define VALUE(at) 1.0
#define VALUE_ROW(at) ((row_f64){0} + 1.0)
#define VALUE_SIZE 0
#define INDEX int32_t
#define NAME(x) csr_ones_i32_##x
#include "csr_rows.h"
#undef NAME
#undef INDEX
#define INDEX int64_t
#define NAME(x) csr_ones_i64_##x
#include "csr_rows.h"
#undef NAME
#undef INDEX
#undef VALUES
#undef VALUE
#undef VALUE_ROW
#undef VALUE_SIZE

#include "sgd.h"

#include "softmax_sgd.h"

const block_kernels TABLE = {
    .isa = ISA,
    .of_layout =
        {
            [C_ORDER_F64] = &c_order_f64_kernels,
            [C_ORDER_F32] = &c_order_f32_kernels,
            [F_ORDER_F64] = &f_order_f64_kernels,
            [F_ORDER_F32] = &f_order_f32_kernels,
            [CSR_F64_I32] = &csr_f64_i32_kernels,
            [CSR_F32_I32] = &csr_f32_i32_kernels,
            [CSR_F64_I64] = &csr_f64_i64_kernels,
            [CSR_F32_I64] = &csr_f32_i64_kernels,
            [CSR_ONES_I32] = &csr_ones_i32_kernels,
            [CSR_ONES_I64] = &csr_ones_i64_kernels,
        },
    .bce = bce,
    .add_rank_update = add_rank_update,
    .sweep_links = sweep_links,
    .multiply = multiply,
    .bce_line = bce_line,
    .sigmoid = sigmoid,
    .tell_apart = tell_apart,
    .softmax_loss = softmax_loss,
    .softmax = softmax,
    .softmax_product = softmax_product,
    .add_rows = add_rows,
    .sgd_dense = sgd_dense,
    .sgd_csr = sgd_csr,
    .sgd_by_batches = sgd_by_batches,
    .sgd_diagonal = sgd_diagonal,
    .sgd_softmax = sgd_softmax,
    .sgd_softmax_diagonal = sgd_softmax_diagonal,
};
