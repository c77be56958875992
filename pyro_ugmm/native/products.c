/* Sums of products of rows, from the responsibilities that are above rounding. Included once for
   each precision. */

#include "common.inc"

typedef struct {
    int64_t n_components, n_rows, n_entries; /* of a row, the one before its features included */
    int64_t n_threads;
} ProductsCall;

#include "single.inc"
#include "products.inc"

#include "double.inc"
#include "products.inc"
