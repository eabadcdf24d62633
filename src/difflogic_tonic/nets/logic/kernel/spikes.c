/* Convolutions over spikes, which are 0 or 1, on a CPU.
 *
 * Four spikes can be sixteen things, so what four of them add up to is looked up. Forward, the four are channels of one
 * place, and the table holds the sums of their rows of weights; backward, they are neighbouring places of a channel, and
 * it holds the sums of their gradients. An addition from the table takes the place of four multiplications, however
 * many spikes there are. The stride is 1. A padded row has `pitch` places: tap t of a result at column x reads place
 * x + t.
 *
 * Results are independent of each other; gradients of weights are added up per part of the batch, the number of which
 * depends on shapes and the width of vectors only, and parts are added in order: the result is the same to the bit for any
 * number of threads.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "crew.h"

#define MAX_PARTS 8  /* of the batch, times blocks of outputs, about */
#define GROUPS 6     /* of four places whose tables are in the first-level cache at once */
#define PLACES 512   /* results whose sums are in the second-level cache at once, about */
#define SUMS 163840  /* floats of gradients of weights that fit there beside what is added to them */
#define TILE 64      /* taps of channels that change their order at once */

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_ints __attribute__((vector_size(16)));
typedef float loose_four __attribute__((vector_size(16), aligned(4), may_alias));

/* Mirrored field by field in spike_conv_cpu.py. Results are [frames, rows, columns, outputs], contiguous, and so are
 * their gradients. */
struct spikes_plan {
    int64_t variant, threads;
    int64_t frames, channels, height, width, outputs, rows, columns;
    int64_t kernel_rows, kernel_columns, padding;
    int64_t lines, pitch, quads; /* padded rows of a frame, places to one, and groups of four results to a row */
    int64_t padded;              /* outputs rounded up to 16 */
    int64_t x_frame, x_channel, x_row, x_column; /* strides of x */
    const float *x;
    uint16_t *subsets; /* [channels / 4 rounded up, frames, lines, pitch]: which of four channels spike, as the
                          distance in bytes of their sum in a table */
    uint8_t *windows;  /* [frames, lines, quads, channels]: spikes at the place 4 q and the seven that follow */
    const float *weights, *bias; /* weights: [outputs, channels, kernel rows, kernel columns] */
    float *y;
    const float *grad_y;
    float *grad_weights; /* [outputs, channels, kernel rows, kernel columns] */
};

struct spikes_job;

struct spikes_variant {
    void (*forward)(struct spikes_job *, float *, int64_t);
    void (*backward)(struct spikes_job *, float *, int64_t);
    int64_t lanes;
};

struct spikes_job {
    const struct spikes_plan *plan;
    const struct spikes_variant *run;
    int64_t width, blocks, rows_per_item;                              /* forward */
    int64_t broad, broad_blocks, groups, parts, groups_per_part, slab; /* backward */
    atomic_llong others; /* numbers that are neither 0 nor 1 */
    struct crew crew;
};

/* The line that the first row of the kernel meets for row `row` of the results of all frames. */
static int64_t line_of(const struct spikes_plan *p, int64_t row)
{
    return row / p->rows * p->lines + row % p->rows;
}

/* Where place k of a group of four is among the results of all frames; -1 behind the end of a row. */
static int64_t result_of_group(const struct spikes_plan *p, int64_t group, int64_t k)
{
    int64_t column = group % p->quads * 4 + k;
    return column < p->columns ? group / p->quads * p->columns + column : -1;
}

/* How many of the `width` outputs from `output` on are there, and not only padding. */
static int64_t used_of(const struct spikes_plan *p, int64_t output, int64_t width)
{
    int64_t left = p->outputs - output;
    return left < 0 ? 0 : left < width ? left : width;
}

/* Weights and their gradients lie here in blocks of outputs, [blocks, channels, taps, `width`], the last one maybe less
 * wide: side by side in the cache, and not with those to other outputs between them. */
static int64_t width_of_block(const struct spikes_plan *p, int64_t first, int64_t width)
{
    return p->padded - first < width ? p->padded - first : width;
}

#define BODY "spikes.h"
#include "each.h"

static const struct spikes_variant *spikes_variant_of(int64_t number)
{
    return PICK(number, spikes);
}

/* For the caller to compare with its own idea of the structure. */
int spikes_plan_size(void)
{
    return sizeof(struct spikes_plan);
}

static int64_t at_least_one(int64_t n)
{
    return n < 1 ? 1 : n;
}

static struct spikes_job spikes_job_of(const struct spikes_plan *p)
{
    struct spikes_job job = {.plan = p, .run = spikes_variant_of(p->variant)};
    int64_t lanes = job.run->lanes, taps = p->kernel_rows * p->kernel_columns;
    job.width = taps > 12 ? lanes : 2 * lanes; /* 16 sums for each tap are to fit */
    job.blocks = (p->padded + job.width - 1) / job.width;
    job.rows_per_item = at_least_one(PLACES / p->columns);
    job.broad = 4 * lanes;
    while (job.broad > lanes && p->channels * taps * job.broad > SUMS)
        job.broad /= 2;
    job.broad_blocks = (p->padded + job.broad - 1) / job.broad;
    job.groups = p->frames * p->rows * p->quads;
    int64_t parts = (MAX_PARTS + job.broad_blocks - 1) / job.broad_blocks;
    job.groups_per_part = at_least_one((job.groups + parts - 1) / parts);
    job.parts = (job.groups + job.groups_per_part - 1) / job.groups_per_part;
    job.slab = p->channels * taps * p->padded;
    job.crew.phases = 1;
    return job;
}

/* The spikes of row y of a frame in bytes, place by place, those of all channels beside each other. */
static int64_t spikes_of_row(const struct spikes_plan *p, int64_t frame, int64_t y, uint8_t *spikes)
{
    int64_t c = p->channels, others = 0;
    for (int64_t x = 0; x < p->width; x++) {
        const float *from = p->x + frame * p->x_frame + y * p->x_row + x * p->x_column;
        uint8_t *to = spikes + (x + p->padding) * c;
        int32_t bad = 0;
        if (p->x_channel == 1)
            for (int64_t i = 0; i < c; i++) {
                to[i] = from[i] != 0;
                bad += (from[i] != 0) & (from[i] != 1);
            }
        else
            for (int64_t i = 0; i < c; i++) {
                float value = from[i * p->x_channel];
                to[i] = value != 0;
                bad += (value != 0) & (value != 1);
            }
        others += bad;
    }
    return others;
}

/* The lowest bits of the four bytes at an address, that of the first byte lowest. */
static uint32_t bits_of(uint32_t bytes)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap32(bytes);
#endif
    return bytes * 0x01020408u >> 24 & 15; /* each bit ends up in a place of its own: nothing is carried */
}

static void pack_item(void *argument, float *scratch, int64_t line)
{
    struct spikes_job *job = argument;
    const struct spikes_plan *p = job->plan;
    int64_t c = p->channels, all = p->frames * p->lines, y = line % p->lines - p->padding;
    uint8_t *spikes = (uint8_t *)scratch, *windows = p->windows + line * p->quads * c;
    uint32_t unit = 4 * (uint32_t)job->run->lanes;
    memset(spikes, 0, (size_t)(p->pitch + 8) * c);
    if (y >= 0 && y < p->height)
        atomic_fetch_add(&job->others, spikes_of_row(p, line / p->lines, y, spikes));
    for (int64_t quad = 0; quad < p->quads; quad++)
        for (int64_t i = 0; i < c; i++) {
            const uint8_t *at = spikes + quad * 4 * c + i;
            windows[quad * c + i] = at[0] | at[c] << 1 | at[2 * c] << 2 | at[3 * c] << 3 | at[4 * c] << 4 |
                                    at[5 * c] << 5 | at[6 * c] << 6 | at[7 * c] << 7;
        }
    for (int64_t channel = 0; channel < c; channel += 4) {
        uint16_t *subsets = p->subsets + (channel / 4 * all + line) * p->pitch;
        for (int64_t place = 0; place < p->pitch; place++) {
            uint32_t bytes = 0;
            if (c - channel >= 4)
                memcpy(&bytes, spikes + place * c + channel, 4);
            else
                memcpy(&bytes, spikes + place * c + channel, (size_t)(c - channel));
            subsets[place] = (uint16_t)(bits_of(bytes) * unit);
        }
    }
}

/* Where the spikes are, and how many numbers are neither 0 nor 1. 0, or -1 where there is no memory. */
int spikes_pack(const struct spikes_plan *p, int64_t *others)
{
    struct spikes_job job = spikes_job_of(p);
    job.crew.job = &job;
    job.crew.phase[0] = pack_item;
    job.crew.items[0] = p->frames * p->lines;
    job.crew.scratch_floats = (p->pitch + 8) * p->channels / 4 + 1;
    int failed = crew_run(&job.crew, p->threads);
    *others = atomic_load(&job.others);
    return failed;
}

/* The weights of a block, with zeros for outputs that are not there. */
static void lay_item(void *argument, float *scratch, int64_t block)
{
    struct spikes_job *job = argument;
    const struct spikes_plan *p = job->plan;
    int64_t rows = p->channels * p->kernel_rows * p->kernel_columns, first = block * job->width;
    int64_t width = width_of_block(p, first, job->width), used = used_of(p, first, width);
    float *to = job->crew.shared + rows * first;
    (void)scratch;
    for (int64_t begin = 0; begin < rows; begin += TILE)
        for (int64_t i = 0; i < width; i++)
            for (int64_t row = begin; row < rows && row < begin + TILE; row++)
                to[row * width + i] = i < used ? p->weights[(first + i) * rows + row] : 0;
}

static void forward_item(void *argument, float *scratch, int64_t item)
{
    struct spikes_job *job = argument;
    job->run->forward(job, scratch, item);
}

/* y. 0, or -1 where there is no memory. */
int spikes_forward(const struct spikes_plan *p)
{
    struct spikes_job job = spikes_job_of(p);
    job.crew.job = &job;
    job.crew.phases = 2;
    job.crew.phase[0] = lay_item;
    job.crew.items[0] = job.blocks;
    job.crew.phase[1] = forward_item;
    job.crew.items[1] = (p->frames * p->rows + job.rows_per_item - 1) / job.rows_per_item * job.blocks;
    job.crew.shared_floats = job.slab;
    job.crew.scratch_floats = (p->kernel_rows * p->kernel_columns * 16 + job.rows_per_item * p->columns) * job.width;
    return crew_run(&job.crew, p->threads);
}

static void backward_item(void *argument, float *scratch, int64_t item)
{
    struct spikes_job *job = argument;
    job->run->backward(job, scratch, item);
}

/* The gradients of the weights to LANES outputs: parts added in order, and taps put in their places. */
static void sum_item(void *argument, float *scratch, int64_t item)
{
    struct spikes_job *job = argument;
    const struct spikes_plan *p = job->plan;
    int64_t rows = p->channels * p->kernel_rows * p->kernel_columns, output = item * job->run->lanes;
    int64_t first = output / job->broad * job->broad, width = width_of_block(p, first, job->broad);
    int64_t used = used_of(p, output, job->run->lanes);
    const float *from = job->crew.shared + rows * first + output - first;
    (void)scratch;
    for (int64_t begin = 0; begin < rows; begin += TILE)
        for (int64_t i = 0; i < used; i++)
            for (int64_t row = begin; row < rows && row < begin + TILE; row++) {
                float total = 0;
                for (int64_t part = 0; part < job->parts; part++)
                    total += from[part * job->slab + row * width + i];
                p->grad_weights[(output + i) * rows + row] = total;
            }
}

/* grad_weights. 0, or -1 where there is no memory. */
int spikes_backward(const struct spikes_plan *p)
{
    struct spikes_job job = spikes_job_of(p);
    job.crew.job = &job;
    job.crew.phases = 2;
    job.crew.phase[0] = backward_item;
    job.crew.items[0] = job.parts * job.broad_blocks;
    job.crew.phase[1] = sum_item;
    job.crew.items[1] = p->padded / job.run->lanes;
    job.crew.shared_floats = job.parts * job.slab;
    job.crew.scratch_floats = (GROUPS * 16 + 4) * 4 * job.run->lanes;
    return crew_run(&job.crew, p->threads);
}
