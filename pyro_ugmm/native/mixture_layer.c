/* The scores of sets of mixture neurons, and their gradients, in one pass over
   sets x rows x neurons x inputs, of which nothing is kept. Included once for each precision. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

/* Flags are constants where functions are put in place, or else are tested for each term. */
#define INLINE static inline __attribute__((always_inline))

#define ROWS 4 /* rows that share a neuron's parameters while these are in registers */
#define NARROW 16 /* up to so many inputs, vectors run over rows */
#define BLOCK 256 /* of rows, then */
#define LANES 16 /* of which blocks are filled up to a multiple, with rows of zeros */
#define TILE_BYTES (128 * 1024) /* of rows that stay in a core's cache for all neurons */

static ptrdiff_t tile_rows(size_t row_bytes) {
    ptrdiff_t rows = (ptrdiff_t)(TILE_BYTES / row_bytes) / ROWS * ROWS;
    return rows < ROWS ? ROWS : rows;
}

/* What one call is about. */
typedef struct {
    ptrdiff_t n_sets, n_rows, n_neurons, n_inputs;
    int is_shared; /* whether all sets have the same rows */
    int omit;      /* whether a NaN among inputs leaves its term out */
    int n_threads;
} Sizes;

static int team_size(void) {
#ifdef _OPENMP
    return omp_get_num_threads();
#else
    return 1;
#endif
}

/* Subnormal numbers are many times slower than others, and here they are as good as zero. */
static unsigned flush_subnormals(void) {
#if defined(__SSE2__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#else
    return 0;
#endif
}

static void restore_subnormals(unsigned mode) {
#if defined(__SSE2__)
    _mm_setcsr(mode);
#endif
    (void)mode;
}

#define REAL float
#define NAME(base) base##_float
#define BITS uint32_t
#define SIGNIFICAND 23
#define BIAS 127
#define ROUNDER 12582912.0f /* 1.5 * 2^23: a real to which it is added ends in its integer */
#define HUGE 1e30f
#define TOO_SMALL 1e-20f
#define LEAST (-87.0f) /* below, the exponential would be subnormal, which is slow */
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#define POLYNOMIAL(r)                                                                          \
    ((((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r +              \
        4.1665795894e-2f) * r + 1.6666665459e-1f) * r + 5.0000001201e-1f) * r * r + r + 1.0f)
#define SQRT_HALF 0x3f3504f3
#define SERIES(z) ((((2 / 9.0f * z + 2 / 7.0f) * z + 2 / 5.0f) * z + 2 / 3.0f) * z)
#include "mixture_layer.inc"
#undef REAL
#undef NAME
#undef BITS
#undef SIGNIFICAND
#undef BIAS
#undef ROUNDER
#undef LEAST
#undef HUGE
#undef TOO_SMALL
#undef LN2_HIGH
#undef LN2_LOW
#undef POLYNOMIAL
#undef SQRT_HALF
#undef SERIES

#define REAL double
#define NAME(base) base##_double
#define BITS uint64_t
#define SIGNIFICAND 52
#define BIAS 1023
#define ROUNDER 6755399441055744.0
#define HUGE 1e300
#define TOO_SMALL 1e-200
#define LEAST (-708.0)
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define POLYNOMIAL(r)                                                                          \
    (((((((((((((1.6059043836821613e-10 * r + 2.0876756987868099e-09) * r +                    \
        2.5052108385441720e-08) * r + 2.7557319223985893e-07) * r + 2.7557319223985888e-06) * r \
        + 2.4801587301587302e-05) * r + 1.9841269841269841e-04) * r + 1.3888888888888889e-03) * r \
        + 8.3333333333333332e-03) * r + 4.1666666666666664e-02) * r + 1.6666666666666666e-01) * r \
        + 0.5) * r + 1.0) * r + 1.0)
#define SQRT_HALF 0x3fe6a09e667f3bcd
#define SERIES(z)                                                                              \
    ((((((((((2 / 21.0 * z + 2 / 19.0) * z + 2 / 17.0) * z + 2 / 15.0) * z + 2 / 13.0) * z     \
        + 2 / 11.0) * z + 2 / 9.0) * z + 2 / 7.0) * z + 2 / 5.0) * z + 2 / 3.0) * z)
#include "mixture_layer.inc"
