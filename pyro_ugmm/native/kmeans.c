/* k-means of many sets of rows, each with centers of its own. Included once for each precision. */

#include "common.inc"

/* What all problems of a call share. */
typedef struct {
    int64_t n_problems, n_clusters, n_features;
    int64_t n_trials; /* how many rows may become a center, of which the best one does */
    int64_t most_iterations;
    int64_t n_threads;
} KMeansCall;

#include "single.inc"
#include "kmeans.inc"

#include "double.inc"
#include "kmeans.inc"
