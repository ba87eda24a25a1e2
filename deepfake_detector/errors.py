"""Everything that can go wrong on purpose, as one tree.

    DetectorError
    ├── UnusablePicture      one file can't be judged; a batch skips it and goes on
    │   ├── PictureTooSmall  it has too few pixels to be judged
    │   ├── PictureTooLarge  it has more pixels than are ever decoded
    │   └── NoFace           it can be read, but the crop asked for faces and there is none
    ├── UnknownName          an encoder, head, crop or dataset that does not exist
    ├── WeightsUnavailable   an encoder's or autoencoder's weights are not here and could not be fetched
    ├── AddressRefused       a URL, or the address behind it, that may not be asked for a picture
    ├── StoreError           the store of fetched pictures can't be opened or written
    ├── CacheError           the embedding cache can't be opened or written
    ├── DatasetError         a folder or manifest holds no labelled pictures
    ├── TableError           a table is malformed, or does not fit what it is used with
    ├── EngineError          a distributed engine is not installed, or gave up
    ├── TrainingError        a head can't be trained or measured on this table
    └── BundleError          a trained model on disk is missing, damaged or of another kind

Each message names what was expected, what came, and the next step. `cli.main` prints one as a single line.
"""


class DetectorError(Exception):
    """Anything this package raises on purpose."""


class UnusablePicture(DetectorError):
    """One file can't be judged; the message is the reason, without the file's name."""


class PictureTooSmall(UnusablePicture):
    """A picture with too few pixels to be judged."""


class PictureTooLarge(UnusablePicture):
    """A picture with more pixels than are ever decoded."""


class NoFace(UnusablePicture):
    """A picture without a face, where the crop asked for faces."""


class UnknownName(DetectorError):
    """An encoder, head, crop or dataset that does not exist."""


class WeightsUnavailable(DetectorError):
    """An encoder's or autoencoder's weights are not here and could not be fetched."""


class AddressRefused(DetectorError):
    """A URL, or the address behind it, that may not be asked for a picture."""


class StoreError(DetectorError):
    """The store of fetched pictures can't be opened or written."""


class CacheError(DetectorError):
    """The embedding cache can't be opened or written."""


class DatasetError(DetectorError):
    """A folder or manifest holds no labelled pictures."""


class TableError(DetectorError):
    """A table is malformed, or does not fit what it is used with."""


class EngineError(DetectorError):
    """A distributed engine is not installed, or gave up; what it finished stays."""


class TrainingError(DetectorError):
    """A head can't be trained or measured on this table."""


class BundleError(DetectorError):
    """A trained model on disk is missing, damaged or of another kind."""


def words_of(error: Exception, line: int = 0) -> str:
    """One line of what another library's exception says, the first unless told; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[line].strip()


def kind_and_words(error: Exception) -> str:
    """An exception's kind, and the first line of its words where it has any."""
    kind, words = type(error).__name__, words_of(error)
    return kind if words == kind else f"{kind}: {words[:200]}"


def cause(reason: str) -> str:
    """A reason without its advice, which follows a semicolon: for where that is advice about another case than the one at hand."""
    return reason.partition(";")[0]
