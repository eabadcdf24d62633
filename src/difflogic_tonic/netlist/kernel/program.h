/* A circuit as a stream of 32-bit numbers, and one call that runs it. Written by engine.py, see there for the meaning.
 *
 * A row holds one bit of each sample of a block: ROW words of 64, sample s is bit s % 64 of word s / 64. Instructions:
 *
 *   0 … 15, n            then n times (a, b, row): row = gate of rows a and b; the number is the gate's truth table
 *   SUM, class, n, m     then n + m rows: adds the first n and the complements of the other m to the score of the class;
 *                        scores are 0 before the first such instruction of a class, whose instructions stand together
 *   STATE, n             then n rows: the next state
 */

#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdint.h>

enum { SUM = 16, STATE = 17 };
enum form { BYTES, BITS, PLANES };

#define FEATURE_BLOCKS 40 /* of 64 features: 23 KiB of masks at a time, which the nearest cache holds */
#define AHEAD 512         /* bytes of samples to be asked for before they are read */

/* Mirrored field by field in engine.py. */
struct evaluation {
    int64_t level, wide, threads, samples;
    int64_t inputs, state, classes, depth; /* inputs: those of a frame; depth: bits of a score, at most 32 */
    int64_t rows, words;                   /* of the memory of a block; of the program */
    const int32_t *program;
    int64_t form, stride; /* of `frames`; BYTES, BITS: bytes from a sample to the next; PLANES: unused */
    const uint8_t *frames;
    const uint64_t *state_before; /* [blocks, state, ROW], or 0: all zero */
    uint64_t *state_after;        /* [blocks, state, ROW], or 0 */
    int32_t *scores;              /* [samples, classes], or 0 */
    int32_t *answers;             /* [samples]: the first class with the highest score, or 0 */
    uint64_t *memory;             /* threads * block_words, aligned to 64 bytes */
};

typedef void block_function(const struct evaluation *, int64_t block, uint64_t *memory);

#endif
