/* All of the kernel that depends on the width of vectors: include with LANES and NAME(x) defined. */

#include "vectors.h"
#include "tile.h"
#include "mix.h"

static const struct variant NAME(variant) = {
    NAME(layer_forward), NAME(group_sums),   NAME(backward_rows), NAME(backward_groups),
    NAME(mix),           NAME(mix_backward), NAME(masks_of_floats), NAME(masks_of_bytes), NAME(rows_of_masks),
#if LANES == 16
    NAME(first_forward), NAME(first_backward),
#else
    0, 0,
#endif
};

#include "vectors_end.h"
