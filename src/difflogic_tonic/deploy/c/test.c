/* Checks $NAME.c on the samples of ${NAME}_vectors.h: exit code 0 if every score is right.
 *
 *     cc -O1 $NAME.c ${NAME}_test.c -o ${NAME}_test && ./${NAME}_test
 */

#include "$NAME.h"
#include "${NAME}_vectors.h"

#include <stdio.h>
#include <string.h>

static int wrong(const char *how, int step, int sample)
{
    printf("$NAME: %s gives another score for sample %d of step %d\n", how, sample, step);
    return 1;
}

int main(void)
{
    static uint64_t inputs[${NAME}_BITS];
    static uint8_t bits[${NAME}_BYTES];
    uint32_t scores[64 * ${NAME}_CLASSES];$TEST_STATE
    int step, s, i;
    for (s = 0; s < COUNTED; s++) {
        ${NAME}_encode(counts[s], bits);
        if (memcmp(bits, encoded[s], sizeof bits)) {
            printf("$NAME: ${NAME}_encode gives other bits for frame %d of counts\n", s);
            return 1;
        }
    }
    for (step = 0; step < STEPS; step++) {
        memset(inputs, 0, sizeof inputs);
        for (s = 0; s < 64; s++)
            for (i = 0; i < ${NAME}_BITS; i++)
                inputs[i] |= (uint64_t)(vectors[step][s][i / 8] >> i % 8 & 1) << s;
        ${NAME}_64(inputs$TEST_STATE_64, scores);
        for (s = 0; s < 64; s++)
            if (memcmp(scores + s * ${NAME}_CLASSES, expected[step][s], sizeof expected[step][s]))
                return wrong("${NAME}_64", step, s);
        for (s = 0; s < 64; s++) {
            int k, answer = ${NAME}_one(vectors[step][s]$TEST_STATE_ONE, scores);
            for (k = 0; k < ${NAME}_CLASSES; k++)
                if (scores[k] != expected[step][s][k] || scores[k] > scores[answer])
                    return wrong("${NAME}_one", step, s);
        }$TEST_BATCH
    }
    printf("$NAME: all scores of %d samples are right\n", 64 * STEPS);
    return 0;
}
