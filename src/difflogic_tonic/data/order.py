"""Which samples, in which order: pure functions of their arguments, never of global random state.

The raw 64-bit stream of Philox and `SeedSequence` are the two parts of numpy's random module whose values are promised
to stay the same in every version, so an order survives an update of numpy, and a resumed run sees the batches that the
uninterrupted one would have seen.
"""

import numpy as np
import numpy.typing as npt

from difflogic_tonic.errors import ConfigError

Rows = npt.NDArray[np.int64]

_ORDER = 0  # one constant per purpose, so that two purposes never share a stream
_SUBSET = 1
_BUCKETS = 2

POOL = 16
"""Batches whose samples are sorted together: the padding of sorting all, near enough, and batches that still vary."""


def permutation(n: int, *key: int) -> Rows:
    """A random order of 0 … n-1 as i64[n], decided by `key` alone (integers >= 0)."""
    stream = np.random.Philox(np.random.SeedSequence(key))
    return np.argsort(stream.random_raw(n), kind="stable").astype(np.int64)


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool) -> Rows:
    """The order of `n` samples in one epoch, i64[n]: shuffled by (seed, epoch), or 0 … n-1."""
    return permutation(n, _ORDER, seed, epoch) if shuffle else np.arange(n, dtype=np.int64)


def bucketed_order(lengths: Rows, batch_size: int, seed: int, epoch: int) -> Rows:
    """An order of one epoch, i64[n], in which cuts of `batch_size` hold samples of similar `lengths` i64[n].

    The shuffled order of the epoch is sorted by length in pools of `POOL` batches (a quarter of an epoch, if that is
    less), and the batches are shuffled again. What does not fill a batch is taken out before and comes last.
    """
    order = epoch_order(len(lengths), seed, epoch, True)
    n_batches = len(order) // batch_size
    pool = max(1, min(POOL, n_batches // 4)) * batch_size
    full, rest = order[: n_batches * batch_size], order[n_batches * batch_size :]
    pools = [full[at : at + pool] for at in range(0, len(full), pool)]
    in_buckets = [samples[np.argsort(lengths[samples], kind="stable")] for samples in pools]
    if not in_buckets:
        return rest
    batches = np.concatenate(in_buckets).reshape(n_batches, batch_size)
    return np.concatenate([batches[permutation(n_batches, _BUCKETS, seed, epoch)].reshape(-1), rest])


def choose_recordings(labels: Rows, subset: float | int | None, seed: int) -> Rows:
    """Rows of a seeded stratified part of the recordings, ascending.

    A float in (0, 1] is a fraction, an integer a number of recordings. Every class gives its share; what is left after
    rounding down goes to the classes with the largest remainders (the lower class first among equals). A larger subset
    under the same seed contains the smaller one as far as the rounding allows. Raises `ConfigError` for a part that is
    empty or larger than what there is.
    """
    n = len(labels)
    if subset is None:
        return np.arange(n, dtype=np.int64)
    wanted = round(subset * n) if isinstance(subset, float) else subset
    if not 1 <= wanted <= n:
        raise ConfigError(
            f"data.subset: {subset} is {wanted} of {n} training recordings; "
            f"expected a fraction in (0, 1] or a number from 1 to {n}"
        )
    classes, per_class = np.unique(labels, return_counts=True)
    # Integer arithmetic: shares that are equal must compare as equal.
    quota, remainder = np.divmod(per_class * wanted, n)
    largest_first = np.argsort(-remainder, kind="stable")
    quota[largest_first[: wanted - quota.sum()]] += 1
    chosen = []
    for label, count in zip(classes, quota, strict=True):
        rows = np.flatnonzero(labels == label)
        chosen.append(rows[permutation(len(rows), _SUBSET, seed, int(label))[:count]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
