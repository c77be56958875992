/* Joint log densities of rows and components, but for the pairs that bounds on their distances
   show to be below rounding; and the bounds themselves. Included once for each precision. */

#include "common.inc"

#define GROUP 4 /* vectors of rows at once, so that a parameter is loaded once for all of them */
#define WORD ((ptrdiff_t)sizeof(uint64_t))
/* What a bound gives for the rounding of single precision, in which it is kept. */
#define ABOVE (1 + 1e-6f)
#define BELOW (1 - 1e-6f)

typedef struct {
    int64_t n_restarts, n_components, n_features;
    int64_t n_rows; /* of the block */
    int64_t n_all;  /* of which bounds are kept */
    int64_t n_threads;
} BoundsCall;

/* What is kept, from the block's first row on: of each pair the least distance, (S K, n_all); of
   each row the component of the largest joint density, and the most distance from it, (S, n_all). */
typedef struct {
    float *least, *most;
    int32_t *best;
} Bounds;

/* How the components moved, (S K,) each: a distance is now at least nearer * (before - shift),
   and at most farther * (before + shift). */
typedef struct {
    const float *nearer, *farther, *shift;
} Moves;

#include "single.inc"
#include "vectors.inc"
#include "bounds.inc"

#include "double.inc"
#include "vectors.inc"
#include "bounds.inc"
