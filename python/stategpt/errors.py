"""The errors that this package raises on purpose.

All derive from `StategptError`; where a builtin fits they are that builtin too, so `except ValueError` keeps working.
A message has three parts: what happened, the values, what to do.
"""


class StategptError(Exception):
    """Base of every error raised on purpose by stategpt."""


class InvalidArgument(StategptError, ValueError):
    """A function was called with a value it cannot take."""


class ConfigError(InvalidArgument):
    """A run's configuration is wrong: an unknown key, a value out of range, two settings that contradict."""


class DataError(StategptError, ValueError):
    """Input data cannot be used; the message names the file and the line or offset."""


class CorpusError(DataError):
    """A corpus is missing, empty, unreadable or not UTF-8."""


class RankingError(DataError):
    """Ranking records cannot be used."""


class ScorerError(DataError):
    """A scorer failed, or gave a completion no finite number."""


class ChatTemplateError(DataError):
    """A chat template is malformed, does not render, or hides what a message became; the message names its file."""


class NoChatTemplate(ChatTemplateError):
    """A model folder or file has no chat template, as those of base models."""


class ContextOverflow(DataError):
    """A prompt, document or completion does not fit the context."""


class OutOfPages(StategptError):
    """The keys and values of a step need more pages than the pool has free; nothing was changed."""


class QueueFull(StategptError):
    """As many requests wait as are allowed; the message says how many. Try again later."""


class EngineError(StategptError):
    """The model or a constraint failed while it sampled; the original error is the cause."""


class TokenizerFormatError(DataError):
    """A tokenizer file is malformed, or needs an unsupported feature; the message gives the JSON path."""


class TokenizerUnsupported(TokenizerFormatError):
    """A tokenizer file needs a feature that the engine does not support; the message gives the JSON path."""


class ConstraintError(InvalidArgument):
    """A constraint cannot be compiled, or a token was given to one that does not allow it."""


class UnsupportedSchema(ConstraintError):
    """A JSON schema has a keyword, or a value of one, that is not enforced; the message has its JSON pointer."""


class IncompleteOutput(ConstraintError):
    """A constrained output was cut before it was complete, so it has no value; the message says by what."""


class ConstraintLimit(ConstraintError):
    """A constraint exceeds a limit on its size, its depth or the work of compiling or following it."""


class PatternLimit(DataError):
    """A regular expression exceeds its limit of steps on a text; the limit grows with the text."""


class EndpointError(StategptError):
    """Another program's endpoint refuses, fails, is out of reach or answers what is no answer of its API."""


class NothingAllowed(StategptError, ValueError):
    """No id is left to draw from: settings, a constraint and the model's logits remove every one."""


class NonFiniteLogits(StategptError, ArithmeticError):
    """Logits are NaN or infinite, so no token can be drawn."""


class UnknownToken(StategptError, IndexError):
    """A token id is outside the vocabulary."""


class StorageError(StategptError, OSError):
    """Reading or writing a file failed; the message names the path and the operation."""


class MissingFile(StorageError, FileNotFoundError):
    """A file that was named does not exist."""


class HubError(StorageError):
    """A model could not be fetched from the Hugging Face Hub; the message names it and says what to do."""


class OutOfSpace(StorageError):
    """The disk is full or a quota is reached; nothing was half-written."""


class CorruptArtifact(StategptError):
    """A published folder does not match its manifest: a missing, truncated or altered file."""


class ForeignArtifact(StategptError):
    """An artifact belongs to another tokenizer, configuration, data set or format version."""


class ExportMismatch(StategptError):
    """Another tool does not compute of an exported model what it was exported from; the first difference is named."""


class NotExact(StategptError):
    """Log-probabilities that must be equal to the last bit are not, or this machine or model cannot compute them so."""


class MissingExtra(StategptError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class TrainingDiverged(StategptError):
    """Loss or gradient stayed non-finite; weights are those of the last good step."""
