/* The parts of a convolution by Winograd's algorithm that depend on the width of vectors. Included once per instruction
 * set. */

#include "vectors.h"

#if LANES == 16
#define TILES 12 /* with two vectors each, and those of the weights, the 32 registers */
#else
#define TILES 6
#endif
#define WIDE (2 * LANES)

/* Numbers of a tile's line of four as the sums that are multiplied, with `step` vectors from number to number. */
INLINE void NAME(spread_line)(FV *d, const int step)
{
    FV d0 = d[0] - d[2 * step], d3 = d[step] - d[3 * step];
    FV d1 = d[step] + d[2 * step], d2 = d[2 * step] - d[step];
    d[0] = d0;
    d[step] = d1;
    d[2 * step] = d2;
    d[3 * step] = d3;
}

/* The gradients of one tile as sixteen sums for each output: at `to`, `apart` floats from sum to sum, and TILES vectors
 * from vector to vector. */
INLINE void NAME(spread)(const struct winograd_plan *p, int64_t tile, float *to, int64_t apart)
{
    struct winograd_place at = winograd_place_of(p, tile);
    const float *from[16];
    for (int64_t i = 0; i < 16; i++) {
        int64_t y = at.y + p->padding - 2 + i / 4, x = at.x + p->padding - 2 + i % 4;
        int inside = y >= 0 && y < p->rows && x >= 0 && x < p->columns;
        from[i] = inside ? p->grad_y + ((at.frame * p->rows + y) * p->columns + x) * p->outputs : 0;
    }
    for (int64_t k = 0; k < p->outputs; k += LANES, to += TILES * LANES) {
        FV d[16];
        for (int i = 0; i < 16; i++) {
            d[i] = (FV){0};
            if (from[i])
                d[i] = LOAD_LOOSE(from[i] + k);
        }
        for (int i = 0; i < 4; i++)
            NAME(spread_line)(d + 4 * i, 1);
        for (int i = 0; i < 4; i++)
            NAME(spread_line)(d + i, 4);
        for (int i = 0; i < 16; i++)
            STORE(to + i * apart, d[i]);
    }
}

/* Products of one of the sixteen sums of TILES tiles with its weights, for WIDE channels; `row`: floats from tile to tile
 * of the products. */
INLINE void NAME(multiply)(const float *sums, const float *weights, int64_t outputs, float *products, int64_t row)
{
    FV total[TILES][2];
    for (int tile = 0; tile < TILES; tile++)
        total[tile][0] = total[tile][1] = (FV){0};
    for (int64_t k = 0; k < outputs; k += LANES, sums += TILES * LANES)
#pragma GCC unroll 4
        for (int lane = 0; lane < LANES; lane++, weights += WIDE) {
            FV first = LOAD(weights), second = LOAD(weights + LANES);
#pragma GCC unroll 12
            for (int tile = 0; tile < TILES; tile++) {
                total[tile][0] += first * sums[tile * LANES + lane];
                total[tile][1] += second * sums[tile * LANES + lane];
            }
        }
    for (int tile = 0; tile < TILES; tile++, products += row) {
        STORE(products, total[tile][0]);
        STORE(products + LANES, total[tile][1]);
    }
}

/* The gradients of x in one tile, of its sixteen products, which are `apart` floats from each other. */
INLINE void NAME(gather)(const struct winograd_plan *p, int64_t tile, const float *products, int64_t apart)
{
    struct winograd_place at = winograd_place_of(p, tile);
    float *to = p->grad_x + ((at.frame * p->height + at.y) * p->width + at.x) * p->channels;
    int below = at.y + 1 < p->height, beside = at.x + 1 < p->width;
    for (int64_t c = 0; c < p->channels; c += LANES, to += LANES, products += LANES) {
        FV m[16], upper[4], lower[4];
        for (int i = 0; i < 16; i++)
            m[i] = LOAD(products + i * apart);
        for (int i = 0; i < 4; i++) {
            upper[i] = m[i] + m[4 + i] + m[8 + i];
            lower[i] = m[4 + i] - m[8 + i] - m[12 + i];
        }
        STORE_LOOSE(to, upper[0] + upper[1] + upper[2]);
        if (beside)
            STORE_LOOSE(to + p->channels, upper[1] - upper[2] - upper[3]);
        if (below)
            STORE_LOOSE(to + p->width * p->channels, lower[0] + lower[1] + lower[2]);
        if (below && beside)
            STORE_LOOSE(to + (p->width + 1) * p->channels, lower[1] - lower[2] - lower[3]);
    }
}

/* The gradients of x in the tiles of one piece of work. */
static void NAME(backward)(struct winograd_job *job, float *scratch, int64_t item)
{
    const struct winograd_plan *p = job->plan;
    int64_t first = item * job->together, end = first + job->together;
    end = end < job->tiles ? end : job->tiles;
    int64_t group = TILES * p->outputs, groups = (end - first + TILES - 1) / TILES;
    int64_t apart = job->together * p->outputs + APART, products_apart = job->together * p->channels + APART;
    float *products = scratch + 16 * apart;
    for (int64_t tile = 0; tile < groups * TILES; tile++) {
        float *to = scratch + tile / TILES * group + tile % TILES * LANES;
        if (first + tile < end)
            NAME(spread)(p, first + tile, to, apart);
        else /* nobody reads what comes of them, but numbers they must be */
            for (int64_t i = 0; i < 16; i++)
                for (int64_t k = 0; k < p->outputs; k += LANES)
                    STORE(to + i * apart + k * TILES, (FV){0});
    }
    for (int64_t i = 0; i < 16; i++)
        for (int64_t channel = 0; channel < p->channels; channel += WIDE) {
            const float *weights = job->crew.shared + (i * p->channels + channel) * p->outputs;
            for (int64_t g = 0; g < groups; g++)
                NAME(multiply)(scratch + i * apart + g * group, weights, p->outputs,
                               products + i * products_apart + g * TILES * p->channels + channel, p->channels);
        }
    for (int64_t tile = first; tile < end; tile++)
        NAME(gather)(p, tile, products + (tile - first) * p->channels, products_apart);
}

/* The sixteen sums of weights of WIDE channels to some outputs. */
static void NAME(lay)(struct winograd_job *job, int64_t channel, int64_t first, int64_t end)
{
    const struct winograd_plan *p = job->plan;
    int64_t apart = p->channels * p->outputs;
    for (int64_t output = first; output < end; output++) {
        const float *from = p->weights + (output * p->channels + channel) * 9;
        float *to = job->crew.shared + channel * p->outputs + output * WIDE, taps[9][WIDE] __attribute__((aligned(64)));
        for (int64_t c = 0; c < WIDE; c++)
            for (int64_t tap = 0; tap < 9; tap++)
                taps[8 - tap][c] = from[c * 9 + tap]; /* backward a kernel is turned round */
        for (int64_t c = 0; c < WIDE; c += LANES) {
            FV g[4][3];
            for (int i = 0; i < 3; i++) {
                FV top = LOAD(taps[i] + c), middle = LOAD(taps[3 + i] + c), bottom = LOAD(taps[6 + i] + c);
                g[0][i] = top;
                g[1][i] = (top + bottom + middle) * 0.5f;
                g[2][i] = (top + bottom - middle) * 0.5f;
                g[3][i] = bottom;
            }
            for (int i = 0; i < 4; i++) {
                FV ends = g[i][0] + g[i][2];
                STORE(to + (4 * i) * apart + c, g[i][0]);
                STORE(to + (4 * i + 1) * apart + c, (ends + g[i][1]) * 0.5f);
                STORE(to + (4 * i + 2) * apart + c, (ends - g[i][1]) * 0.5f);
                STORE(to + (4 * i + 3) * apart + c, g[i][2]);
            }
        }
    }
}

static const struct winograd_variant NAME(winograd) = {NAME(lay), NAME(backward), TILES, WIDE};

#undef TILES
#undef WIDE

#include "vectors_end.h"
