/* Trees of logic neurons over a tile of TILE samples, forward and backward. Included once per instruction set by conv.c.
 *
 * A row is TILE floats, one per sample. A tree is evaluated for SPAN outputs at a time; an output that is pooled has
 * four cells, each with a value of the tree, and is the largest of them. A slot holds a row for each output and cell.
 * Neuron n of a tree reads slots 2n and 2n + 1 and writes slot leaves + n: first come the leaves, the last is the root.
 */

#include "vectors.h"

#define VECTORS (TILE / LANES)
typedef uint8_t NAME(octets) __attribute__((vector_size(LANES), aligned(1), may_alias));

/* Which lanes come from one cell. */
#if LANES == 16
typedef __mmask16 NAME(lanes);
#define CHOSEN(winners, cell) \
    _mm512_cmpeq_epi32_mask(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(winners))), _mm512_set1_epi32(cell))
#define MERGE(v, lanes, p) ((FV)_mm512_mask_load_ps((__m512)(v), lanes, p))
#define ADD_CHOSEN(v, lanes, w) ((FV)_mm512_mask_add_ps((__m512)(v), lanes, (__m512)(v), (__m512)(w)))
#else
typedef IV NAME(lanes);
#define CHOSEN(winners, cell) (__builtin_convertvector(*(const NAME(octets) *)(winners), IV) == (cell))
#if LANES == 8
#define MERGE(v, lanes, p) ((FV)_mm256_blendv_ps((__m256)(v), (__m256)LOAD(p), (__m256)(lanes)))
#else
#define MERGE(v, lanes, p) PICK(lanes, LOAD(p), v)
#endif
#define ADD_CHOSEN(v, lanes, w) ((v) + (FV)((lanes) & (IV)(w)))
#endif

INLINE FV NAME(neuron)(const float *c, FV u, FV v)
{
    return (c[0] + c[1] * u) + v * (c[2] + c[3] * u);
}

/* Neurons that read leaves: `u` and `v` point to the tap of output 0, `places` leads to the others. */
INLINE void NAME(leaf_neuron)(const float *u, const float *v, const int32_t *places, int outputs, const float *c,
                              float *slot)
{
    for (int s = 0; s < outputs; s++, slot += TILE)
        for (int r = 0; r < TILE; r += LANES)
            STORE(slot + r, NAME(neuron)(c, LOAD(u + places[s] + r), LOAD(v + places[s] + r)));
}

INLINE void NAME(inner_neuron)(const float *u, const float *v, int64_t floats, const float *c, float *slot)
{
    for (int64_t i = 0; i < floats; i += LANES)
        STORE(slot + i, NAME(neuron)(c, LOAD(u + i), LOAD(v + i)));
}

/* The largest cell, the first of them where equal, as max_pool2d of torch has it. */
INLINE void NAME(largest)(const float *root, int64_t step, int outputs, float *out, const int32_t *places,
                          uint8_t *winners)
{
    for (int s = 0; s < outputs; s++)
        for (int r = 0; r < TILE; r += LANES) {
            const float *cell = root + s * TILE + r;
            FV best = LOAD(cell);
            IV which = {0};
            for (int k = 1; k < CELLS; k++) {
                FV v = LOAD(cell + k * step);
                IV above = (v > best) | (v != v); /* what is not a number stays to be seen */
                best = (FV)((above & (IV)v) | (~above & (IV)best));
                which = (above & k) | (~above & which);
            }
            STORE(out + places[s] + r, best);
            if (winners)
                *(NAME(octets) *)(winners + s * TILE + r) = __builtin_convertvector(which, NAME(octets));
        }
}

/* One tree at all positions of a tile. `slots`: scratch. */
static void NAME(tree_forward)(const struct trees *t, const float *in, const int32_t *taps, const float *c, float *out,
                               uint8_t *winners, float *slots)
{
    for (int64_t start = 0; start < t->outputs; start += SPAN) {
        int outputs = t->outputs - start < SPAN ? (int)(t->outputs - start) : SPAN;
        int64_t cell = (int64_t)outputs * TILE, slot = cell * t->cells;
        for (int n = 0; n < t->leaves / 2; n++)
            for (int k = 0; k < t->cells; k++)
                NAME(leaf_neuron)(in + taps[2 * n] + t->cell_places[k], in + taps[2 * n + 1] + t->cell_places[k],
                                  t->places + start, outputs, c + 4 * n, slots + n * slot + k * cell);
        /* neuron n goes where its inputs, which nobody else reads, have been */
        for (int first = t->leaves / 2, width = first / 2; width; first += width, width /= 2)
            for (int i = 0; i < width; i++)
                NAME(inner_neuron)(slots + 2 * i * slot, slots + (2 * i + 1) * slot, slot, c + 4 * (first + i),
                                   slots + i * slot);
        if (t->cells == CELLS)
            NAME(largest)(slots, cell, outputs, out, t->out_places + start, winners ? winners + start * TILE : 0);
        else
            for (int s = 0; s < outputs; s++)
                memcpy(out + t->out_places[start + s], slots + s * TILE, TILE * sizeof(float));
    }
}

/* Leaves of the cells that won. */
INLINE void NAME(gather)(const struct trees *t, const float *tap, const int32_t *places, int outputs,
                         const NAME(lanes) *won, float *slot)
{
    const float *p1 = tap + t->cell_places[1], *p2 = tap + t->cell_places[2], *p3 = tap + t->cell_places[3];
    for (int s = 0; s < outputs; s++)
        for (int r = 0; r < TILE; r += LANES, won += CELLS) {
            int64_t at = places[s] + r;
            FV v = LOAD(tap + at);
            if (t->cells == CELLS) {
                v = MERGE(v, won[1], p1 + at);
                v = MERGE(v, won[2], p2 + at);
                v = MERGE(v, won[3], p3 + at);
            }
            STORE(slot + s * TILE + r, v);
        }
}

INLINE void NAME(scatter)(const struct trees *t, float *tap, const int32_t *places, int outputs,
                          const NAME(lanes) *won, const float *slot)
{
    for (int s = 0; s < outputs; s++)
        for (int r = 0; r < TILE; r += LANES, won += CELLS) {
            float *at = tap + places[s] + r;
            FV w = LOAD(slot + s * TILE + r);
            if (t->cells == CELLS)
                for (int k = 0; k < CELLS; k++) {
                    float *p = at + t->cell_places[k];
                    STORE(p, ADD_CHOSEN(LOAD(p), won[k], w));
                }
            else
                STORE(at, LOAD(at) + w);
        }
}

/* Gradients of one neuron; where wanted, its inputs are replaced with their gradients. */
INLINE void NAME(neuron_backward)(float *u, float *v, const float *g, int64_t floats, const float *c, FV *sums,
                                  int down)
{
    FV s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    for (int64_t i = 0; i < floats; i += LANES) {
        FV a = LOAD(u + i), b = LOAD(v + i), w = LOAD(g + i), wa = w * a;
        s0 += w;
        s1 += wa;
        s2 += w * b;
        s3 += wa * b;
        if (down) {
            STORE(u + i, w * (c[1] + c[3] * b));
            STORE(v + i, w * c[2] + wa * c[3]);
        }
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

/* `g`: rows of gradients in the places of the outputs; `gin`: rows that collect those of the inputs, or 0; `gc`: four
 * numbers a neuron, added to. */
static void NAME(tree_backward)(const struct trees *t, const float *in, const int32_t *taps, const float *c,
                                const float *g, const uint8_t *winners, float *gin, float *gc, float *slots)
{
    FV sums[MAX_LEAVES][4] = {{{0}}};
    NAME(lanes) won[SPAN * VECTORS * CELLS];
    int neurons = t->leaves - 1;
    for (int64_t start = 0; start < t->outputs; start += SPAN) {
        int outputs = t->outputs - start < SPAN ? (int)(t->outputs - start) : SPAN;
        const int32_t *places = t->places + start;
        int64_t slot = (int64_t)outputs * TILE;
        if (t->cells == CELLS)
            for (int i = 0; i < outputs * VECTORS; i++)
                for (int k = 0; k < CELLS; k++)
                    won[i * CELLS + k] = CHOSEN(winners + start * TILE + i * LANES, k);
        for (int n = 0; n < t->leaves; n++)
            NAME(gather)(t, in + taps[n], places, outputs, won, slots + n * slot);
        for (int n = 0; n + 1 < neurons; n++)
            NAME(inner_neuron)(slots + 2 * n * slot, slots + (2 * n + 1) * slot, slot, c + 4 * n,
                               slots + (t->leaves + n) * slot);
        float *root = slots + (t->leaves + neurons - 1) * slot;
        for (int s = 0; s < outputs; s++)
            memcpy(root + s * TILE, g + t->out_places[start + s], TILE * sizeof(float));
        for (int n = neurons - 1; n >= 0; n--) {
            float *u = slots + 2 * n * slot, *v = u + slot, *w = slots + (t->leaves + n) * slot;
            if (gin || n >= t->leaves / 2)
                NAME(neuron_backward)(u, v, w, slot, c + 4 * n, sums[n], 1);
            else
                NAME(neuron_backward)(u, v, w, slot, c + 4 * n, sums[n], 0);
        }
        if (gin)
            for (int n = 0; n < t->leaves; n++)
                NAME(scatter)(t, gin + taps[n], places, outputs, won, slots + n * slot);
    }
    for (int n = 0; n < neurons; n++)
        *(loose_four *)(gc + 4 * n) += NAME(sums)(sums[n][0], sums[n][1], sums[n][2], sums[n][3]);
}

static const struct tree_variant NAME(tree_variant) = {NAME(tree_forward), NAME(tree_backward)};

#undef VECTORS
#undef CHOSEN
#undef MERGE
#undef ADD_CHOSEN
#include "vectors_end.h"
