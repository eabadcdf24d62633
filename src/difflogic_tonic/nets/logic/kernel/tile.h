/* The layers of one tile of TILE samples, forward and backward. Included once per instruction set, by variant.h.
 *
 * Rows are TILE floats, one per sample, and aligned to 64 bytes; a neuron reads two rows of the layer before:
 *
 *     y = (c0 + c1 a) + b (c2 + c3 a)
 */

INLINE void NAME(rows_forward)(const float *in, float *out, int64_t n, const int32_t *a, const int32_t *b,
                               const float *c, int far)
{
    for (int64_t i = 0; i < n; i++, c += 4, out += TILE) {
        if (far) {
            __builtin_prefetch(in + (int64_t)a[i + AHEAD] * TILE);
            __builtin_prefetch(in + (int64_t)b[i + AHEAD] * TILE);
        }
        const float *pa = in + (int64_t)a[i] * TILE, *pb = in + (int64_t)b[i] * TILE;
        for (int r = 0; r < TILE; r += LANES) {
            FV u = LOAD(pa + r), v = LOAD(pb + r);
            STORE(out + r, (c[0] + c[1] * u) + v * (c[2] + c[3] * u));
        }
    }
}

/* `far`: the rows are many enough not to be in the cache when their turn comes. */
static void NAME(layer_forward)(const float *in, float *out, int64_t n, const int32_t *a, const int32_t *b,
                                const float *c, int far)
{
    if (far)
        NAME(rows_forward)(in, out, n, a, b, c, 1);
    else
        NAME(rows_forward)(in, out, n, a, b, c, 0);
}

/* The last layer is only ever summed, so its rows are never stored. */
static void NAME(group_sums)(const float *in, float *sums, int64_t n, const int32_t *a, const int32_t *b, const float *c,
                             int64_t classes)
{
    int64_t size = n / classes;
    for (int64_t k = 0; k < classes; k++) {
        FV total[TILE / LANES] = {{0}};
        for (int64_t i = k * size; i < (k + 1) * size; i++, c += 4) {
            const float *pa = in + (int64_t)a[i] * TILE, *pb = in + (int64_t)b[i] * TILE;
            for (int r = 0; r < TILE / LANES; r++) {
                FV u = LOAD(pa + r * LANES), v = LOAD(pb + r * LANES);
                total[r] += (c[0] + c[1] * u) + v * (c[2] + c[3] * u);
            }
        }
        for (int r = 0; r < TILE / LANES; r++)
            STORE(sums + k * TILE + r * LANES, total[r]);
    }
}

/* Gradients of n neurons. `g`: their gradient rows, `step` floats apart (0: one row for all). `gin`: rows that collect
 * the gradients of the inputs, or 0. `gc`: gradients of the coefficients, added to unless `fresh`.
 * An index with its sign bit set is the first in the layer to reach its row of `gin`: it sets what the others add to. */
INLINE void NAME(layer_backward)(const float *in, const float *g, int64_t step, float *gin, int64_t n, const int32_t *a,
                                 const int32_t *b, const float *c, float *gc, int fresh)
{
    for (int64_t i = 0; i < n; i++, c += 4, gc += 4, g += step) {
        if (gin) {
            int64_t next_a = (int64_t)(a[i + AHEAD] & INT32_MAX) * TILE;
            int64_t next_b = (int64_t)(b[i + AHEAD] & INT32_MAX) * TILE;
            __builtin_prefetch(in + next_a);
            __builtin_prefetch(in + next_b);
            __builtin_prefetch(gin + next_a, 1);
            __builtin_prefetch(gin + next_b, 1);
        }
        int64_t ra = (int64_t)(a[i] & INT32_MAX) * TILE, rb = (int64_t)(b[i] & INT32_MAX) * TILE;
        IV keep_a = (IV){0} + ~(a[i] >> 31), keep_b = (IV){0} + ~(b[i] >> 31);
        FV s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int r = 0; r < TILE; r += LANES) {
            FV u = LOAD(in + ra + r), v = LOAD(in + rb + r), w = LOAD(g + r), wu = w * u;
            s0 += w;
            s1 += wu;
            s2 += w * v;
            s3 += wu * v;
            if (gin) {
                /* one after the other: a and b may be the same row */
                STORE(gin + ra + r, (FV)((IV)LOAD(gin + ra + r) & keep_a) + w * (c[1] + c[3] * v));
                STORE(gin + rb + r, (FV)((IV)LOAD(gin + rb + r) & keep_b) + (w * c[2] + wu * c[3]));
            }
        }
        four s = NAME(sums)(s0, s1, s2, s3);
        if (!fresh)
            s += *(loose_four *)gc;
        *(loose_four *)gc = s;
    }
}

static void NAME(backward_rows)(const float *in, const float *g, float *gin, int64_t n, const int32_t *a,
                                const int32_t *b, const float *c, float *gc, int fresh)
{
    if (gin)
        NAME(layer_backward)(in, g, TILE, gin, n, a, b, c, gc, fresh);
    else
        NAME(layer_backward)(in, g, TILE, 0, n, a, b, c, gc, fresh);
}

static void NAME(backward_groups)(const float *in, const float *z, float *gin, int64_t n, const int32_t *a,
                                  const int32_t *b, const float *c, float *gc, int fresh, int64_t classes)
{
    int64_t size = n / classes;
    for (int64_t k = 0; k < classes; k++, a += size, b += size, c += 4 * size, gc += 4 * size, z += TILE) {
        if (gin)
            NAME(layer_backward)(in, z, 0, gin, size, a, b, c, gc, fresh);
        else
            NAME(layer_backward)(in, z, 0, 0, size, a, b, c, gc, fresh);
    }
}

/* Bit j of masks[d]: whether feature d of sample j is not 0. Returns whether all values are 0 or 1. */
static int NAME(masks_of_floats)(const float *x, int64_t features, int samples, uint16_t *masks)
{
    int odd = 0;
    memset(masks, 0, (size_t)features * sizeof *masks);
    for (int j = 0; j < samples; j++, x += features)
        for (int64_t d = 0; d < features; d++) {
            int on = x[d] != 0.0f;
            masks[d] |= (uint16_t)(on << j);
            odd |= on & (x[d] != 1.0f);
        }
    return !odd;
}

static void NAME(masks_of_bytes)(const uint8_t *x, int64_t features, int samples, uint16_t *masks)
{
    memset(masks, 0, (size_t)features * sizeof *masks);
    for (int j = 0; j < samples; j++, x += features)
        for (int64_t d = 0; d < features; d++)
            masks[d] |= (uint16_t)((x[d] != 0) << j);
}

/* Rows of 0 and 1 from masks. */
static void NAME(rows_of_masks)(const uint16_t *masks, int64_t features, float *rows)
{
    for (int64_t d = 0; d < features; d++)
        for (int j = 0; j < TILE; j++)
            rows[d * TILE + j] = (float)(masks[d] >> j & 1);
}

#if LANES == 16
/* layer_forward on inputs of 0 and 1 given as masks: the same sums, 32 times fewer bytes to read. */
static void NAME(first_forward)(const uint16_t *in, float *out, int64_t n, const int32_t *a, const int32_t *b,
                                const float *c)
{
    for (int64_t i = 0; i < n; i++, c += 4, out += TILE) {
        __mmask16 u = in[a[i]], v = in[b[i]];
        __m512 p = _mm512_set1_ps(c[0]), q = _mm512_set1_ps(c[2]);
        p = _mm512_mask_add_ps(p, u, p, _mm512_set1_ps(c[1]));
        q = _mm512_mask_add_ps(q, u, q, _mm512_set1_ps(c[3]));
        _mm512_store_ps(out, _mm512_mask_add_ps(p, v, p, q));
    }
}

/* layer_backward on such inputs, which want no gradient. */
static void NAME(first_backward)(const uint16_t *in, const float *g, int64_t n, const int32_t *a, const int32_t *b,
                                 float *gc, int fresh)
{
    for (int64_t i = 0; i < n; i++, gc += 4, g += TILE) {
        __mmask16 u = in[a[i] & INT32_MAX], v = in[b[i] & INT32_MAX];
        __m512 w = _mm512_load_ps(g), wu = _mm512_maskz_mov_ps(u, w);
        four s = NAME(sums)((FV)w, (FV)wu, (FV)_mm512_maskz_mov_ps(v, w), (FV)_mm512_maskz_mov_ps(v, wu));
        if (!fresh)
            s += *(loose_four *)gc;
        *(loose_four *)gc = s;
    }
}
#endif
