/* A layer with candidates for one tile of TILE samples, forward and backward. Included once per instruction set.
 *
 * x and gx are copies of a tile's columns, rows of TILE floats side by side: a column of a matrix whose rows are a power
 * of two apart would use a small part of the cache only.
 */

#include "vectors.h"

static void NAME(take_columns)(const float *from, int64_t stride, int64_t rows, float *x)
{
    for (int64_t i = 0; i < rows; i++)
        for (int r = 0; r < TILE; r += LANES)
            STORE(x + i * TILE + r, LOAD(from + i * stride + r));
}

static void NAME(put_columns)(const float *gx, int64_t stride, int64_t rows, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int r = 0; r < TILE; r += LANES)
            STORE(to + i * stride + r, LOAD(gx + i * TILE + r));
}

/* The mean of k candidates: the rows index[0 .. k - 1] of x, weighted. */
INLINE void NAME(mean)(const float *x, const int32_t *index, const float *weights, int64_t k, FV *mean)
{
    for (int r = 0; r < TILE / LANES; r++)
        mean[r] = (FV){0};
    for (int64_t j = 0; j < k; j++) {
        const float *row = x + (int64_t)index[j] * TILE;
        for (int r = 0; r < TILE / LANES; r++)
            mean[r] += weights[j] * LOAD(row + r * LANES);
    }
}

/* The candidates of the neuron AHEAD of neuron i, in x and in gx (or 0), where they may not be in the cache. */
INLINE void NAME(fetch)(const struct choose_plan *p, int64_t i, const float *x, const float *gx)
{
    int64_t k = p->candidates;
    if (p->in_features <= NEAR_ROWS || i + AHEAD >= p->neurons)
        return;
    for (int input = 0; input < 2; input++) {
        const int32_t *index = p->index + (input * p->neurons + i + AHEAD) * k;
        for (int64_t j = 0; j < k; j++) {
            __builtin_prefetch(x + (int64_t)index[j] * TILE);
            if (gx)
                __builtin_prefetch(gx + (int64_t)index[j] * TILE, 1);
        }
    }
}

static void NAME(choose_forward)(const struct choose_plan *p, int64_t column, float *x)
{
    const float *c = p->coefficients;
    NAME(take_columns)(p->x + column, p->batch, p->in_features, x);
    for (int64_t i = 0; i < p->neurons; i++, c += 4) {
        FV a[TILE / LANES], b[TILE / LANES];
        int64_t ea = i * p->candidates, eb = (p->neurons + i) * p->candidates;
        NAME(fetch)(p, i, x, 0);
        NAME(mean)(x, p->index + ea, p->weights + ea, p->candidates, a);
        NAME(mean)(x, p->index + eb, p->weights + eb, p->candidates, b);
        for (int r = 0; r < TILE / LANES; r++)
            STORE(p->y + i * p->batch + column + r * LANES, (c[0] + c[1] * a[r]) + b[r] * (c[2] + c[3] * a[r]));
    }
}

/* What the gradient g of a mean is for `count` (at most 4) of its weights, added to gw, and for their rows, added to gx
 * (or 0). */
INLINE void NAME(some_backward)(const float *x, float *gx, const int32_t *index, const float *weights, const int count,
                                const FV *g, float *gw)
{
    FV s[4] = {{0}, {0}, {0}, {0}};
    for (int q = 0; q < count; q++) {
        const float *row = x + (int64_t)index[q] * TILE;
        for (int r = 0; r < TILE / LANES; r++)
            s[q] += LOAD(row + r * LANES) * g[r];
    }
    if (gx)
        for (int q = 0; q < count; q++) { /* one after the other: two candidates may be the same row */
            float *to = gx + (int64_t)index[q] * TILE;
            for (int r = 0; r < TILE / LANES; r++)
                STORE(to + r * LANES, LOAD(to + r * LANES) + weights[q] * g[r]);
        }
    four sums = NAME(sums)(s[0], s[1], s[2], s[3]);
    if (count == 4)
        *(loose_four *)gw += sums;
    else
        for (int q = 0; q < count; q++)
            gw[q] += sums[q];
}

INLINE void NAME(mean_backward)(const float *x, float *gx, const int32_t *index, const float *weights, int64_t k,
                                const FV *g, float *gw)
{
    int64_t j = 0;
    for (; j + 4 <= k; j += 4)
        NAME(some_backward)(x, gx, index + j, weights + j, 4, g, gw + j);
    for (; j < k; j++)
        NAME(some_backward)(x, gx, index + j, weights + j, 1, g, gw + j);
}

/* gc [neurons, 4] and gw [2, neurons, candidates] are added to. */
static void NAME(choose_backward)(const struct choose_plan *p, int64_t column, float *x, float *gc, float *gw)
{
    const float *c = p->coefficients;
    float *gx = p->grad_x ? x + p->in_features * TILE : 0;
    int64_t k = p->candidates;
    NAME(take_columns)(p->x + column, p->batch, p->in_features, x);
    if (gx)
        memset(gx, 0, (size_t)p->in_features * TILE * sizeof(float));
    for (int64_t i = 0; i < p->neurons; i++, c += 4, gc += 4) {
        FV a[TILE / LANES], b[TILE / LANES], ga[TILE / LANES], gb[TILE / LANES];
        int64_t ea = i * k, eb = (p->neurons + i) * k;
        NAME(fetch)(p, i, x, gx);
        NAME(mean)(x, p->index + ea, p->weights + ea, k, a);
        NAME(mean)(x, p->index + eb, p->weights + eb, k, b);
        FV s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int r = 0; r < TILE / LANES; r++) {
            FV g = LOAD(p->grad_y + i * p->batch + column + r * LANES), wa = g * a[r];
            s0 += g;
            s1 += wa;
            s2 += g * b[r];
            s3 += wa * b[r];
            ga[r] = g * (c[1] + c[3] * b[r]);
            gb[r] = g * c[2] + wa * c[3];
        }
        *(loose_four *)gc += NAME(sums)(s0, s1, s2, s3);
        NAME(mean_backward)(x, gx, p->index + ea, p->weights + ea, k, ga, gw + ea);
        NAME(mean_backward)(x, gx, p->index + eb, p->weights + eb, k, gb, gw + eb);
    }
    if (gx)
        NAME(put_columns)(gx, p->batch, p->in_features, p->grad_x + column);
}

static const struct choose_variant NAME(choose) = {NAME(choose_forward), NAME(choose_backward)};

#include "vectors_end.h"
