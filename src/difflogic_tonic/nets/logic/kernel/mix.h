/* Sixteen logits per neuron to four coefficients, and back. Included once per instruction set, by variant.h. */

/* e^x for |x| <= 87, relative error below 2e-7; beyond, e^87 or e^-87. NaN stays NaN. */
INLINE FV NAME(exponential)(FV x)
{
    x = MOST(LEAST((FV){0} + 87.0f, x), (FV){0} - 87.0f);
    FV shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the rounded integer is in the low bits */
    FV whole = shifted - 12582912.0f;
    FV r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f; /* log 2 in two parts */
    FV p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    return (FV)((IV)p + ((IV)shifted << 23));
}

/* Four neurons: sums over the gates with weights e^((logit - shift) / T), one lane per neuron. `corners`: over the gates
 * that are on at 00, 01, 10, 11. Gate g = 4 q + m is on there by its bits 3 (q & 2), 2 (q & 1), 1 (m & 2), 0 (m & 1). */
INLINE four NAME(weigh)(const float *logits, const float *shift, float inverse_temperature, four *corners)
{
    four by_q[4], f10 = {0}, f11 = {0};
    for (int r = 0; r < 16; r += LANES) {
        FV e[4];
        for (int k = 0; k < 4; k++)
            e[k] = NAME(exponential)((LOAD_LOOSE(logits + 16 * k + r) - shift[k]) * inverse_temperature);
        /* blocks of four by four transposed: lane k of block q of m[i] is gate 4 q + i of neuron k */
        FV t0 = SHUFFLE(e[0], e[1], UNPACK_LOW), t1 = SHUFFLE(e[2], e[3], UNPACK_LOW);
        FV t2 = SHUFFLE(e[0], e[1], UNPACK_HIGH), t3 = SHUFFLE(e[2], e[3], UNPACK_HIGH);
        FV m0 = SHUFFLE(t0, t1, PAIRS_LOW), m1 = SHUFFLE(t0, t1, PAIRS_HIGH);
        FV m2 = SHUFFLE(t2, t3, PAIRS_LOW), m3 = SHUFFLE(t2, t3, PAIRS_HIGH);
        four parts[LANES / 4];
        NAME(blocks)(m1 + m3, parts);
        for (int q = 0; q < LANES / 4; q++)
            f11 += parts[q];
        NAME(blocks)(m2 + m3, parts);
        for (int q = 0; q < LANES / 4; q++)
            f10 += parts[q];
        NAME(blocks)((m0 + m1) + (m2 + m3), by_q + r / 4);
    }
    corners[0] = by_q[2] + by_q[3];
    corners[1] = by_q[1] + by_q[3];
    corners[2] = f10;
    corners[3] = f11;
    return (by_q[0] + by_q[1]) + corners[0];
}

INLINE void NAME(mix_four)(const float *logits, float inverse_temperature, float *c, float *norms)
{
    float shift[4] = {0};
    four f[4], total = NAME(weigh)(logits, shift, inverse_temperature, f);
    four_ints fine = (total > 1e-20f) & (total < 1e34f);
    if (!(fine[0] & fine[1] & fine[2] & fine[3])) { /* logits that large need their largest subtracted */
        for (int k = 0; k < 4; k++) {
            shift[k] = logits[16 * k];
            for (int g = 1; g < 16; g++)
                shift[k] = logits[16 * k + g] > shift[k] ? logits[16 * k + g] : shift[k];
        }
        total = NAME(weigh)(logits, shift, inverse_temperature, f);
    }
    four inverse = 1.0f / total;
    for (int k = 0; k < 4; k++)
        f[k] *= inverse;
    four c1 = f[2] - f[0], c2 = f[1] - f[0], c3 = (f[3] - f[2]) - c2;
    for (int k = 0; k < 4; k++) {
        *(loose_four *)(c + 4 * k) = (four){f[0][k], c1[k], c2[k], c3[k]};
        norms[2 * k] = shift[k];
        norms[2 * k + 1] = inverse[k];
    }
}

/* 16 logits per neuron to 4 coefficients of the softmax-weighted gate, or of the likeliest (`straight`: the gradient is
 * that of the weighted one); `norms`: what was subtracted, 1 / sum. */
static void NAME(mix)(const float *logits, float inverse_temperature, int64_t n, float *c, float *norms, int straight)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        NAME(mix_four)(logits + 16 * i, inverse_temperature, c + 4 * i, norms + 2 * i);
    if (i < n) {
        size_t left = (size_t)(n - i);
        float rest[64] = {0}, rest_c[16], rest_norms[8];
        memcpy(rest, logits + 16 * i, left * 64);
        NAME(mix_four)(rest, inverse_temperature, rest_c, rest_norms);
        memcpy(c + 4 * i, rest_c, left * 16);
        memcpy(norms + 2 * i, rest_norms, left * 8);
    }
    for (i = 0; straight && i < n; i++) {
        if (norms[2 * i + 1] != norms[2 * i + 1])
            continue; /* what is not a number stays to be seen */
        int gate = 0;
        for (int g = 1; g < 16; g++)
            gate = logits[16 * i + g] > logits[16 * i + gate] ? g : gate;
        for (int k = 0; k < 4; k++)
            c[4 * i + k] = GATES[k][gate];
    }
}

/* The softmax-weighted gate times gc: what c . gc is where c is not the likeliest gate's. */
INLINE float NAME(weighted_mean)(const float *logits, float inverse_temperature, const float *norms, const float *gc)
{
    FV sum = {0};
    for (int r = 0; r < 16; r += LANES) {
        FV e = NAME(exponential)((LOAD_LOOSE(logits + r) - norms[0]) * inverse_temperature);
        FV g = gc[0] * LOAD(GATES[0] + r) + gc[1] * LOAD(GATES[1] + r);
        g += gc[2] * LOAD(GATES[2] + r);
        g += gc[3] * LOAD(GATES[3] + r);
        sum += e * g;
    }
    float mean = 0;
    for (int k = 0; k < LANES; k++)
        mean += sum[k];
    return mean * norms[1];
}

/* d logits = p (M dc - c . dc) / T, with the p of `mix` computed again */
static void NAME(mix_backward)(const float *logits, float inverse_temperature, int64_t n, const float *c,
                               const float *norms, const float *gc, float *glogits, int straight)
{
    for (int64_t i = 0; i < n; i++, logits += 16, c += 4, norms += 2, gc += 4, glogits += 16) {
        float mean = straight ? NAME(weighted_mean)(logits, inverse_temperature, norms, gc)
                              : c[0] * gc[0] + c[1] * gc[1] + c[2] * gc[2] + c[3] * gc[3];
        float scale = norms[1] * inverse_temperature;
        for (int r = 0; r < 16; r += LANES) {
            FV e = NAME(exponential)((LOAD_LOOSE(logits + r) - norms[0]) * inverse_temperature);
            FV g = gc[0] * LOAD(GATES[0] + r) - mean;
            g += gc[1] * LOAD(GATES[1] + r);
            g += gc[2] * LOAD(GATES[2] + r);
            g += gc[3] * LOAD(GATES[3] + r);
            STORE_LOOSE(glogits + r, (e * scale) * g);
        }
    }
}
