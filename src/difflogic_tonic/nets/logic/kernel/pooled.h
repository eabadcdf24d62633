/* The parts of a pooled convolution that depend on the width of vectors. Included once per instruction set. */

#include "vectors.h"

/* Rows of the kernel, and vectors of a row, that fit in the registers. */
#if LANES == 16
#define ALL_OF_FIVE 5
#define MOST_OF_THREE 8
#define MOST_OF_ONE 16
#else
#define ALL_OF_FIVE 2
#define MOST_OF_THREE 4
#define MOST_OF_ONE 8
#endif

/* Adds the pieces of x that gradients belong to, times these, to the gradients of weights `into`. */
INLINE void NAME(gather)(const struct pooled_entry *list, int64_t n, const float *x, int64_t near, int64_t line,
                         float *into, int64_t row, const int rows, const int vectors)
{
    FV sum[25]; /* no array of variable length: those stay in memory */
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r * vectors + v] = LOAD(into + r * row + v * LANES);
    for (int64_t i = 0; i < n; i++) {
        const float *at = x + list[i].pixel * near;
        FV grad = list[i].grad - (FV){0};
        for (int r = 0; r < rows; r++, at += line) {
            ONE_ADDRESS(at);
            for (int v = 0; v < vectors; v++)
                sum[r * vectors + v] += grad * LOAD_LOOSE(at + v * LANES);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            STORE(into + r * row + v * LANES, sum[r * vectors + v]);
}

/* Adds the weights, times gradients, to the pieces of `grad_x` that these belong to. */
INLINE void NAME(scatter)(const struct pooled_entry *list, int64_t n, float *grad_x, int64_t far, int64_t line,
                          const float *weights, int64_t row, const int rows, const int vectors)
{
    FV weight[25];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            weight[r * vectors + v] = LOAD_LOOSE(weights + r * row + v * LANES);
    for (int64_t i = 0; i < n; i++) {
        float *at = grad_x + list[i].pixel * far;
        FV grad = list[i].grad - (FV){0};
        for (int r = 0; r < rows; r++, at += line) {
            ONE_ADDRESS(at);
            for (int v = 0; v < vectors; v++)
                STORE(at + v * LANES, LOAD(at + v * LANES) + grad * weight[r * vectors + v]);
        }
    }
}

/* One of the two for a whole kernel, as many rows and vectors at once as fit. */
#define PIECES(what, frames, step, line, weights, row, vectors)                                                       \
    {                                                                                                                 \
        int64_t rows = p->kernel_rows == 5 || p->kernel_rows == 3 ? p->kernel_rows : 1;                               \
        for (int64_t r = 0; r < p->kernel_rows; r += rows)                                                            \
            for (int64_t v = 0, left; (left = (vectors) - v) > 0;) {                                                  \
                float *from = (float *)(frames) + r * (line) + v * LANES, *to = (float *)(weights) + r * (row) + v * LANES; \
                if (rows == 5 && left >= ALL_OF_FIVE)                                                                 \
                    NAME(what)(list, n, from, step, line, to, row, 5, ALL_OF_FIVE), v += ALL_OF_FIVE;                 \
                else if (rows == 5)                                                                                   \
                    NAME(what)(list, n, from, step, line, to, row, 5, 1), v += 1;                                     \
                else if (rows == 3 && left >= MOST_OF_THREE)                                                          \
                    NAME(what)(list, n, from, step, line, to, row, 3, MOST_OF_THREE), v += MOST_OF_THREE;             \
                else if (rows == 3 && left >= 3)                                                                      \
                    NAME(what)(list, n, from, step, line, to, row, 3, 3), v += 3;                                     \
                else if (rows == 3)                                                                                   \
                    NAME(what)(list, n, from, step, line, to, row, 3, 1), v += 1;                                     \
                else if (left >= MOST_OF_ONE)                                                                         \
                    NAME(what)(list, n, from, step, line, to, row, 1, MOST_OF_ONE), v += MOST_OF_ONE;                 \
                else                                                                                                  \
                    NAME(what)(list, n, from, step, line, to, row, 1, 1), v += 1;                                     \
            }                                                                                                         \
    }

static void NAME(part)(struct pooled_job *job, float *scratch, int64_t part)
{
    const struct pooled_plan *p = job->plan;
    int64_t pixels = job->together * job->lines * job->pitch, size = p->kernel_rows * job->row;
    float *grad_x = scratch, *x = grad_x + pixels * job->far;
    struct pooled_entry *list = (struct pooled_entry *)(x + rounded_up(pixels * job->near + job->row, 16));
    int32_t *corners = (int32_t *)(list + job->together * p->rows * p->columns + 1);
    for (int64_t i = 0; i < p->rows * p->columns; i++)
        corners[i] = (int32_t)(2 * (i / p->columns) * job->pitch + 2 * (i % p->columns));
    float *into = job->crew.shared + part * job->slab, *bias = into + p->outputs * size;
    memset(into, 0, (size_t)job->slab * sizeof(float));
    int64_t end = p->frames * (part + 1) / job->parts;
    for (int64_t first = p->frames * part / job->parts, next; first < end; first = next) {
        next = first + job->together < end ? first + job->together : end;
        load_frames(job, first, next, x);
        if (p->grad_x)
            memset(grad_x, 0, (size_t)pixels * job->far * sizeof(float));
        for (int64_t output = 0; output < p->outputs; output++) {
            int64_t n = list_gradients(job, first, next, output, corners, list, bias + output);
            int64_t broad = p->kernel_columns * job->far;
            PIECES(gather, x, job->near, job->pitch * job->near, into + output * size, job->row, job->row / LANES)
            if (p->grad_x)
                PIECES(scatter, grad_x, job->far, job->pitch * job->far,
                       p->weights + output * p->kernel_rows * broad, broad, broad / LANES)
        }
        if (p->grad_x)
            store_frames(job, first, next, grad_x);
    }
}

/* The largest of four numbers, and which it is: the first of equal ones, and what is not a number. */
INLINE void NAME(largest_of)(float a, float b, float c, float d, float *largest, int32_t *which)
{
    int32_t at = 0;
    at = b > a || b != b ? 1 : at;
    a = b > a || b != b ? b : a;
    at = c > a || c != c ? 2 : at;
    a = c > a || c != c ? c : a;
    *which = d > a || d != d ? 3 : at;
    *largest = d > a || d != d ? d : a;
}

static void NAME(pool)(struct pooled_job *job, float *scratch, int64_t frame)
{
    const struct pooled_plan *p = job->plan;
    int64_t windows = p->rows * p->columns, n = p->outputs, at = frame * n * windows;
    float *largest = scratch;
    int32_t *which = (int32_t *)(scratch + n * windows);
    const float *y = p->y + frame * p->y_frame;
    if (p->y_channel == 1) {
        for (int64_t i = 0; i < windows; i++) {
            const float *a = y + 2 * (i / p->columns) * p->y_row + 2 * (i % p->columns) * p->y_column;
            const float *b = a + p->y_column, *c = a + p->y_row, *d = c + p->y_column;
            for (int64_t k = 0; k < n; k++)
                NAME(largest_of)(a[k], b[k], c[k], d[k], largest + i * n + k, which + i * n + k);
        }
        for (int64_t k = 0; k < n; k++)
            for (int64_t i = 0; i < windows; i++, at++) {
                p->largest[at] = largest[i * n + k];
                p->place[at] = (uint8_t)which[i * n + k];
            }
        return;
    }
    for (int64_t k = 0; k < n; k++)
        for (int64_t row = 0; row < p->rows; row++, at += p->columns) {
            const float *a = y + k * p->y_channel + 2 * row * p->y_row, *c = a + p->y_row;
            for (int64_t i = 0; i < p->columns; i++)
                NAME(largest_of)(a[2 * i], a[2 * i + 1], c[2 * i], c[2 * i + 1], p->largest + at + i, which + i);
            for (int64_t i = 0; i < p->columns; i++)
                p->place[at + i] = (uint8_t)which[i];
        }
}

static const struct pooled_variant NAME(pooled) = {NAME(pool), NAME(part), LANES};

#undef ALL_OF_FIVE
#undef MOST_OF_THREE
#undef MOST_OF_ONE
#undef PIECES

#include "vectors_end.h"
