"""Size of the batches in which TFX's components read examples."""

from __future__ import annotations

from absl import flags
from tfx_bsl.coders import batch_util

_BY_BYTES = "tfxio_use_byte_size_batching"


def bound_batches() -> None:
    """Makes every TFXIO source of this process end a batch at 20 MiB of serialised examples.

    Otherwise a batch has up to 1,000 examples, however long they are: 1,000 timelines of
    100,000 events each would be in memory together, as Arrow columns and as tensors. One
    event takes some 40 bytes, so 20 MiB are about half a million events, or one
    longer timeline. Short examples come up to 8,192 at a time. The sizes are TFXIO's own.

    Sources read the flag when a Beam job is built, so the executors of the components call
    this first; workers are told with the job.

    Raises:
        AttributeError: This version of TFXIO batches in another way.
    """
    if _BY_BYTES not in flags.FLAGS or not hasattr(batch_util, "GetBatchElementsKwargs"):
        raise AttributeError(
            f"tfx_bsl has no flag `{_BY_BYTES}` any more: find out how this version bounds its "
            "batches, and adapt `bound_batches`."
        )
    flags.FLAGS.set_default(_BY_BYTES, True)
