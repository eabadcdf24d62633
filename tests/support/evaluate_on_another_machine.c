/* Runs the evaluator on the problem of the file that it is given, at every level of this machine, and prints the scores.
 *
 * The file: eight int64 (samples, inputs, state, classes, depth, rows, words, form), the stride, the program, the frames.
 * Compiled together with the sources of the kernel, by a cross compiler.
 */

#include "program.h"

#include <stdio.h>
#include <stdlib.h>

int64_t netlist_levels(void);
int64_t netlist_block_words(const struct evaluation *e);
void netlist_run(const struct evaluation *e);

int main(int argc, char **argv)
{
    int64_t head[9];
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : 0;
    if (!file || fread(head, sizeof head, 1, file) != 1)
        return 2;
    int64_t samples = head[0], classes = head[3], words = head[6], frame_bytes = samples * head[8];
    int32_t *program = malloc((size_t)words * 4), *scores = malloc((size_t)(samples * classes) * 4);
    uint8_t *frames = malloc((size_t)frame_bytes);
    if (fread(program, 4, (size_t)words, file) != (size_t)words ||
        fread(frames, 1, (size_t)frame_bytes, file) != (size_t)frame_bytes)
        return 3;
    for (int64_t level = 0; level < 4; level++)
        for (int64_t wide = 0; wide < 2; wide++) {
            if (!(netlist_levels() >> level & 1))
                continue;
            struct evaluation e = {.level = level, .wide = wide, .threads = 2, .samples = samples, .inputs = head[1],
                                   .state = head[2], .classes = classes, .depth = head[4], .rows = head[5],
                                   .words = words, .program = program, .form = head[7], .stride = head[8],
                                   .frames = frames, .scores = scores};
            e.memory = aligned_alloc(64, (size_t)(2 * netlist_block_words(&e)) * 8 + 64 & ~(size_t)63);
            netlist_run(&e);
            printf("%d %d", (int)level, (int)wide);
            for (int64_t i = 0; i < samples * classes; i++)
                printf(" %d", scores[i]);
            printf("\n");
            free(e.memory);
        }
    return 0;
}
