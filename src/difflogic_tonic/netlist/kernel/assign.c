/* From nodes to rows of memory: a row is given to the next gate as soon as its last reader has run.
 *
 * The row that was freed last is taken first: it is still in the nearest cache.
 */

#include "program.h"

#include <stdlib.h>

/* Nodes of the program become rows, in place. Node i < inputs is row i. `uses` int32[nodes] is scratch, zeros before.
 * Returns how many rows there are; 0 where there is no memory. */
int64_t netlist_assign(int32_t *program, int64_t words, int64_t inputs, int64_t nodes, int32_t *uses)
{
    int32_t *row = malloc((size_t)nodes * sizeof *row), *vacant = malloc((size_t)nodes * sizeof *vacant);
    int64_t rows = inputs, free_rows = 0;
    int32_t *end = program + words;
    if (!row || !vacant) {
        free(row);
        free(vacant);
        return 0;
    }
    for (int32_t *p = program; p < end;) {
        int32_t kind = *p++, n = kind == SUM ? p[1] + p[2] : p[0];
        p += kind == SUM ? 3 : 1;
        for (int32_t i = 0; i < n; i++, p += kind < SUM ? 3 : 1) {
            uses[p[0]]++;
            if (kind < SUM)
                uses[p[1]]++;
        }
    }
    for (int64_t i = inputs; i-- > 0;) {
        row[i] = (int32_t)i;
        if (!uses[i])
            vacant[free_rows++] = (int32_t)i;
    }
#define READ(p)                                                                                                        \
    do {                                                                                                               \
        int32_t node_ = *(p);                                                                                          \
        *(p) = row[node_];                                                                                             \
        if (!--uses[node_])                                                                                            \
            vacant[free_rows++] = row[node_];                                                                          \
    } while (0)
    for (int32_t *p = program; p < end;) {
        int32_t kind = *p++, n = kind == SUM ? p[1] + p[2] : p[0];
        p += kind == SUM ? 3 : 1;
        for (int32_t i = 0; i < n; i++, p += kind < SUM ? 3 : 1) {
            READ(p);
            if (kind < SUM) {
                READ(p + 1);
                int32_t taken = free_rows ? vacant[--free_rows] : (int32_t)rows++;
                row[p[2]] = taken;
                p[2] = taken;
            }
        }
    }
    free(row);
    free(vacant);
    return rows;
}
