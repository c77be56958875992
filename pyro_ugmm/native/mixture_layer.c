/* The scores of sets of mixture neurons, and their gradients, in one pass over
   sets x rows x neurons x inputs, of which nothing is kept. Included once for each precision. */

#include "common.inc"

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

#include "single.inc"
#include "elementary.inc"
#include "mixture_layer.inc"

#include "double.inc"
#include "elementary.inc"
#include "mixture_layer.inc"
