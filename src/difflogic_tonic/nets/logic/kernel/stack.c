/* Training of a logic network on a CPU: the whole network per tile of samples, so that activations stay in the cache.
 *
 * Backward computes the tile's activations again instead of keeping those of the batch. Tiles belong to groups whose
 * number depends on the batch and the storage only; each group adds up its own gradients in tile order, and the groups
 * are added in order. So the result is the same to the bit for any number of threads.
 *
 * With `half` the values and gradients of a tile's neurons are kept in half precision; sums over samples or classes are
 * those of floats, as is all arithmetic. A value that is too large is infinity, and shows in what is returned.
 */

#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "crew.h"
#include "variants.h"
#include "plan.h"

/* For the caller to compare with its own idea of the structure. */
int logic_plan_size(void)
{
    return sizeof(struct plan);
}

int logic_ahead(void)
{
    return AHEAD;
}

enum { DONE = 0, NO_MEMORY = -1, NOT_FINITE = 1 };

struct job {
    const struct plan *plan;
    const struct variant *run;
    int64_t samples, neurons, inner, widest, tiles, groups, tiles_per_group;
    int masked;          /* the first layer may read its input as masks */
    const float *scales; /* [layers + 1]: how many times too large gradients are in the tiles, that of the input first */
    atomic_int broken;
    struct crew crew;
};

/* Remembers that a result is infinite or not a number. */
static void check_finite(struct job *job, const float *x, int64_t count)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] - x[i];
    if (sum != 0)
        atomic_store(&job->broken, 1);
}

static int tile_samples(const struct job *job, int64_t tile)
{
    int64_t left = job->plan->batch - tile * job->samples;
    return (int)(left < job->samples ? left : job->samples);
}

/* The input of a tile, as masks where that is enough (returns 1), else as rows (returns 0). */
static int load_tile(const struct job *job, int64_t tile, float *rows, void *masks)
{
    const struct plan *p = job->plan;
    int samples = tile_samples(job, tile), binary = 1;
    int64_t first = tile * job->samples, d = p->in_features;
    const float *floats = (const float *)p->input + first * d;
    if (p->input_kind == INPUT_FLOAT)
        binary = job->run->masks_of_floats(floats, d, samples, masks);
    else if (p->input_kind == INPUT_BYTES)
        job->run->masks_of_bytes((const uint8_t *)p->input + first * d, d, samples, masks);
    else
        job->run->masks_of_bits((const uint8_t *)p->input + first * ((d + 7) / 8), d, samples, masks);
    if (!binary)
        job->run->rows_of_floats(floats, d, samples, rows);
    else if (job->masked)
        return 1;
    else
        job->run->rows_of_masks(masks, d, rows);
    return 0;
}

/* All rows of the tile but those of the last layer; returns where the rows of the layer before the last start. */
static const float *inner_forward(const struct job *job, float *rows, const void *masks, int masked)
{
    const struct plan *p = job->plan;
    const float *c = p->coefficients;
    float *in = rows, *out = rows + p->in_features * ROW;
    for (int64_t l = 0; l + 1 < p->layers; l++) {
        int64_t n = p->widths[l];
        const int32_t *a = p->wiring[l], *b = a + n + AHEAD;
        if (l == 0 && masked)
            job->run->first_forward(masks, out, n, a, b, c);
        else
            job->run->layer_forward(in, out, n, a, b, c, (l ? p->widths[l - 1] : p->in_features) > NEAR_ROWS);
        in = out;
        out += n * ROW;
        c += 4 * n;
    }
    return in;
}

static void forward_tile(void *argument, float *scratch, int64_t tile)
{
    struct job *job = argument;
    const struct plan *p = job->plan;
    float *rows = scratch, *sums = scratch + job->inner * ROW;
    void *masks = sums + p->classes * job->samples;
    int64_t last = p->layers - 1, n = p->widths[last];
    const float *in = inner_forward(job, rows, masks, load_tile(job, tile, rows, masks));
    job->run->group_sums(in, sums, n, p->wiring[last], p->wiring[last] + n + AHEAD,
                         p->coefficients + 4 * (job->neurons - n), p->classes);
    int samples = tile_samples(job, tile);
    float *out = p->output + tile * job->samples * p->classes;
    for (int j = 0; j < samples; j++)
        for (int64_t k = 0; k < p->classes; k++)
            out[j * p->classes + k] = sums[k * job->samples + j] / p->tau;
    check_finite(job, out, samples * p->classes);
}

static void backward_tile(struct job *job, float *scratch, int64_t tile, float *gc, int fresh)
{
    const struct plan *p = job->plan;
    float *rows = scratch, *z = scratch + job->inner * ROW;
    float *gin = z + p->classes * job->samples, *gout = gin + job->widest * ROW;
    void *masks = gout + job->widest * ROW;
    int samples = tile_samples(job, tile), masked = load_tile(job, tile, rows, masks);
    const float *in = inner_forward(job, rows, masks, masked);
    const float *g = p->grad_output + tile * job->samples * p->classes;
    for (int64_t k = 0; k < p->classes; k++)
        for (int j = 0; j < job->samples; j++)
            z[k * job->samples + j] = j < samples ? g[j * p->classes + k] / p->tau * job->scales[p->layers] : 0;
    int64_t done = job->neurons;
    for (int64_t l = p->layers - 1; l >= 0; l--) {
        int64_t n = p->widths[l], before = l ? p->widths[l - 1] : p->in_features;
        const int32_t *a = p->wiring[l] + 2 * (n + AHEAD), *b = a + n + AHEAD;
        done -= n;
        float *down = l || p->grad_input ? gin : 0, factor = job->scales[l] / job->scales[l + 1];
        if (down && p->sparse[l])
            memset(down, 0, (size_t)before * ROW * sizeof(float));
        if (l == p->layers - 1)
            job->run->backward_groups(in, z, down, n, a, b, p->coefficients + 4 * done, factor, gc + 4 * done, fresh,
                                      p->classes);
        else if (l == 0 && masked)
            job->run->first_backward(masks, gout, n, a, b, gc + 4 * done, fresh);
        else
            job->run->backward_rows(in, gout, down, n, a, b, p->coefficients + 4 * done, factor, gc + 4 * done, fresh);
        gin = gout;
        gout = down;
        if (l)
            in -= (l > 1 ? p->widths[l - 2] : p->in_features) * ROW;
    }
    if (p->grad_input) {
        float *gx = p->grad_input + tile * job->samples * p->in_features;
        job->run->floats_of_rows(gout, p->in_features, samples, 1 / job->scales[0], gx);
        check_finite(job, gx, samples * p->in_features);
    }
}

static void backward_group(void *argument, float *scratch, int64_t group)
{
    struct job *job = argument;
    int64_t first = group * job->tiles_per_group, end = first + job->tiles_per_group;
    float *gc = job->crew.shared + group * job->neurons * 4;
    for (int64_t tile = first; tile < end && tile < job->tiles; tile++)
        backward_tile(job, scratch, tile, gc, tile == first);
}

/* Which neurons piece `item` is: layer, first neuron in it and in the whole network, how many. */
static void locate(const struct plan *p, int64_t item, int64_t *layer, int64_t *start, int64_t *global, int64_t *count)
{
    int64_t l = 0, before = 0;
    for (; item >= (p->widths[l] + CHUNK - 1) / CHUNK; l++) {
        item -= (p->widths[l] + CHUNK - 1) / CHUNK;
        before += p->widths[l];
    }
    *layer = l;
    *start = item * CHUNK;
    *global = before + *start;
    *count = p->widths[l] - *start < CHUNK ? p->widths[l] - *start : CHUNK;
}

static void mix_chunk(void *argument, float *scratch, int64_t item)
{
    const struct job *job = argument;
    const struct plan *p = job->plan;
    int64_t layer, start, global, count;
    (void)scratch;
    locate(p, item, &layer, &start, &global, &count);
    job->run->mix(p->logits[layer] + start * 16, p->inverse_temperature, count, p->coefficients + global * 4,
                  p->norms + global * 2, (int)p->straight);
}

static void sum_chunk(void *argument, float *scratch, int64_t item)
{
    struct job *job = argument;
    const struct plan *p = job->plan;
    int64_t layer, start, global, count;
    (void)scratch;
    locate(p, item, &layer, &start, &global, &count);
    float *total = p->logits ? job->crew.shared + global * 4 : p->grad_coefficients + global * 4;
    if (!p->logits)
        memcpy(total, job->crew.shared + global * 4, (size_t)count * 4 * sizeof(float));
    for (int64_t group = 1; group < job->groups; group++) {
        const float *one = job->crew.shared + (group * job->neurons + global) * 4;
        for (int64_t i = 0; i < count * 4; i++)
            total[i] += one[i];
    }
    if (p->half) {
        for (int64_t i = 0; i < count * 4; i++)
            total[i] /= job->scales[layer + 1];
        check_finite(job, total, count * 4);
    }
    if (p->logits)
        job->run->mix_backward(p->logits[layer] + start * 16, p->inverse_temperature, count,
                               p->coefficients + global * 4, p->norms + global * 2, total,
                               p->grad_logits[layer] + start * 16, (int)p->straight);
}

static struct job new_job(const struct plan *p)
{
    struct job job = {.plan = p, .run = variant_of(p->variant, p->half != 0)};
    job.samples = job.run->samples;
    job.inner = job.widest = p->in_features;
    for (int64_t l = 0; l < p->layers; l++) {
        job.neurons += p->widths[l];
        if (l + 1 < p->layers) {
            job.inner += p->widths[l];
            job.widest = p->widths[l] > job.widest ? p->widths[l] : job.widest;
        }
    }
    job.masked = job.run->first_forward && p->layers > 1 && !p->grad_input;
    job.tiles = (p->batch + job.samples - 1) / job.samples;
    job.tiles_per_group = (job.tiles + MAX_GROUPS - 1) / MAX_GROUPS;
    job.groups = job.tiles ? (job.tiles + job.tiles_per_group - 1) / job.tiles_per_group : 0;
    return job;
}

static int64_t chunks(const struct plan *p)
{
    int64_t count = 0;
    for (int64_t l = 0; l < p->layers; l++)
        count += (p->widths[l] + CHUNK - 1) / CHUNK;
    return count;
}

/* Space for a mask of each input, in floats: no more than a whole one each. */
static int64_t scratch_floats(const struct job *job)
{
    const struct plan *p = job->plan;
    return job->inner * ROW + p->classes * job->samples + p->in_features;
}

static int run(struct job *job)
{
    if (crew_run(&job->crew, job->plan->threads))
        return NO_MEMORY;
    return job->plan->half && atomic_load(&job->broken) ? NOT_FINITE : DONE;
}

/* Logits of the batch. NOT_FINITE: with `half` some are not, and floats might do. */
int logic_forward(const struct plan *p)
{
    struct job job = new_job(p);
    job.crew.job = &job;
    job.crew.scratch_floats = scratch_floats(&job);
    if (p->logits) {
        job.crew.phase[job.crew.phases] = mix_chunk;
        job.crew.items[job.crew.phases++] = chunks(p);
    }
    job.crew.phase[job.crew.phases] = forward_tile;
    job.crew.items[job.crew.phases++] = job.tiles;
    return run(&job);
}

/* Gradients of a batch of at least one sample; `coefficients` and `norms` are those of the forward call. */
int logic_backward(const struct plan *p)
{
    struct job job = new_job(p);
    job.crew.job = &job;
    job.crew.shared_floats = job.groups * job.neurons * 4;
    job.crew.scratch_floats = scratch_floats(&job) + 2 * job.widest * ROW;
    float scales[p->layers + 1];
    set_scales(p, scales);
    job.scales = scales;
    job.crew.phase[0] = backward_group;
    job.crew.items[0] = job.groups;
    job.crew.phase[1] = sum_chunk;
    job.crew.items[1] = chunks(p);
    job.crew.phases = 2;
    return run(&job);
}
