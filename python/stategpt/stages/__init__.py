"""The stages of a run, one file each, to be read from top to bottom.

| module     | what it does                                             | left in the run folder       |
|------------|----------------------------------------------------------|------------------------------|
| `prepare`  | corpus, tokenizer, token shards                          | corpus/ tokenizer/ data/     |
| `pretrain` | 1: next-token prediction on a mixture of documents       | base/                        |
| `classify` | labeled texts: fine-tuned, prompted, from random weights | classify/                    |
| `sft`      | 2: the same loss on answers only                         | sft/                         |
| `rankings` | K answers of the SFT model to each prompt, in order      | rankings/                    |
| `reward`   | 3: a score at the reward token; the better answer wins   | reward/                      |
| `rl`       | 4: sample, score, do more of what scores well            | rl/                          |
| `compare`  | every system on the same test prompts                    | comparison/                  |

Each holds a function of its name, as in `stategpt.stages.sft.sft(run, folder)` for a `stategpt.config.RunConfig` and
a `stategpt.artifacts.run_folder.RunFolder`; it returns at once when its result is there. `stategpt.run` calls
them in order. `leave_one_out` measures reward models where there are too few prompts to split. A module is imported
when it is first used; they need torch (`MissingExtra` where it is not installed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from . import classify as classify
    from . import compare as compare
    from . import context as context
    from . import leave_one_out as leave_one_out
    from . import prepare as prepare
    from . import pretrain as pretrain
    from . import rankings as rankings
    from . import reward as reward
    from . import rl as rl
    from . import sft as sft

__all__ = [
    "classify",
    "compare",
    "context",
    "leave_one_out",
    "prepare",
    "pretrain",
    "rankings",
    "reward",
    "rl",
    "sft",
]
__getattr__, __dir__ = lazy_names(__name__, {}, submodules=tuple(__all__), torch=True)
