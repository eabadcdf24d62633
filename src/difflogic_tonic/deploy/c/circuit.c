/* $NAME.c: see $NAME.h. */

#include "$NAME.h"

#include <string.h>

#define ROWS $ROWS   /* words that gates read and write; bits of the inputs come first */
#define DEPTH $DEPTH /* bits of a score */

const char *const ${NAME}_class_names[${NAME}_CLASSES] = {$CLASS_NAMES};

static const uint16_t thresholds[] = {
$THRESHOLDS
};

/* Rows that are counted for a class, and after them those whose complements are. */
static const uint32_t counted[] = {
$COUNTED
};
$NEXT_STATE
$PARTS

/* Adds rows, each xor flip, to a counter whose d-th word has bit d of 64 numbers. Eight rows at a time: Harley-Seal. */
static void count(uint64_t *counter, const uint64_t *v, const uint32_t *rows, int n, uint64_t flip)
{
    int i = 0, d;
#if DEPTH > 3
    for (; i + 8 <= n; i += 8) {
        uint64_t carry[3][4], left = 0;
        int level, k;
        for (k = 0; k < 4; k++) {
            uint64_t x = v[rows[i + 2 * k]] ^ flip, y = v[rows[i + 2 * k + 1]] ^ flip, half = counter[0] ^ x;
            carry[0][k] = (counter[0] & x) | (half & y);
            counter[0] = half ^ y;
        }
        for (level = 1; level < 3; level++)
            for (k = 0; k < 4 >> level; k++) {
                uint64_t x = carry[level - 1][2 * k], y = carry[level - 1][2 * k + 1], half = counter[level] ^ x;
                carry[level][k] = (counter[level] & x) | (half & y);
                counter[level] = half ^ y;
            }
        left = carry[2][0];
        for (d = 3; d < DEPTH && left; d++) {
            uint64_t before = counter[d];
            counter[d] = before ^ left;
            left &= before;
        }
    }
#endif
    for (; i < n; i++) {
        uint64_t left = v[rows[i]] ^ flip;
        for (d = 0; d < DEPTH && left; d++) {
            uint64_t before = counter[d];
            counter[d] = before ^ left;
            left &= before;
        }
    }
}

/* v begins with the inputs. planes[k][d] gets bit d of the scores of class k. */
static void run(uint64_t *v, uint64_t planes[${NAME}_CLASSES][DEPTH]$STATE_PARAMETER)
{
    memset(planes, 0, sizeof(uint64_t) * ${NAME}_CLASSES * DEPTH);
$CALLS
}

static uint32_t number(const uint64_t *counter, int s)
{
    uint32_t sum = 0;
    int d;
    for (d = 0; d < DEPTH; d++)
        sum |= (uint32_t)(counter[d] >> s & 1) << d;
    return sum;
}

void ${NAME}_encode(const uint8_t counts[${NAME}_FEATURES], uint8_t bits[${NAME}_BYTES])
{
    size_t l, f, i = 0;
    memset(bits, 0, ${NAME}_BYTES);
    for (l = 0; l < $LEVELS; l++)
        for (f = 0; f < ${NAME}_FEATURES; f++, i++)
            if (counts[f] >= thresholds[$THRESHOLD_INDEX])
                bits[i / 8] |= (uint8_t)(1u << i % 8);
}

int ${NAME}_one(const uint8_t bits[${NAME}_BYTES]$STATE_PARAMETER, uint32_t scores[${NAME}_CLASSES])
{
    uint64_t v[ROWS], planes[${NAME}_CLASSES][DEPTH];
    int i, k, best = 0;
    for (i = 0; i < ${NAME}_BITS; i++)
        v[i] = bits[i / 8] >> i % 8 & 1;
    run(v, planes$STATE_NAME);
    for (k = 0; k < ${NAME}_CLASSES; k++) {
        scores[k] = number(planes[k], 0);
        if (scores[k] > scores[best])
            best = k;
    }
    return best;
}

void ${NAME}_64(const uint64_t inputs[${NAME}_BITS]$STATE_PARAMETER, uint32_t scores[64 * ${NAME}_CLASSES])
{
    uint64_t v[ROWS], planes[${NAME}_CLASSES][DEPTH];
    int s, k;
    memcpy(v, inputs, sizeof(uint64_t) * ${NAME}_BITS);
    run(v, planes$STATE_NAME);
    for (k = 0; k < ${NAME}_CLASSES; k++)
        for (s = 0; s < 64; s++)
            scores[s * ${NAME}_CLASSES + k] = number(planes[k], s);
}
$BATCH_DEFINITION
