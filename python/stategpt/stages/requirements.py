"""What the later stages need of corpus, tokenizer and settings, checked before the first one trains.

Each of these would otherwise end a run after hours of training, and its remedy is a setting that decides what was
trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.config import RunConfig
from stategpt.data import ChatTemplate, Segment
from stategpt.data.chats.pieces import ChatTokenizer
from stategpt.data.corpus import SIDES, Corpus, Side
from stategpt.data.few_shot import choose_examples, few_shot_document
from stategpt.data.label_sets import require_labels
from stategpt.data.prompts import Purpose, prompts_of
from stategpt.data.records import Conversation, Prompt
from stategpt.data.shard_writing import stored_conversation
from stategpt.errors import ConfigError, ContextOverflow, DataError, InvalidArgument
from stategpt.evaluate.scorers import require_scorer
from stategpt.progress import console
from stategpt.stages.people import prompts_apart_from_judge

_REMEDY = "Raise model.context_tokens and sft.row_tokens, or lower corpus.max_response_characters."


def require_sources(run: RunConfig, corpus: Corpus) -> None:
    """Refuses a mixture that does not name the corpus's sources.

    Raises:
        ConfigError: `data.proportions` is empty or names a source that the corpus does not have, or one that has no
            training documents.
    """
    if "pretrain" not in run.stages:
        return
    known, named = ", ".join(corpus.sources), run.proportions
    if not named:
        raise ConfigError(f"data.proportions is empty; give the sources of the corpus shares that add up to 1: {known}")
    for source, share in named.items():
        if source not in corpus.sources:
            raise ConfigError(f"data.proportions.{source} = {share}: the corpus has no such source; it has {known}")
        if not corpus.sources[source].train:
            if source in run.sources:
                raise DataError(
                    f"sources.{source} has no training documents that are kept; the counts of rejected ones are in "
                    "`stategpt data stats`. Give it more, or leave it out"
                )
            raise ConfigError(
                f"data.proportions.{source} = {share}: the source has no training documents; leave it out, or give the "
                "corpus more"
            )


def require_usable(run: RunConfig, chat: ChatTemplate, corpus: Corpus) -> None:
    """Refuses a run that could not end: no conversations, a prompt or a conversation too long, too few examples.

    Raises:
        ConfigError: a scorer that is not set, or that nothing is named like.
        DataError: no conversations to train on, or none to validate or test with; too few labeled texts.
        InvalidArgument: a conversation without an answer, an untrained or empty one, or fewer short examples than
            `evaluate.few_shot_examples`.
        ContextOverflow: a training conversation, a held-out prompt or the few-shot document with it leaves no room in
            `model.context_tokens`; the message names it.
    """
    require_scorers(run)
    require_labels(run, corpus)
    _require_rankings(run, corpus)
    _require_prompts_apart(run, corpus)
    if not asks_conversations(run):
        _require_prompts(run, corpus)
        return
    _require_conversations(run, corpus)
    context = run.model.context_tokens
    segments_of(chat, corpus.conversations["train"], run.sft_row_tokens)
    train, *held_out = (_prompts(corpus.conversations[side]) for side in SIDES)
    asked = [prompt for prompts in held_out for prompt in prompts]
    for number, prompt in enumerate(asked):
        try:
            chat.prompt(prompt, context_tokens=context)
        except ContextOverflow as error:
            raise ContextOverflow(f"held-out conversation {_name(number, prompt)}: {error} {_REMEDY}") from None
    if "sft" in run.stages:
        _require_few_shot(run, chat.tok, train, asked)


def asks_conversations(run: RunConfig) -> bool:
    """Whether a stage of the run learns from the corpus's conversations, or takes its prompts from them."""
    return bool(run.corpus.source or run.sft.data)


def _require_conversations(run: RunConfig, corpus: Corpus) -> None:
    if not corpus.conversations["train"]:
        if run.sft.data:
            raise DataError(
                "no conversation of sft.data is left; `stategpt data inspect` shows which are rejected and "
                f"why. A row has {run.sft_row_tokens} tokens (sft.row_tokens, model.context_tokens)"
            )
        raise DataError("the corpus has no training conversations; give corpus.paths that its source finds some in")
    for side in SIDES[1:]:
        if not corpus.conversations[side]:
            raise DataError(
                f"the corpus has no {side} conversations; give it more groups, or raise corpus.{side}_share"
            )


def _require_prompts(run: RunConfig, corpus: Corpus) -> None:
    """Every side has a prompt that RL trains on, or that its policies are measured on."""
    if "rl" not in run.stages:
        return
    needed: tuple[tuple[Purpose, Side, str], ...] = (
        ("rl", "train", "to train on"),
        ("evaluate", "validation", "to measure on while it trains"),
        ("evaluate", "test", "to compare systems on"),
    )
    for purpose, side, why in needed:
        if not prompts_of(corpus, purpose, side):
            raise DataError(
                f"rl needs at least one {side} prompt {why}, and there is none. Give {purpose}.prompts, conversations "
                "(sft.data) or rankings of more different prompts"
            )


def _require_prompts_apart(run: RunConfig, corpus: Corpus) -> None:
    """With a judge, RL has prompts of other groups than those that the judge learns from."""
    if not run.trains_judge:
        return
    asked = prompts_of(corpus, "rl", "train")
    kept = prompts_apart_from_judge(asked, corpus, run)
    if asked and not kept:
        raise DataError(
            f"each of the {len(asked)} training prompts of RL is of a group that the judge learns from, and it trains "
            "on none of these. Give rl.prompts of other groups, lower rankings.judge_share, or set evaluate.scorer"
        )
    if len(kept) < len(asked):
        console.print(
            f"notice: rl: {len(asked) - len(kept):,} of {len(asked):,} training prompts are of groups that the judge "
            "learns from, and are left out",
            markup=False,
        )


def _require_rankings(run: RunConfig, corpus: Corpus) -> None:
    """People's rankings have groups with a clear pair to train on and to test with."""
    if not run.rankings.data:
        return
    for side in ("train", "test"):
        found = sum(1 for group in corpus.rankings.get(side, ()) if len(group.pairs))
        if not found:
            raise DataError(
                f"rankings.data gives no {side} prompt with a clear preference; at least one is needed on each side. "
                "Give more rankings of different prompts, or raise corpus.test_share"
            )


def require_scorers(run: RunConfig) -> None:
    """Refuses a run with a stage whose scorer is not set or does not exist."""
    if "rankings" in run.stages and not run.rankings.data:
        require_scorer(run.rankings.scorer, "rankings.scorer", run.rankings.scorer_options)
        if run.rankings.scorer == "reward_model":
            raise ConfigError("rankings.scorer = 'reward_model': it is trained on these rankings; name another scorer")
    if "rl" in run.stages:
        require_scorer(run.rl.scorer, "rl.scorer", run.rl.scorer_options)
    if run.evaluate.scorer:
        require_scorer(run.evaluate.scorer, "evaluate.scorer", run.evaluate.scorer_options)


def segments_of(chat: ChatTemplate, conversations: Sequence[Conversation], context_tokens: int) -> list[Segment]:
    """Conversations as segments of SFT; one that does not fit the context is an error naming it, never cut."""
    segments = []
    for number, conversation in enumerate(conversations):
        try:
            stored_conversation(chat, conversation, chat.control.ends[0], context_tokens)
            segments.append(Segment.of(chat, conversation))
        except ContextOverflow as error:
            raise ContextOverflow(f"conversation {_name(number, conversation)}: {error} {_REMEDY}") from None
        except InvalidArgument as error:
            raise InvalidArgument(f"conversation {_name(number, conversation)}: {error}") from None
    return segments


def _prompts(conversations: Sequence[Conversation]) -> list[Prompt]:
    prompts = []
    for number, conversation in enumerate(conversations):
        try:
            prompts.append(conversation.prompt())
        except InvalidArgument as error:
            raise InvalidArgument(f"conversation {_name(number, conversation)}: {error}") from None
    return prompts


def _name(number: int, record: Conversation | Prompt) -> str:
    """What a message calls a conversation: its number, and its subject or the place it was read from."""
    known = record.meta.get("subject") or record.where
    return f"{number} ({known})" if known else str(number)


def _require_few_shot(run: RunConfig, tok: ChatTokenizer, train: Sequence[Prompt], held_out: Sequence[Prompt]) -> None:
    count, context = run.evaluate.few_shot_examples, run.model.context_tokens
    try:
        examples = choose_examples(train, count, run.evaluate.seed)
    except InvalidArgument as error:
        raise InvalidArgument(f"evaluate.few_shot_examples = {count}: {error}") from None
    number, tokens = _longest_document(tok, examples, held_out)
    if tokens >= context:
        raise ContextOverflow(
            f"evaluate.few_shot_examples = {count}: with held-out prompt {_name(number, held_out[number])} the "
            f"document of examples is {tokens} tokens and the context {context}: no room for an answer. Lower "
            "evaluate.few_shot_examples or raise model.context_tokens."
        )


def _longest_document(tok: ChatTokenizer, examples: Sequence[Prompt], asked: Sequence[Prompt]) -> tuple[int, int]:
    """Index of the prompt whose few-shot document has most tokens, and how many, leading end of text included."""
    counts = [1 + len(tok.encode(few_shot_document(examples, prompt.text))) for prompt in asked]
    longest = max(range(len(asked)), key=counts.__getitem__)
    return longest, counts[longest]
