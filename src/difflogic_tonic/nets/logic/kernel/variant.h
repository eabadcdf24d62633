/* All of the kernel that depends on the width of vectors: include with LANES and NAME(x) defined. */

#include "vectors.h"
#include "half.h"
#include "mix.h"

#define SAMPLES 16
#define MASK uint16_t
#define VALUE float
#define ROWS(x) NAME(x)
#define LOAD_ROW(p) LOAD(p)
#define STORE_ROW(p, v) STORE(p, v)
#define VALUE_OF_BIT(bit) ((float)(bit))
#include "tile.h"

/* Twice the samples in half the bytes each: a row is one line of the cache either way. */
#define SAMPLES 32
#define MASK uint32_t
#define VALUE uint16_t
#define ROWS(x) NAME(x##_half)
#define LOAD_ROW(p) LOAD_HALF(p)
#define STORE_ROW(p, v) STORE_HALF(p, v)
#define VALUE_OF_BIT(bit) ((uint16_t)((bit) * 0x3c00))
#include "tile.h"

#undef LOAD_HALF
#undef STORE_HALF
#include "vectors_end.h"
