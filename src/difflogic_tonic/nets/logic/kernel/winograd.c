/* The gradient of the input of a 3x3 convolution of stride 1 by Winograd's minimal filtering F(2x2, 3x3), on a CPU:
 * Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.1.
 *
 * A tile is 2 by 2 numbers of the result. What it takes of the gradients behind, 4 by 4, and the kernel, 3 by 3, become
 * sixteen sums each; products of these, added up over the outputs, become the tile: sixteen multiplications for each
 * pair of channels in place of 36. All factors are 0, 1, 1/2 and -1, so that it rounds like any other order of sums.
 * Frames have the channels of a pixel side by side. Tiles are independent of each other: the result is the same to the
 * bit for any number of threads.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "crew.h"

#define TOGETHER 48 /* tiles at once, at most: enough for the weights that are read anew for each such piece */
#define APART 48    /* floats between the sixteen, which would meet in one set of the first-level cache otherwise */
#define OUTPUTS 16  /* whose weights are one piece of work */

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_ints __attribute__((vector_size(16)));

/* Mirrored field by field in winograd_cpu.py. */
struct winograd_plan {
    int64_t variant, threads;
    int64_t frames, channels, height, width; /* channels: a multiple of `winograd_wide` */
    int64_t outputs, rows, columns;          /* outputs: a multiple of 16 */
    int64_t padding;                         /* of the convolution, 0 to 2 */
    const float *grad_y;  /* [frames, rows, columns, outputs] */
    const float *weights; /* [outputs, channels, 3, 3] */
    float *grad_x;        /* [frames, height, width, channels] */
};

struct winograd_job;

struct winograd_variant {
    void (*lay)(struct winograd_job *, int64_t, int64_t, int64_t);
    void (*backward)(struct winograd_job *, float *, int64_t);
    int64_t tiles, wide;
};

struct winograd_job {
    const struct winograd_plan *plan;
    const struct winograd_variant *run;
    int64_t tiles, together;
    struct crew crew; /* shared: weights as [16, channels / wide, outputs, wide] */
};

static int64_t rounded_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The pixel of x where a tile begins. */
struct winograd_place {
    int64_t frame, y, x;
};

static struct winograd_place winograd_place_of(const struct winograd_plan *p, int64_t tile)
{
    int64_t down = (p->height + 1) / 2, across = (p->width + 1) / 2;
    return (struct winograd_place){tile / across / down, tile / across % down * 2, tile % across * 2};
}

#define BODY "winograd.h"
#include "each.h"

static const struct winograd_variant *winograd_variant_of(int64_t number)
{
    return PICK(number, winograd);
}

/* For the caller to compare with its own idea of the structure. */
int winograd_plan_size(void)
{
    return sizeof(struct winograd_plan);
}

/* Channels are a multiple of this. */
int winograd_wide(int64_t variant)
{
    return (int)winograd_variant_of(variant)->wide;
}

static void lay_weights(void *argument, float *scratch, int64_t item)
{
    struct winograd_job *job = argument;
    int64_t blocks = job->plan->channels / job->run->wide, first = item / blocks * OUTPUTS;
    (void)scratch;
    job->run->lay(job, item % blocks * job->run->wide, first, first + OUTPUTS);
}

static void some_tiles(void *argument, float *scratch, int64_t item)
{
    struct winograd_job *job = argument;
    job->run->backward(job, scratch, item);
}

/* grad_x. 0, or -1 where there is no memory. */
int winograd_backward(const struct winograd_plan *p)
{
    struct winograd_job job = {.plan = p, .run = winograd_variant_of(p->variant)};
    job.tiles = p->frames * ((p->height + 1) / 2) * ((p->width + 1) / 2);
    job.together = rounded_up(job.tiles, p->threads) / p->threads;
    job.together = rounded_up(job.together < TOGETHER ? job.together : TOGETHER, job.run->tiles);
    job.crew.job = &job;
    job.crew.phases = 2;
    job.crew.phase[0] = lay_weights;
    job.crew.items[0] = p->channels / job.run->wide * (p->outputs / OUTPUTS);
    job.crew.phase[1] = some_tiles;
    job.crew.items[1] = (job.tiles + job.together - 1) / job.together;
    job.crew.shared_floats = 16 * p->channels * p->outputs;
    job.crew.scratch_floats = 16 * (job.together * (p->outputs + p->channels) + 2 * APART);
    return crew_run(&job.crew, p->threads);
}
