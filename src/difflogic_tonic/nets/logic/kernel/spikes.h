/* The parts of a convolution over spikes that depend on the width of vectors. Included once per instruction set. */

#include "vectors.h"

#define WIDE (2 * LANES) /* results of a place at once, with the sums of all taps in the first-level cache */
#define BROAD (4 * LANES)

/* The sums of all subsets of four rows of floats; subset m is at t + m * row. A missing row is 0. */
INLINE void NAME(subsets)(const float *const *rows, float *t, const int vectors, const int row, const int vector)
{
    for (int v = 0; v < vectors; v++) {
        FV e[16];
        e[0] = (FV){0};
        for (int i = 0; i < 4; i++) {
            FV one = {0};
            if (rows[i])
                one = LOAD(rows[i] + v * LANES);
            for (int m = 0; m < 1 << i; m++)
                e[(1 << i) + m] = e[m] + one;
        }
        for (int m = 0; m < 16; m++)
            STORE(t + m * row + v * vector, e[m]);
    }
}

/* Adds to the sums of `places` places what the spikes of four channels are to them. `at`: the subset of the first tap at
 * the first place. The table has 16 sums of rows of weights for each tap and vector. */
INLINE void NAME(places)(const struct spikes_plan *p, const uint16_t *at, const float *table, float *sums,
                         const int taps, const int vectors, const int places)
{
    FV sum[places * vectors];
    int64_t n = taps ? taps : p->kernel_columns;
    for (int i = 0; i < places * vectors; i++)
        sum[i] = LOAD(sums + i * LANES);
    for (int64_t ky = 0; ky < p->kernel_rows; ky++, at += p->pitch)
        for (int64_t tap = 0; tap < n; tap++, table += vectors * 16 * LANES)
            for (int i = 0; i < places; i++) {
                const char *row = (const char *)table + at[tap + i];
                for (int v = 0; v < vectors; v++)
                    sum[i * vectors + v] += LOAD(row + v * 64 * LANES);
            }
    for (int i = 0; i < places * vectors; i++)
        STORE(sums + i * LANES, sum[i]);
}

INLINE void NAME(row)(const struct spikes_plan *p, const uint16_t *at, const float *table, float *sums, const int taps,
                      const int vectors)
{
    int64_t x = 0;
    for (; x + 4 <= p->columns; x += 4)
        NAME(places)(p, at + x, table, sums + x * vectors * LANES, taps, vectors, 4);
    for (; x < p->columns; x++)
        NAME(places)(p, at + x, table, sums + x * vectors * LANES, taps, vectors, 1);
}

/* The results of some rows, for WIDE or LANES outputs. */
INLINE void NAME(some_rows)(const struct spikes_job *job, float *scratch, int64_t first, int64_t end, int64_t output,
                            const int vectors)
{
    const struct spikes_plan *p = job->plan;
    int64_t block = output / job->width * job->width, width = width_of_block(p, block, job->width);
    int64_t taps = p->kernel_rows * p->kernel_columns, all = p->frames * p->lines;
    const float *weights = job->crew.shared + p->channels * taps * block + output - block;
    float *table = scratch, *sums = table + taps * 16 * vectors * LANES;
    memset(sums, 0, (size_t)(end - first) * p->columns * vectors * LANES * sizeof(float));
    for (int64_t channel = 0; channel < p->channels; channel += 4) {
        for (int64_t tap = 0; tap < taps; tap++) {
            const float *rows[4];
            for (int64_t i = 0; i < 4; i++)
                rows[i] = channel + i < p->channels ? weights + ((channel + i) * taps + tap) * width : 0;
            NAME(subsets)(rows, table + tap * vectors * 16 * LANES, vectors, LANES, 16 * LANES);
        }
        for (int64_t row = first; row < end; row++) {
            const uint16_t *at = p->subsets + (channel / 4 * all + line_of(p, row)) * p->pitch;
            float *to = sums + (row - first) * p->columns * vectors * LANES;
            if (p->kernel_columns == 3)
                NAME(row)(p, at, table, to, 3, vectors);
            else if (p->kernel_columns == 5)
                NAME(row)(p, at, table, to, 5, vectors);
            else
                NAME(row)(p, at, table, to, 0, vectors);
        }
    }
    int64_t used = used_of(p, output, vectors * LANES);
    for (int64_t place = first * p->columns; place < end * p->columns; place++, sums += vectors * LANES) {
        float *to = p->y + place * p->outputs + output;
        for (int64_t k = 0; p->bias && k < used; k++)
            sums[k] += p->bias[output + k];
        if (used < vectors * LANES)
            memcpy(to, sums, (size_t)used * sizeof(float));
        else
            for (int v = 0; v < vectors; v++)
                STORE_LOOSE(to + v * LANES, LOAD(sums + v * LANES));
    }
}

static void NAME(forward)(struct spikes_job *job, float *scratch, int64_t item)
{
    int64_t width = job->width, output = item % job->blocks * width, first = item / job->blocks * job->rows_per_item;
    int64_t all = job->plan->frames * job->plan->rows, end = first + job->rows_per_item;
    end = end < all ? end : all;
    if (width == WIDE && output + width <= job->plan->padded)
        NAME(some_rows)(job, scratch, first, end, output, 2);
    else
        for (int64_t part = output; part < output + width && part < job->plan->padded; part += LANES)
            NAME(some_rows)(job, scratch, first, end, part, 1);
}

/* Adds what a few groups of four places are to the gradients of all weights. `windows`: of the first row of the kernel and
 * the first channel. */
INLINE void NAME(add_groups)(const struct spikes_plan *p, const uint8_t *const *windows, const float *table, float *into,
                             int64_t width, const int taps, const int vectors)
{
    int64_t n = taps ? taps : p->kernel_columns;
    for (int64_t channel = 0; channel < p->channels; channel++)
        for (int64_t ky = 0; ky < p->kernel_rows; ky++) {
            uint32_t spikes[GROUPS];
            for (int i = 0; i < GROUPS; i++)
                spikes[i] = (uint32_t)windows[i][ky * p->quads * p->channels + channel] * (vectors * LANES * 4);
            for (int64_t tap = 0; tap < n; tap++, into += width) {
                FV sum[vectors];
                for (int v = 0; v < vectors; v++)
                    sum[v] = LOAD(into + v * LANES);
                for (int i = 0; i < GROUPS; i++) {
                    const char *row = (const char *)(table + i * 16 * vectors * LANES) +
                                      (spikes[i] >> tap & (15 * vectors * LANES * 4));
                    for (int v = 0; v < vectors; v++)
                        sum[v] += LOAD(row + v * 4 * LANES);
                }
                for (int v = 0; v < vectors; v++)
                    STORE(into + v * LANES, sum[v]);
            }
        }
}

/* The gradients of weights to BROAD outputs, or fewer, of the groups of four places from `first` on. `width`: floats from
 * tap to tap in `into`. */
INLINE void NAME(some_groups)(const struct spikes_plan *p, float *scratch, int64_t first, int64_t end, float *into,
                              int64_t width, int64_t output, const int vectors)
{
    int64_t taps = p->kernel_rows * p->kernel_columns;
    int64_t used = used_of(p, output, vectors * LANES);
    const uint8_t *windows[GROUPS];
    float *table = scratch, *places = table + GROUPS * 16 * vectors * LANES;
    for (int64_t i = 0; i < p->channels * taps; i++)
        memset(into + i * width, 0, (size_t)vectors * LANES * sizeof(float));
    memset(places, 0, (size_t)4 * vectors * LANES * sizeof(float));
    for (; first < end; first += GROUPS) {
        for (int i = 0; i < GROUPS; i++) {
            const float *rows[4] = {0};
            for (int k = 0; k < 4 && first + i < end; k++) {
                int64_t at = result_of_group(p, first + i, k);
                if (at < 0)
                    continue;
                memcpy(places + k * vectors * LANES, p->grad_y + at * p->outputs + output,
                       (size_t)used * sizeof(float));
                rows[k] = places + k * vectors * LANES;
            }
            int64_t group = first + i < end ? first + i : first;
            int64_t at = line_of(p, group / p->quads) * p->quads + group % p->quads;
            windows[i] = p->windows + at * p->channels;
            NAME(subsets)(rows, table + i * 16 * vectors * LANES, vectors, vectors * LANES, LANES);
        }
        if (p->kernel_columns == 3)
            NAME(add_groups)(p, windows, table, into, width, 3, vectors);
        else if (p->kernel_columns == 5)
            NAME(add_groups)(p, windows, table, into, width, 5, vectors);
        else
            NAME(add_groups)(p, windows, table, into, width, 0, vectors);
    }
}

static void NAME(backward)(struct spikes_job *job, float *scratch, int64_t item)
{
    const struct spikes_plan *p = job->plan;
    int64_t output = item % job->broad_blocks * job->broad, part = item / job->broad_blocks;
    int64_t first = part * job->groups_per_part, end = first + job->groups_per_part;
    end = end < job->groups ? end : job->groups;
    int64_t width = width_of_block(p, output, job->broad), last = output + width;
    float *into = job->crew.shared + part * job->slab + p->channels * p->kernel_rows * p->kernel_columns * output;
    for (int64_t step; output < last; output += step, into += step)
        if ((step = BROAD) <= last - output)
            NAME(some_groups)(p, scratch, first, end, into, width, output, 4);
        else if ((step = WIDE) <= last - output)
            NAME(some_groups)(p, scratch, first, end, into, width, output, 2);
        else {
            step = LANES;
            NAME(some_groups)(p, scratch, first, end, into, width, output, 1);
        }
}

static const struct spikes_variant NAME(spikes) = {NAME(forward), NAME(backward), LANES};

#undef WIDE
#undef BROAD

#include "vectors_end.h"
