/* One block of samples through a program. Included once per instruction set and row width.
 *
 * ROW words make a row, LANES of them a vector V; NAME(x) names what belongs to this inclusion, MASK64(p) is the bits of
 * "byte is not 0" of 64 bytes. TAKE4(from, apart, to, to_apart), where there is one: word i of 4 at from + j * apart goes
 * to to[i * to_apart + j].
 */

#define PARTS (ROW / LANES)
#define SAMPLES (64 * ROW)
#define LOAD(p) (*(const V *)(p))
#define STORE(p, v) (*(V *)(p) = (v))

/* One step of a transposition of 64 by 64 bits: blocks of `distance` bits change places between words that are `step`
 * vectors apart. */
INLINE void NAME(swap_bits)(V *z, const int distance, const int step)
{
    static const uint64_t low[6] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
                                    0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
    const uint64_t mask = low[__builtin_ctz(distance)];
    for (int k = 0; k < 8; k++)
        if (!(k & step)) {
            V t = ((z[k] >> distance) ^ z[k | step]) & mask;
            z[k | step] ^= t;
            z[k] ^= t << distance;
        }
}

/* Bit f of word s of a becomes bit s of word f of `to`, in each of the ROW columns of a[64][ROW], which is overwritten. */
static void NAME(transpose)(uint64_t *a, uint64_t *to)
{
    for (int part = 0; part < PARTS; part++)
        for (int half = 0; half < 2; half++)
            for (int k = 0; k < 8; k++) {
                const int64_t offset = (half ? 8 * k : k) * ROW + part * LANES, apart = half ? ROW : 8 * ROW;
                V z[8];
                for (int i = 0; i < 8; i++)
                    z[i] = LOAD(a + offset + i * apart);
                if (half) {
                    NAME(swap_bits)(z, 4, 4);
                    NAME(swap_bits)(z, 2, 2);
                    NAME(swap_bits)(z, 1, 1);
                } else {
                    NAME(swap_bits)(z, 32, 4);
                    NAME(swap_bits)(z, 16, 2);
                    NAME(swap_bits)(z, 8, 1);
                }
                for (int i = 0; i < 8; i++)
                    STORE((half ? to : a) + offset + i * apart, z[i]);
            }
}

/* 64 features of one sample, of which `left` are there. */
INLINE uint64_t NAME(some)(const uint8_t *p, int64_t left, const int form)
{
    uint8_t bytes[64] = {0};
    uint64_t word = 0;
    const int64_t there = left < 64 ? left : 64;
    if (form == BITS) {
        memcpy(&word, p, (size_t)(there + 7) / 8);
        return there < 64 ? word & ((1ull << there) - 1) : word;
    }
    memcpy(bytes, p, (size_t)there);
    return MASK64(bytes);
}

/* The same for `blocks` times 64 features of `count` samples, into words at the places of the samples. */
INLINE void NAME(take_masks)(const struct evaluation *e, const uint8_t *frames, int64_t first, int64_t count,
                             uint64_t (*masks)[SAMPLES + 8], const int form)
{
    const int64_t bytes_each = form == BITS ? 8 : 64, left = e->inputs - first;
#ifdef TAKE4
    if (form == BITS && left >= 64 * FEATURE_BLOCKS && count == SAMPLES) {
        for (int64_t s = 0; s < 64; s++)
            for (int64_t word = 0; word < ROW; word += 4)
                TAKE4(frames + first / 8 + (word * 64 + s) * e->stride, 64 * e->stride, &masks[0][s * ROW + word],
                      SAMPLES + 8);
        return;
    }
#endif
    /* in the order of the words, which then are whole lines of the cache */
    for (int64_t s = 0; s < 64 && s < count; s++)
        for (int64_t word_of_row = 0; word_of_row * 64 + s < count; word_of_row++) {
            const int64_t place = s * ROW + word_of_row;
            const uint8_t *p = frames + first / 64 * bytes_each + (word_of_row * 64 + s) * e->stride;
            if (left >= 64 * FEATURE_BLOCKS) {
                for (int block = 0; block < FEATURE_BLOCKS; block++) {
                    uint64_t word;
                    if (form == BITS)
                        memcpy(&word, p + 8 * block, 8);
                    else
                        word = MASK64(p + 64 * block);
                    masks[block][place] = word;
                    if (form == BYTES) /* what the next turn reads */
                        __builtin_prefetch(p + 64 * (FEATURE_BLOCKS + block));
                }
            } else {
                for (int block = 0; 64 * block < left; block++)
                    masks[block][place] = NAME(some)(p + bytes_each * block, left - 64 * block, form);
            }
        }
}

/* Features of samples as they come into rows. `count` samples are there, the rest is 0. */
static void NAME(take_samples)(const struct evaluation *e, const uint8_t *frames, int64_t count, uint64_t *rows)
{
    uint64_t masks[FEATURE_BLOCKS][SAMPLES + 8] __attribute__((aligned(64)));
    if (count < SAMPLES)
        memset(masks, 0, sizeof masks);
    for (int64_t first = 0; first < e->inputs; first += 64 * FEATURE_BLOCKS) {
        if (e->form == BITS)
            NAME(take_masks)(e, frames, first, count, masks, BITS);
        else
            NAME(take_masks)(e, frames, first, count, masks, BYTES);
        for (int block = 0; block < FEATURE_BLOCKS && first + 64 * block < e->inputs; block++) {
            const int64_t from = first + 64 * block, there = e->inputs - from < 64 ? e->inputs - from : 64;
            NAME(transpose)(masks[block], there < 64 ? masks[block] : rows + from * ROW);
            if (there < 64)
                memcpy(rows + from * ROW, masks[block], (size_t)there * ROW * sizeof(uint64_t));
            if (count < SAMPLES)
                memset(masks[block], 0, sizeof masks[block]);
        }
    }
}

#define GATE(number, expression)                                                                                       \
    case number:                                                                                                       \
        for (int32_t i = 0; i < n; i++, p += 3)                                                                        \
            for (int part = 0; part < PARTS; part++) {                                                                 \
                V a = LOAD(rows + (int64_t)p[0] * ROW + part * LANES);                                                 \
                V b = LOAD(rows + (int64_t)p[1] * ROW + part * LANES);                                                 \
                (void)a;                                                                                               \
                (void)b;                                                                                               \
                STORE(rows + (int64_t)p[2] * ROW + part * LANES, (expression));                                        \
            }                                                                                                          \
        break

static const int32_t *NAME(gates)(int32_t gate, int32_t n, const int32_t *p, uint64_t *rows)
{
    const V zero = {0};
    switch (gate) {
        GATE(0, zero);
        GATE(1, a & b);
        GATE(2, a & ~b);
        GATE(3, a);
        GATE(4, ~a & b);
        GATE(5, b);
        GATE(6, a ^ b);
        GATE(7, a | b);
        GATE(8, ~(a | b));
        GATE(9, ~(a ^ b));
        GATE(10, ~b);
        GATE(11, a | ~b);
        GATE(12, ~a);
        GATE(13, ~a | b);
        GATE(14, ~(a & b));
        GATE(15, ~zero);
    }
    return p;
}

/* Carry-save: the sum of three bits, in place, and the carry. */
#define ADD3(carry, sum, x, y)                                                                                         \
    do {                                                                                                               \
        V s_ = (sum), x_ = (x), y_ = (y), half_ = s_ ^ x_;                                                             \
        (sum) = half_ ^ y_;                                                                                            \
        (carry) = (s_ & x_) | (half_ & y_);                                                                            \
    } while (0)

/* Adds `carry`, of weight 2^from, to the counter. */
INLINE void NAME(ripple)(V *counter, int from, const int depth, V carry)
{
    for (int d = from; d < depth; d++) {
        V before = counter[d * PARTS];
        counter[d * PARTS] = before ^ carry;
        carry &= before;
    }
}

/* Adds n rows, each xor `flip`, to the counter V[depth][PARTS] of one part, eight at a time (Harley-Seal). */
INLINE void NAME(count_rows)(V *counter, const int depth, const uint64_t *rows, const int32_t *p, int32_t n, const V flip)
{
#define NEXT (LOAD(rows + (int64_t)*p++ * ROW) ^ flip)
    int32_t i = 0;
    if (depth > 3) {
        V ones = counter[0], twos = counter[PARTS], fours = counter[2 * PARTS];
        for (; i + 8 <= n; i += 8) {
            V two_a, two_b, four_a, four_b, eight;
            V r0 = NEXT, r1 = NEXT, r2 = NEXT, r3 = NEXT, r4 = NEXT, r5 = NEXT, r6 = NEXT, r7 = NEXT;
            ADD3(two_a, ones, r0, r1);
            ADD3(two_b, ones, r2, r3);
            ADD3(four_a, twos, two_a, two_b);
            ADD3(two_a, ones, r4, r5);
            ADD3(two_b, ones, r6, r7);
            ADD3(four_b, twos, two_a, two_b);
            ADD3(eight, fours, four_a, four_b);
            NAME(ripple)(counter, 3, depth, eight);
        }
        counter[0] = ones;
        counter[PARTS] = twos;
        counter[2 * PARTS] = fours;
    }
    for (; i < n; i++)
        NAME(ripple)(counter, 0, depth, NEXT);
#undef NEXT
}

/* Numbers of `bits` bits from planes [numbers][bits][ROW], by sample. */
static void NAME(put_scores)(const struct evaluation *e, const uint64_t *planes, int64_t first, int64_t count)
{
    const int64_t width = e->depth <= 16 ? 16 : 32, at_once = 64 / width;
    uint64_t a[64 * ROW] __attribute__((aligned(64)));
    for (int64_t k = 0; k < e->classes; k += at_once) {
        int64_t some = e->classes - k < at_once ? e->classes - k : at_once;
        memset(a, 0, sizeof a);
        for (int64_t i = 0; i < some; i++)
            memcpy(a + i * width * ROW, planes + (k + i) * e->depth * ROW, (size_t)e->depth * ROW * sizeof *a);
        NAME(transpose)(a, a);
        for (int64_t s = 0; s < count; s++) {
            uint64_t numbers = a[(s % 64) * ROW + s / 64];
            int32_t *to = e->scores + (first + s) * e->classes + k;
            for (int64_t i = 0; i < some; i++, numbers >>= width % 64)
                to[i] = (int32_t)(numbers & ((1ull << width) - 1));
        }
    }
}

/* The first class with the highest score, by comparing bits of all samples at once. */
static void NAME(put_answers)(const struct evaluation *e, const uint64_t *planes, int64_t first, int64_t count)
{
    uint64_t index[64 * ROW] __attribute__((aligned(64))), best[32 * ROW] __attribute__((aligned(64)));
    memset(index, 0, sizeof index);
    memcpy(best, planes, (size_t)e->depth * ROW * sizeof *best);
    for (int64_t k = 1; k < e->classes; k++)
        for (int part = 0; part < PARTS; part++) {
            const uint64_t *other = planes + k * e->depth * ROW + part * LANES;
            uint64_t *mine = best + part * LANES;
            V more = {0};
            for (int64_t d = 0; d < e->depth; d++) {
                V x = LOAD(other + d * ROW), y = LOAD(mine + d * ROW);
                more = (x & ~y) | ((x | ~y) & more);
            }
            for (int64_t d = 0; d < e->depth; d++) {
                V x = LOAD(other + d * ROW), y = LOAD(mine + d * ROW);
                STORE(mine + d * ROW, y ^ ((x ^ y) & more));
            }
            for (int64_t bit = 0; (e->classes - 1) >> bit; bit++) {
                V before = LOAD(index + bit * ROW + part * LANES);
                STORE(index + bit * ROW + part * LANES, k >> bit & 1 ? before | more : before & ~more);
            }
        }
    NAME(transpose)(index, index);
    for (int64_t s = 0; s < count; s++)
        e->answers[first + s] = (int32_t)index[(s % 64) * ROW + s / 64];
}

static void NAME(take_frames)(const struct evaluation *e, int64_t block, int64_t count, uint64_t *rows)
{
    size_t row_bytes = ROW * sizeof *rows;
    if (e->form == PLANES)
        memcpy(rows, e->frames + (size_t)block * (size_t)e->inputs * row_bytes, (size_t)e->inputs * row_bytes);
    else
        NAME(take_samples)(e, e->frames + block * SAMPLES * e->stride, count, rows);
    if (e->state_before)
        memcpy(rows + e->inputs * ROW, e->state_before + block * e->state * ROW, (size_t)e->state * row_bytes);
    else
        memset(rows + e->inputs * ROW, 0, (size_t)e->state * row_bytes);
}

/* `rows` is followed by the planes of the scores, [classes][depth][ROW]. */
static void NAME(run_block)(const struct evaluation *e, int64_t block, uint64_t *rows)
{
    const int64_t first = block * SAMPLES, left = e->samples - first, count = left < SAMPLES ? left : SAMPLES;
    const int32_t *p = e->program, *end = p + e->words;
    uint64_t *planes = rows + e->rows * ROW;
    NAME(take_frames)(e, block, count, rows);
    memset(planes, 0, (size_t)(e->classes * e->depth * ROW) * sizeof *planes);
    while (p < end) {
        const int32_t kind = *p++, n = kind == SUM ? p[1] : p[0];
        if (kind < SUM) {
            p = NAME(gates)(kind, n, p + 1, rows);
        } else if (kind == SUM) {
            uint64_t *counter = planes + *p * e->depth * ROW;
            const int32_t flipped = p[2];
            p += 3;
            for (int part = 0; part < PARTS; part++) {
                V *mine = (V *)counter + part;
                const V zero = {0};
                NAME(count_rows)(mine, (int)e->depth, rows + part * LANES, p, n, zero);
                NAME(count_rows)(mine, (int)e->depth, rows + part * LANES, p + n, flipped, ~zero);
            }
            p += n + flipped;
        } else {
            for (p++; e->state_after && p < end; p++)
                for (int word = 0; word < ROW; word++)
                    e->state_after[(block * e->state + (n - (end - p))) * ROW + word] = rows[*p * ROW + word];
            p = end;
        }
    }
    if (e->scores)
        NAME(put_scores)(e, planes, first, count);
    if (e->answers)
        NAME(put_answers)(e, planes, first, count);
}

#undef PARTS
#undef SAMPLES
#undef LOAD
#undef STORE
#undef GATE
#undef ADD3
