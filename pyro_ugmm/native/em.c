/* Expectation maximization of many Gaussian mixtures, each with rows, a start and an end of its
   own: all steps of one in one go. Included once for each precision.

   Steps are those of the torch path, to rounding. Where one is out of the ordinary, as when a
   component lost its rows or a covariance is singular, a problem stands still before it, for
   others to take it. */

#include "common.inc"

#define BLOCK 128 /* rows that are transposed, so that vectors run over them */
#define GROUP 4 /* vectors at once, so that a parameter is loaded once for all of them */
#define TILE 4 /* products that are summed at once */
#define CHUNK_WORK (1 << 18) /* products in a chunk, the rows that one thread sums alone, or more */
#define MOST_CHUNKS 64 /* which each have sums of their own */

/* What all problems of a call share. */
typedef struct {
    int64_t n_problems, n_components, n_features;
    int64_t structure; /* an index into the structures */
    int64_t most_steps;
    int64_t begins;   /* whether starts were not evaluated yet */
    int64_t is_whole; /* whether no steps follow the last of these */
    int64_t n_threads;
    double floor;     /* is added to variances */
    double tolerance; /* a smaller change makes the next step the last */
    double empty;     /* the share of the weight below which a component is empty */
    double largest;   /* likelihoods are in range up to here */
} EMCall;

/* What became of a problem. */
enum { RUNNING, CONVERGED, EXTRAORDINARY, NO_MEMORY };

static ptrdiff_t rounded_up(ptrdiff_t size, ptrdiff_t multiple) {
    return (size + multiple - 1) / multiple * multiple;
}

/* The next part of a piece of memory, of which so much is used. */
static char *carve(char *memory, size_t *used, size_t size) {
    char *part = memory + *used;
    *used += rounded_up(size, VECTOR_BYTES);
    return part;
}

#include "single.inc"
#include "elementary.inc"
#include "vectors.inc"
#include "em_sums.inc"
#include "em_matrices.inc"
#include "em_variances.inc"
#include "em_expectation.inc"
#include "em.inc"

#include "double.inc"
#include "elementary.inc"
#include "vectors.inc"
#include "em_sums.inc"
#include "em_matrices.inc"
#include "em_variances.inc"
#include "em_expectation.inc"
#include "em.inc"
