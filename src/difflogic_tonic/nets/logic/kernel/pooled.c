/* What a 2x2 max pooling behind a convolution makes of its gradients, on a CPU.
 *
 * Of four results of the convolution the pooling passes on the largest, so three quarters of their gradients are 0. Here
 * only the others are seen: for each, the piece of the input that the kernel covers is added to the gradients of the
 * weights, and the weights to the gradients of that piece. The stride is 1. A frame in scratch memory has its padding
 * around it and the channels of a pixel side by side, so that a row of a piece is one run of numbers.
 *
 * Gradients of weights are added up per part of the batch, the number of which depends on the batch only, and parts are
 * added in order: the result is the same to the bit for any number of threads.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "crew.h"

#define MAX_PARTS 8
#define TOGETHER 5000 /* floats of the frames that are in the cache at once, about */

/* Keeps the compiler from an address of its own, out of registers, for each vector of a piece. */
#define ONE_ADDRESS(pointer) __asm__("" : "+r"(pointer))

typedef float four __attribute__((vector_size(16)));

/* Mirrored field by field in pooled_conv_cpu.py. */
struct pooled_plan {
    int64_t variant, threads;
    int64_t frames, channels, height, width, outputs, rows, columns; /* rows and columns of what is pooled */
    int64_t kernel_rows, kernel_columns, padding;
    int64_t y_frame, y_channel, y_row, y_column; /* strides of y, one of the last three being 1 */
    int64_t x_frame, x_channel, x_row, x_column; /* strides of x */
    int64_t quads;                               /* of `windows` */
    const float *y;         /* [frames, outputs, 2 rows or one more, 2 columns or one more]: the convolution */
    float *largest;         /* [frames, outputs, rows, columns], and so are the next two */
    uint8_t *place;         /* which of its window the largest is, row by row */
    const float *grad;
    const float *x;         /* null where there are `windows` */
    const uint8_t *windows; /* spikes, see spikes.c */
    const float *weights;   /* [outputs, kernel rows, kernel columns, channels rounded up to `lanes`] */
    float *grad_x;          /* [frames, channels, height, width], or null */
    float *grad_weights;    /* [outputs, channels, kernel rows, kernel columns] */
    float *grad_bias;       /* [outputs] */
};

struct pooled_job;

/* A gradient that is not 0, and the pixel of the frames together where its piece begins. */
struct pooled_entry {
    int32_t pixel;
    float grad;
};

struct pooled_variant {
    void (*forward)(struct pooled_job *, float *, int64_t);
    void (*backward)(struct pooled_job *, float *, int64_t);
    int64_t lanes;
};

struct pooled_job {
    const struct pooled_plan *plan;
    const struct pooled_variant *run;
    int64_t lines, pitch;    /* of a frame with its padding */
    int64_t together, parts; /* frames in scratch memory at once, and pieces of the batch */
    int64_t near, row;       /* floats from pixel to pixel of x, and of a row of gradients of weights */
    int64_t far;             /* floats from pixel to pixel of the gradients of x, and of the weights */
    int64_t slab;            /* gradients of weights and biases of a part */
    struct crew crew;
};

static int64_t rounded_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Frames `first` to `end` of x in `to`, with their padding. */
static void load_frames(const struct pooled_job *job, int64_t first, int64_t end, float *to)
{
    const struct pooled_plan *p = job->plan;
    int64_t size = job->lines * job->pitch * job->near;
    memset(to, 0, (size_t)((end - first) * size + job->row) * sizeof(float));
    for (int64_t frame = first; frame < end; frame++, to += size) {
        if (p->windows)
            for (int64_t line = 0; line < job->lines; line++)
                for (int64_t place = 0; place < job->pitch; place++) {
                    int64_t quad = place / 4 < p->quads ? place / 4 : p->quads - 1;
                    const uint8_t *at = p->windows + ((frame * job->lines + line) * p->quads + quad) * p->channels;
                    float *pixel = to + (line * job->pitch + place) * job->near;
                    for (int64_t c = 0; c < p->channels; c++)
                        pixel[c] = (float)(at[c] >> (place - 4 * quad) & 1);
                }
        else
            for (int64_t y = 0; y < p->height; y++)
                for (int64_t x = 0; x < p->width; x++) {
                    const float *at = p->x + frame * p->x_frame + y * p->x_row + x * p->x_column;
                    float *pixel = to + ((y + p->padding) * job->pitch + x + p->padding) * job->near;
                    for (int64_t c = 0; c < p->channels; c++)
                        pixel[c] = at[c * p->x_channel];
                }
    }
}

/* The gradients of x of some frames, from scratch memory to where they belong. */
static void store_frames(const struct pooled_job *job, int64_t first, int64_t end, const float *from)
{
    const struct pooled_plan *p = job->plan;
    float *to = p->grad_x + first * p->channels * p->height * p->width;
    for (int64_t frame = first; frame < end; frame++, from += job->lines * job->pitch * job->far)
        for (int64_t c = 0; c < p->channels; c++)
            for (int64_t y = 0; y < p->height; y++, to += p->width) {
                const float *at = from + ((y + p->padding) * job->pitch + p->padding) * job->far + c;
                for (int64_t x = 0; x < p->width; x++)
                    to[x] = at[x * job->far];
            }
}

/* The gradients of one output in some frames that are not 0. Returns how many there are; `sum`: of all of them. `corners`:
 * where the windows of a frame begin. */
static int64_t list_gradients(const struct pooled_job *job, int64_t first, int64_t end, int64_t output,
                              const int32_t *corners, struct pooled_entry *list, float *sum)
{
    const struct pooled_plan *p = job->plan;
    int64_t windows = p->rows * p->columns, n = 0;
    int32_t pitch = (int32_t)job->pitch, size = (int32_t)(job->lines * job->pitch), frame_at = 0;
    float total = *sum;
    for (int64_t frame = first; frame < end; frame++, frame_at += size) {
        const uint8_t *place = p->place + (frame * p->outputs + output) * windows;
        const float *grad = p->grad + (frame * p->outputs + output) * windows;
        for (int64_t i = 0; i < windows; i++) {
            list[n].pixel = frame_at + corners[i] + (place[i] & 1) + (place[i] >> 1) * pitch;
            list[n].grad = grad[i];
            n += grad[i] != 0;
        }
    }
    for (int64_t i = 0; i < n; i++)
        total += list[i].grad;
    *sum = total;
    return n;
}

#define BODY "pooled.h"
#include "each.h"

static const struct pooled_variant *pooled_variant_of(int64_t number)
{
    return PICK(number, pooled);
}

/* For the caller to compare with its own idea of the structure. */
int pooled_plan_size(void)
{
    return sizeof(struct pooled_plan);
}

/* Channels of the weights are rounded up to a multiple of this. */
int pooled_lanes(int64_t variant)
{
    return (int)pooled_variant_of(variant)->lanes;
}

static struct pooled_job pooled_job_of(const struct pooled_plan *p)
{
    struct pooled_job job = {.plan = p, .run = pooled_variant_of(p->variant)};
    int64_t lanes = job.run->lanes, c = p->channels;
    job.lines = p->height + 2 * p->padding;
    job.pitch = p->width + 2 * p->padding;
    job.far = rounded_up(c, lanes);
    /* Pixels that begin a line of the cache are read faster, unless much of the line is empty. */
    job.near = 3 * job.far <= 4 * c ? job.far : c;
    job.row = rounded_up(p->kernel_columns * job.near, lanes);
    job.together = TOGETHER / (job.lines * job.pitch * job.far);
    job.together = job.together < 1 ? 1 : job.together;
    job.parts = p->frames < MAX_PARTS ? p->frames : MAX_PARTS;
    job.slab = rounded_up(p->outputs * p->kernel_rows * job.row + p->outputs, 16);
    return job;
}

static void pool_item(void *argument, float *scratch, int64_t frame)
{
    struct pooled_job *job = argument;
    job->run->forward(job, scratch, frame);
}

/* largest and place. 0, or -1 where there is no memory. */
int pooled_forward(const struct pooled_plan *p)
{
    struct pooled_job job = pooled_job_of(p);
    job.crew.job = &job;
    job.crew.phases = 1;
    job.crew.phase[0] = pool_item;
    job.crew.items[0] = p->frames;
    job.crew.scratch_floats = 2 * p->outputs * p->rows * p->columns;
    return crew_run(&job.crew, p->threads);
}

static void part_item(void *argument, float *scratch, int64_t part)
{
    struct pooled_job *job = argument;
    job->run->backward(job, scratch, part);
}

/* The gradients of the weights and the bias of one output: parts added in order. */
static void add_parts(void *argument, float *scratch, int64_t output)
{
    struct pooled_job *job = argument;
    const struct pooled_plan *p = job->plan;
    int64_t size = p->kernel_rows * job->row;
    float *sums = job->crew.shared + output * size, *bias = job->crew.shared + p->outputs * size + output;
    (void)scratch;
    for (int64_t part = 1; part < job->parts; part++) {
        for (int64_t i = 0; i < size; i++)
            sums[i] += sums[part * job->slab + i];
        *bias += bias[part * job->slab];
    }
    p->grad_bias[output] = *bias;
    float *to = p->grad_weights + output * p->channels * p->kernel_rows * p->kernel_columns;
    for (int64_t c = 0; c < p->channels; c++)
        for (int64_t ky = 0; ky < p->kernel_rows; ky++)
            for (int64_t kx = 0; kx < p->kernel_columns; kx++)
                *to++ = sums[ky * job->row + kx * job->near + c];
}

/* grad_x, grad_weights and grad_bias. 0, or -1 where there is no memory. */
int pooled_backward(const struct pooled_plan *p)
{
    struct pooled_job job = pooled_job_of(p);
    int64_t pixels = job.together * job.lines * job.pitch;
    job.crew.job = &job;
    job.crew.phases = 2;
    job.crew.phase[0] = part_item;
    job.crew.items[0] = job.parts;
    job.crew.phase[1] = add_parts;
    job.crew.items[1] = p->outputs;
    job.crew.shared_floats = job.parts * job.slab;
    job.crew.scratch_floats = pixels * job.far + rounded_up(pixels * job.near + job.row, 16) +
                              (2 * job.together + 1) * p->rows * p->columns + 2;
    return crew_run(&job.crew, p->threads);
}
