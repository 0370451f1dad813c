"""Runs that start from models of other families: their ids, chat template and reserved tokens in every stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
transformers = pytest.importorskip("transformers", reason="writes the models and reads what is published")

import stategpt as sg  # noqa: E402
from foreign_folders import FOREIGN, Foreign, write_chats  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.artifacts import read_lines  # noqa: E402
from stategpt.artifacts.run_folder import RunFolder  # noqa: E402
from stategpt.cli import main  # noqa: E402
from stategpt.config import load  # noqa: E402
from stategpt.data import Message, Rankings, ranking_batches, reward_sequence  # noqa: E402
from stategpt.data.chats.template import ChatTemplate  # noqa: E402
from stategpt.model import GPT, RewardModel, undrawn_ids  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.sft import open_batches  # noqa: E402

pytestmark = pytest.mark.xdist_group("foreign_run")

QUESTION = [Message("user", "What is the river number 7?"), Message("assistant", "Copper.")]


@pytest.fixture(scope="module", params=list(FOREIGN))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Foreign, StageContext]:
    """A finished run from a foreign folder, on a user's file of chats."""
    foreign = FOREIGN[request.param]
    project = tmp_path_factory.mktemp("foreign")
    foreign.write(project / "given")
    write_chats(project / "chats.jsonl")
    (project / "mine.toml").write_text(foreign.run_settings)
    sg.run(load(project / "mine.toml"), project / "run")
    return foreign, StageContext.of(load(project / "run" / "run.toml"), RunFolder(project / "run"))


@pytest.fixture
def foreign(made: tuple[Foreign, StageContext]) -> Foreign:
    return made[0]


@pytest.fixture
def context(made: tuple[Foreign, StageContext]) -> StageContext:
    return made[1]


def _given(context: StageContext) -> Path:
    return context.folder.root.parent / "given"


def _segments(context: StageContext) -> Iterator[tuple[list[int], list[int], list[bool]]]:
    """Tokens, targets and mask of every conversation that SFT reads in an epoch."""
    batches = open_batches(context)
    rows = sum(source.num_rows for source in batches.rows.sources.values())
    for number in range(rows):
        batch = batches.rows.batch(number, 1)
        assert batches._changed is not None
        batch = batches._changed(batch)
        starts = batch.layout.segment_start
        for first in np.unique(starts[batch.doc_ids != 2**64 - 1]):
            where = np.flatnonzero(starts == first)
            if len(where) > 1:
                assert batch.layout.position[where].tolist() == list(range(len(where)))
                yield batch.tokens[where].tolist(), batch.targets[where].tolist(), batch.loss_mask[where].tolist()


def test_sft_reads_the_ids_of_the_template_and_trains_on_its_answers(context: StageContext) -> None:
    chat = ChatTemplate.load(_given(context), context.tok)
    conversations = context.corpus().conversations["train"]
    read = {tuple(tokens): (targets, mask) for tokens, targets, mask in _segments(context)}
    assert len(read) == len(conversations)
    for conversation in conversations:
        encoded = chat.encode(conversation)
        last = int(np.flatnonzero(encoded.loss_mask)[-1])
        targets, mask = read[tuple(encoded.ids[:last].tolist())]
        assert targets == encoded.ids[1 : last + 1].tolist()
        assert mask == encoded.loss_mask[1 : last + 1].tolist()
        assert int(encoded.ids[last]) == chat.end_ids[0]


def test_no_padding_is_trained_on(context: StageContext) -> None:
    batches = open_batches(context)
    for step in range(3):
        for batch in next(iter(batches.updates(step))):
            assert not set(batch.targets_M.tolist()) & {*context.control.forbidden, context.control.reward}


def test_control_ids_are_of_template_folder_and_vocabulary(foreign: Foreign, context: StageContext) -> None:
    ids, control = context.tok.special_tokens, context.control
    assert {ids[name] for name in foreign.ends} | {context.chat.end_ids[0]} == {*control.ends}
    assert control.ends[0] == ChatTemplate.load(_given(context), context.tok).end_ids[0]
    assert control.reward not in {*control.ends, control.pad, control.begin, control.end_of_text}
    assert control.reward == ids.get("<|reserved_special_token_0|>", context.tok.vocab_size)
    roles = {number for name, number in ids.items() if "start" in name or "header" in name}
    assert roles <= {*control.forbidden}
    assert not {*control.ends} & {*control.forbidden}
    assert control.pad in {*control.forbidden, *control.ends}


def test_sampled_rankings_end_as_the_template_does_and_hold_no_role(context: StageContext) -> None:
    rows = read_lines(context.folder.stage("rankings") / "records" / "train.jsonl")
    written = [token for row in rows for each in row["completions"] for token in each["ids"]]
    assert not set(written) & {*context.control.forbidden, context.control.reward}
    ended = [each["ids"][-1] for row in rows for each in row["completions"] if each["ended"]]
    assert set(ended) <= {*context.control.ends}


def test_the_reward_token_is_last_behind_prompt_and_completion(context: StageContext) -> None:
    rankings = Rankings.read(context.folder.stage("rankings") / "records" / "train.jsonl")
    for arrange in ("rows", "shared_prefix"):
        batch = ranking_batches(rankings, context.tok, 2, arrange, context_tokens=160, chat=context.chat)[0]
        assert set(batch.tokens[batch.reward_index].tolist()) == {context.control.reward}
        assert (batch.tokens == context.control.reward).sum() == len(batch.reward_index)
    group = {group.id: group for group in rankings.groups}[batch.ids[0]]
    prompt = context.chat.prompt(group.prompt).tolist()
    assert batch.tokens[: len(prompt)].tolist() == prompt
    end = int(batch.reward_index[0])
    assert group.token_ids is not None
    assert batch.tokens[len(prompt) : end].tolist() == group.token_ids[0].tolist()


def test_the_policy_never_gives_forbidden_tokens_a_chance(context: StageContext) -> None:
    policy = context.load_model("rl")
    engine = context.engine(policy)
    forbidden = {*context.control.forbidden, *range(context.tok.vocab_size, policy.config.vocab_size)}
    assert set(undrawn_ids(policy, context.tok, context.chat)) == forbidden
    drawn = engine.generate([context.chat.prompt("Why?")], n=400, temperature=50.0, max_tokens=6)
    assert not {int(token) for each in drawn for token in each.ids} & forbidden
    assert {int(each.ids[-1]) for each in drawn if each.ended} <= {*context.control.ends}


def test_the_shapes_of_the_start_model_stay_and_the_reward_model_holds_its_token(
    foreign: Foreign, context: StageContext
) -> None:
    given = GPT.from_pretrained(_given(context))
    for stage in ("base", "sft", "rl"):
        model = context.load_model(stage)
        assert (model.config, model.special_ids) == (given.config, given.special_ids)
        assert not model.initialized_here
        assert model.learning_rate_scales() == {}
    reward = RewardModel.from_pretrained(context.folder.model("reward"))
    token = context.control.reward
    assert reward.reward_token == token
    assert reward.gpt.config.vocab_size == max(given.config.vocab_size, token + 1)
    assert reward.learning_rate_scales() == {}
    if token >= given.config.vocab_size:
        sft = context.load_model("sft").embed_tokens.weight.detach()
        assert not torch.equal(reward.gpt.embed_tokens.weight[token], torch.zeros_like(sft[0]))
    with pytest.raises(sg.errors.ForeignArtifact, match="learned with id"):
        reward.require_reward_token(token - 1)


def test_transformers_reads_what_is_published(foreign: Foreign, context: StageContext) -> None:
    for stage in ("sft", "rl"):
        folder = context.folder.model(stage)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        messages = [{"role": each.role, "content": each.content} for each in QUESTION]
        ids = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True, return_dict=False)
        assert ids == context.chat.prompt(QUESTION[:1]).tolist()
        whole = tokenizer.apply_chat_template(messages, return_dict=False)
        assert whole == context.chat.encode(QUESTION).ids.tolist()
        ours = context.load_model(stage)
        with torch.no_grad():
            expected = theirs(torch.tensor([whole])).logits[0]
            found = ours.unembed(Decoding(ours)(torch.tensor([whole]))[0])
        assert torch.allclose(found, expected, atol=1e-4)
        generation = json.loads((folder / "generation_config.json").read_text())
        assert generation == json.loads((_given(context) / "generation_config.json").read_text())
        assert theirs.generation_config.eos_token_id == [context.tok.special_tokens[name] for name in foreign.ends]


def test_commands_read_the_models_of_the_run(foreign: Foreign, context: StageContext, tmp_path: Path) -> None:
    root = context.folder.root
    for asked in ([str(root)], [str(root), "--stage", "base"], [str(context.folder.model("sft"))]):
        assert main(["chat", *asked, "--prompt", "Why?", "--max-tokens", "2"]) == 0
    plain = ["chat", str(_given(context)), "--prompt", "Why?", "--max-tokens", "2"]
    assert main(plain) == (2 if foreign.pieces else 0), "no folder chooses the tokenizers library"
    assert main([*plain, "--engine", "tokenizers"]) == 0
    for stage in ("sft", "reward"):
        out = tmp_path / stage
        assert main(["export", str(root), "--stage", stage, "--to", "hf", "--out", str(out)]) == 0
        folders = (out, context.folder.model(stage))
        theirs, given = (transformers.AutoTokenizer.from_pretrained(each) for each in folders)
        messages = [{"role": each.role, "content": each.content} for each in QUESTION]
        ids = [each.apply_chat_template(messages, return_dict=False) for each in (theirs, given)]
        assert ids[0] == ids[1]


def test_transformers_scores_as_the_reward_model_does(context: StageContext) -> None:
    folder = context.folder.model("reward")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [{"role": each.role, "content": each.content} for each in QUESTION]
    ids = tokenizer.apply_chat_template(messages, return_dict=False)
    prompt = context.chat.prompt(QUESTION[:1])
    encoded = context.chat.encode(QUESTION)  # what the template writes around the answer's text included
    answer = encoded.ids[prompt.size : int(np.flatnonzero(encoded.loss_mask)[-1]) + 1]
    assert context.tok.decode(answer[:-1]).strip() == "Copper."
    assert ids == reward_sequence(prompt, answer, context.control).tolist()
    model = RewardModel.from_pretrained(folder)
    ours = context.reward_scorer(model).scores([prompt], [answer])[0] - model.reward_offset
    pad = theirs.config.pad_token_id
    with torch.no_grad():
        alone = float(theirs(torch.tensor([ids])).logits)
        mask = torch.tensor([[1] * len(ids) + [0] * 3])
        padded = float(theirs(torch.tensor([[*ids, pad, pad, pad]]), attention_mask=mask).logits)
    assert alone == pytest.approx(ours, abs=1e-4)
    assert padded == pytest.approx(ours, abs=1e-4)
