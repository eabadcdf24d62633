/* Training of a layer whose inputs are means of candidates, on a CPU.
 *
 * Values are [features, batch], and a tile is TILE columns. Backward computes the means again instead of keeping them.
 * Tiles belong to groups whose number depends on the batch only; each adds up the gradients of its own tiles in order,
 * and groups are added in order: the result is the same to the bit for any number of threads.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "crew.h"

#define TILE 16 /* samples, one cache line of floats */
#define AHEAD 2 /* neurons between the fetch of their candidates and the use */
#define NEAR_ROWS 6000 /* inputs whose rows a cache of the second level holds beside others */
#define MAX_GROUPS 16
#define CHUNK 4096 /* sums per piece of work outside of the tiles */

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_ints __attribute__((vector_size(16)));
typedef float loose_four __attribute__((vector_size(16), aligned(4), may_alias));

/* Mirrored field by field in learnable_cpu.py. Values are aligned to 64 bytes, `batch` is a multiple of TILE. */
struct choose_plan {
    int64_t variant, threads, batch, in_features, neurons, candidates;
    const float *x;             /* [in_features, batch] */
    const int32_t *index;       /* [2, neurons, candidates]: rows of x */
    const float *weights;       /* [2, neurons, candidates] */
    const float *coefficients;  /* [neurons, 4] */
    float *y;                   /* forward: [neurons, batch] */
    const float *grad_y;        /* backward: [neurons, batch] */
    float *grad_x;              /* backward: [in_features, batch], or 0 */
    float *grad_weights;        /* backward: [2, neurons, candidates] */
    float *grad_coefficients;   /* backward: [neurons, 4] */
};

struct choose_variant {
    void (*forward)(const struct choose_plan *, int64_t column, float *scratch);
    void (*backward)(const struct choose_plan *, int64_t column, float *scratch, float *gc, float *gw);
};

#define BODY "choose.h"
#include "each.h"

static const struct choose_variant *choose_variant_of(int64_t number)
{
    return PICK(number, choose);
}

/* For the caller to compare with its own idea of the structure. */
int choose_plan_size(void)
{
    return sizeof(struct choose_plan);
}

struct choose_job {
    const struct choose_plan *plan;
    const struct choose_variant *run;
    int64_t tiles, groups, tiles_per_group, sums; /* sums: gradients of coefficients and of weights */
    struct crew crew;
};

static struct choose_job choose_job_of(const struct choose_plan *p)
{
    struct choose_job job = {.plan = p, .run = choose_variant_of(p->variant), .tiles = p->batch / TILE};
    job.tiles_per_group = (job.tiles + MAX_GROUPS - 1) / MAX_GROUPS;
    job.groups = job.tiles ? (job.tiles + job.tiles_per_group - 1) / job.tiles_per_group : 0;
    job.sums = p->neurons * (4 + 2 * p->candidates);
    return job;
}

static void forward_item(void *argument, float *scratch, int64_t tile)
{
    struct choose_job *job = argument;
    job->run->forward(job->plan, tile * TILE, scratch);
}

static void backward_item(void *argument, float *scratch, int64_t group)
{
    struct choose_job *job = argument;
    int64_t first = group * job->tiles_per_group, end = first + job->tiles_per_group;
    float *gc = job->crew.shared + group * job->sums;
    memset(gc, 0, (size_t)job->sums * sizeof(float));
    for (int64_t tile = first; tile < end && tile < job->tiles; tile++)
        job->run->backward(job->plan, tile * TILE, scratch, gc, gc + 4 * job->plan->neurons);
}

static void sum_item(void *argument, float *scratch, int64_t item)
{
    struct choose_job *job = argument;
    int64_t coefficients = 4 * job->plan->neurons, end = (item + 1) * CHUNK;
    (void)scratch;
    for (int64_t i = item * CHUNK; i < end && i < job->sums; i++) {
        float total = 0;
        for (int64_t group = 0; group < job->groups; group++)
            total += job->crew.shared[group * job->sums + i];
        if (i < coefficients)
            job->plan->grad_coefficients[i] = total;
        else
            job->plan->grad_weights[i - coefficients] = total;
    }
}

/* Values of the layer. 0, or -1 where there is no memory. */
int choose_forward(const struct choose_plan *p)
{
    struct choose_job job = choose_job_of(p);
    job.crew.job = &job;
    job.crew.phases = 1;
    job.crew.phase[0] = forward_item;
    job.crew.items[0] = job.tiles;
    job.crew.scratch_floats = p->in_features * TILE;
    return crew_run(&job.crew, p->threads);
}

/* Gradients of a batch of at least one tile. */
int choose_backward(const struct choose_plan *p)
{
    struct choose_job job = choose_job_of(p);
    job.crew.job = &job;
    job.crew.phases = 2;
    job.crew.phase[0] = backward_item;
    job.crew.items[0] = job.groups;
    job.crew.phase[1] = sum_item;
    job.crew.items[1] = (job.sums + CHUNK - 1) / CHUNK;
    job.crew.shared_floats = job.groups * job.sums;
    job.crew.scratch_floats = 2 * p->in_features * TILE;
    return crew_run(&job.crew, p->threads);
}
