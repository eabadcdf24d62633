/* Training of layers of convolutional logic trees on a CPU: all layers per tile of samples.
 *
 * Rows of TILE samples, as in stack.c. Images have their zero padding around them, so that a tap is a row at a fixed
 * distance. Forward may keep the images between layers and, of every pooled value, which cell it came from; backward
 * then evaluates a tree once for each output, on the leaves of that cell. Tiles belong to groups whose number depends
 * on the batch only, and groups are added in order: the result is the same to the bit for any number of threads.
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
#define SPAN 16 /* outputs of a tree at a time */
#define CELLS 4
#define MAX_LEAVES 16
#define BYTES_AT_ONCE 64
#define MAX_GROUPS 16
#define CHUNK 512 /* neurons per piece of work outside of the tiles */

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_ints __attribute__((vector_size(16)));
typedef float loose_four __attribute__((vector_size(16), aligned(4), may_alias));

/* One layer. Mirrored in conv_cpu.py, as is `struct conv_plan`. Places and taps count floats. */
struct trees {
    int64_t channels, leaves, cells; /* trees, leaves of each, and 4 cells where pooled, else 1 */
    int64_t outputs;                 /* of each tree */
    int64_t in_floats;               /* a tile's padded input */
    int64_t out_rows, out_columns, out_padding; /* of the output, which is padded for the next layer */
    int64_t out_plane;               /* from one channel of the padded output to the next */
    const int32_t *taps;             /* [channels, leaves] */
    const int32_t *places;           /* [outputs]: of cell 0 in a padded input channel */
    const int32_t *out_places;       /* [outputs]: in a channel of the output */
    int32_t cell_places[CELLS];
};

struct conv_plan {
    int64_t variant, threads, batch, layers, input_bytes;
    int64_t channels, rows, columns, padding; /* of the input */
    int64_t features;                         /* of the output */
    const struct trees *trees;                /* [layers] */
    const float *coefficients;                /* [all neurons, 4] */
    const void *input;                        /* [batch, channels, rows, columns]: float, or bytes */
    float *kept;                              /* [tiles, padded outputs of all layers but the last], or 0 in forward */
    uint8_t *winners;                         /* [tiles, pooled outputs of all layers, TILE], or 0 in forward */
    float *output;                            /* forward: [batch, features] */
    const float *grad_output;                 /* backward: [batch, features] */
    float *grad_coefficients;                 /* backward: [all neurons, 4] */
    float *grad_input;                        /* backward: float, like input, or 0 */
};

struct tree_variant {
    void (*forward)(const struct trees *, const float *, const float *, float *, uint8_t *, float *);
    void (*backward)(const struct trees *, const float *, const float *, const float *, const uint8_t *, float *,
                     float *, float *);
    void (*rows_of_bytes)(const uint8_t *, int64_t, int, int, float *);
};

#define BODY "tree.h"
#include "each.h"

static const struct tree_variant *tree_variant_of(int64_t number)
{
    return PICK(number, tree_variant);
}

int conv_plan_size(void)
{
    return sizeof(struct conv_plan);
}

int conv_trees_size(void)
{
    return sizeof(struct trees);
}

struct conv_job {
    const struct conv_plan *plan;
    const struct tree_variant *run;
    struct crew crew;
    int64_t neurons, kept_floats, winner_bytes, widest, tiles, groups, tiles_per_group;
};

static int samples_of(const struct conv_plan *p, int64_t tile)
{
    int64_t left = p->batch - tile * TILE;
    return left < TILE ? (int)left : TILE;
}

/* Floats of the (padded) output of a layer. */
static int64_t out_floats(const struct trees *t)
{
    return t->channels * t->out_plane;
}

/* Zeros around the outputs of a layer. */
static void clear_edges(const struct trees *t, float *out)
{
    int64_t wide = t->out_columns + 2 * t->out_padding, band = t->out_padding * wide, side = t->out_padding;
    for (int64_t i = 0; side && i < t->channels; i++, out += t->out_plane) {
        memset(out, 0, (size_t)(band * TILE) * sizeof *out);
        memset(out + t->out_plane - band * TILE, 0, (size_t)(band * TILE) * sizeof *out);
        for (int64_t y = 0; y < t->out_rows; y++) {
            float *row = out + (band + y * wide) * TILE;
            memset(row, 0, (size_t)(side * TILE) * sizeof *out);
            memset(row + (side + t->out_columns) * TILE, 0, (size_t)(side * TILE) * sizeof *out);
        }
    }
}

/* The input of a tile in rows, with its padding. */
static void load_images(const struct conv_job *job, int64_t tile, float *in)
{
    const struct conv_plan *p = job->plan;
    int samples = samples_of(p, tile);
    int64_t pixels = p->channels * p->rows * p->columns, wide = p->columns + 2 * p->padding;
    const float *floats = (const float *)p->input + tile * TILE * pixels;
    const uint8_t *bytes = (const uint8_t *)p->input + tile * TILE * pixels;
    if (samples < TILE || p->padding)
        memset(in, 0, (size_t)p->trees[0].in_floats * sizeof *in);
    for (int64_t c = 0, d = 0; c < p->channels; c++)
        for (int64_t y = 0; y < p->rows; y++) {
            int64_t row = (c * (p->rows + 2 * p->padding) + y + p->padding) * wide + p->padding;
            float *out = in + row * TILE;
            if (p->input_bytes)
                for (int64_t x = 0; x < p->columns; x += BYTES_AT_ONCE) {
                    int count = p->columns - x < BYTES_AT_ONCE ? (int)(p->columns - x) : BYTES_AT_ONCE;
                    job->run->rows_of_bytes(bytes + d, pixels, samples, count, out + x * TILE);
                    d += count;
                }
            else
                for (int64_t x = 0; x < p->columns; x++, d++, out += TILE)
                    for (int j = 0; j < samples; j++)
                        out[j] = floats[j * pixels + d];
        }
}

static void store_grad_images(const struct conv_plan *p, int64_t tile, const float *g)
{
    int samples = samples_of(p, tile);
    int64_t pixels = p->channels * p->rows * p->columns, wide = p->columns + 2 * p->padding;
    float *floats = p->grad_input + tile * TILE * pixels;
    for (int64_t c = 0, d = 0; c < p->channels; c++)
        for (int64_t y = 0; y < p->rows; y++) {
            const float *in = g + ((c * (p->rows + 2 * p->padding) + y + p->padding) * wide + p->padding) * TILE;
            for (int64_t x = 0; x < p->columns; x++, d++, in += TILE)
                for (int j = 0; j < samples; j++)
                    floats[j * pixels + d] = in[j];
        }
}

/* Scratch: slots, input, the other images where they are not kept, last output. */
static void forward_tile(void *argument, float *scratch, int64_t tile)
{
    struct conv_job *job = argument;
    const struct conv_plan *p = job->plan;
    float *slots = scratch, *in = slots + MAX_LEAVES * SPAN * CELLS * TILE, *out = in + p->trees[0].in_floats;
    float *last = p->kept ? out : out + job->kept_floats;
    uint8_t *winners = p->winners ? p->winners + tile * job->winner_bytes : 0;
    const float *c = p->coefficients;
    if (p->kept)
        out = p->kept + tile * job->kept_floats;
    load_images(job, tile, in);
    for (int64_t l = 0; l < p->layers; l++) {
        const struct trees *t = &p->trees[l];
        if (l + 1 == p->layers)
            out = last;
        clear_edges(t, out);
        job->run->forward(t, in, c, out, winners, slots);
        c += 4 * t->channels * (t->leaves - 1);
        if (winners && t->cells == CELLS)
            winners += t->channels * t->outputs * TILE;
        in = out;
        out += out_floats(t);
    }
    int samples = samples_of(p, tile);
    float *result = p->output + tile * TILE * p->features;
    for (int64_t f = 0; f < p->features; f += TILE) /* in squares: rows may all lie in one place of the cache */
        for (int j = 0; j < samples; j++)
            for (int64_t i = f; i < p->features && i < f + TILE; i++)
                result[j * p->features + i] = last[i * TILE + j];
}

/* Scratch: slots, input, and gradients of the output and of the input of a layer. */
static void backward_tile(struct conv_job *job, float *scratch, int64_t tile, float *gc)
{
    const struct conv_plan *p = job->plan;
    float *slots = scratch, *images = slots + 2 * MAX_LEAVES * SPAN * TILE;
    float *gout = images + p->trees[0].in_floats, *gin = gout + job->widest;
    int samples = samples_of(p, tile);
    const float *g = p->grad_output + tile * TILE * p->features;
    load_images(job, tile, images);
    memset(gout, 0, (size_t)p->features * TILE * sizeof *gout);
    for (int64_t f = 0; f < p->features; f += TILE)
        for (int j = 0; j < samples; j++)
            for (int64_t i = f; i < p->features && i < f + TILE; i++)
                gout[i * TILE + j] = g[j * p->features + i];
    int64_t done = job->neurons;
    const uint8_t *winners = p->winners + (tile + 1) * job->winner_bytes;
    const float *in = p->kept + (tile + 1) * job->kept_floats;
    for (int64_t l = p->layers - 1; l >= 0; l--) {
        const struct trees *t = &p->trees[l];
        done -= t->channels * (t->leaves - 1);
        winners -= t->cells == CELLS ? t->channels * t->outputs * TILE : 0;
        in = l ? in - t->in_floats : images;
        float *down = l || p->grad_input ? gin : 0;
        if (down)
            memset(down, 0, (size_t)t->in_floats * sizeof *down);
        job->run->backward(t, in, p->coefficients + 4 * done, gout, winners, down, gc + 4 * done, slots);
        gin = gout;
        gout = down;
    }
    if (p->grad_input)
        store_grad_images(p, tile, gout);
}

static void backward_group(void *argument, float *scratch, int64_t group)
{
    struct conv_job *job = argument;
    int64_t first = group * job->tiles_per_group, end = first + job->tiles_per_group;
    float *gc = job->crew.shared + group * job->neurons * 4;
    memset(gc, 0, (size_t)job->neurons * 4 * sizeof *gc);
    for (int64_t tile = first; tile < end && tile < job->tiles; tile++)
        backward_tile(job, scratch, tile, gc);
}

static void sum_gradients(void *argument, float *scratch, int64_t item)
{
    struct conv_job *job = argument;
    int64_t first = item * CHUNK * 4, end = (item + 1) * CHUNK < job->neurons ? first + CHUNK * 4 : job->neurons * 4;
    float *total = job->plan->grad_coefficients;
    (void)scratch;
    memcpy(total + first, job->crew.shared + first, (size_t)(end - first) * sizeof *total);
    for (int64_t group = 1; group < job->groups; group++) {
        const float *one = job->crew.shared + group * job->neurons * 4;
        for (int64_t i = first; i < end; i++)
            total[i] += one[i];
    }
}

static struct conv_job new_conv_job(const struct conv_plan *p)
{
    struct conv_job job = {.plan = p, .run = tree_variant_of(p->variant), .widest = p->features * TILE};
    for (int64_t l = 0; l < p->layers; l++) {
        const struct trees *t = &p->trees[l];
        job.neurons += t->channels * (t->leaves - 1);
        job.winner_bytes += t->cells == CELLS ? t->channels * t->outputs * TILE : 0;
        job.kept_floats += l + 1 < p->layers ? out_floats(t) : 0;
        job.widest = t->in_floats > job.widest && (l || p->grad_input) ? t->in_floats : job.widest;
    }
    job.tiles = (p->batch + TILE - 1) / TILE;
    job.tiles_per_group = (job.tiles + MAX_GROUPS - 1) / MAX_GROUPS;
    job.groups = job.tiles ? (job.tiles + job.tiles_per_group - 1) / job.tiles_per_group : 0;
    return job;
}

/* Outputs of the batch. 0, or -1 where there is no memory. */
int conv_forward(const struct conv_plan *p)
{
    struct conv_job job = new_conv_job(p);
    job.crew.job = &job;
    job.crew.phases = 1;
    job.crew.phase[0] = forward_tile;
    job.crew.items[0] = job.tiles;
    job.crew.scratch_floats = MAX_LEAVES * SPAN * CELLS * TILE + p->trees[0].in_floats +
                              (p->kept ? 0 : job.kept_floats) + p->features * TILE;
    return crew_run(&job.crew, p->threads);
}

/* Gradients of a batch of at least one sample; `kept` and `winners` are those of the forward call. */
int conv_backward(const struct conv_plan *p)
{
    struct conv_job job = new_conv_job(p);
    job.crew.job = &job;
    job.crew.phases = 2;
    job.crew.phase[0] = backward_group;
    job.crew.items[0] = job.groups;
    job.crew.phase[1] = sum_gradients;
    job.crew.items[1] = (job.neurons + CHUNK - 1) / CHUNK;
    job.crew.shared_floats = job.groups * job.neurons * 4;
    job.crew.scratch_floats = 2 * MAX_LEAVES * SPAN * TILE + p->trees[0].in_floats + 2 * job.widest;
    return crew_run(&job.crew, p->threads);
}
