"""Terms of the page in one line each: the tooltip where a term is first used, and the list at the end."""

from collections.abc import Collection, Mapping

from stategpt.report.wording import Names

GLOSSARY: Mapping[str, str] = {
    "token": "A piece of text with a number, its id: the unit that the model reads and predicts.",
    "EOS": "End of text, a control token: it separates documents and ends answers.",
    "BPE": "Byte-pair encoding: a vocabulary grown from bytes by joining the most frequent pair of neighbors.",
    "Epochs": "Passes over the training documents of a source.",
    "nats": "Unit of information (natural logarithm): a loss of x nats is a probability of e^-x for the right token.",
    "bits per byte": "Bits the model needs for each raw byte of a text: it does not depend on the tokenizer.",
    "Kneser-Ney": "The best classical way to predict from counts of the last n symbols.",
    "SFT": "Supervised fine-tuning: training on prompts with the answers that people wrote.",
    "few-shot": "A prompt that holds a few examples, so that the likely continuation is what one wants.",
    "macro-F1": "Mean over the classes of 2 TP / (2 TP + FP + FN): each class counts the same, however rare.",
    "chrF": "Similarity of two texts by the character sequences they share, from 0 to 1.",
    "scorer": "What judges an answer in this run: people, a rule or a model, as the settings name it.",
    "reward": "What {rewarder} gives an answer: one number.",
    "length-only baseline": "A rule that knows only the length of an answer; a reward model should beat it.",
    "calibration": "Whether claims of 70 % are right in 70 % of the cases.",
    "RLHF": "Reinforcement learning from human feedback: sample answers, score them, make better ones more likely.",
    "KL": "Kullback-Leibler divergence: how far the policy has moved from the {policy} model, in nats.",
    "beta": "Weight of the KL in the reward: a smaller beta lets the policy move further.",
    "entropy": "How undecided the policy is: high where many tokens are about equally likely.",
    "advantage": "Reward of a completion minus the mean of the other completions of its prompt.",
    "RLOO": "Leave-one-out REINFORCE: the advantage above weighs every token of its completion.",
    "best-of-n": "Sample n answers and keep the one that {rewarder} likes most.",
    "win rate": "Share of prompts on which the scorer prefers an answer to one of the {policy} model; ties count half.",
    "Elo": "Strength from all pairs of systems: 400 points are odds of ten to one.",
    "distinct-2": "Different pairs of neighboring tokens over all pairs, on equally many pairs of every system.",
    "Intervals": "95 % bootstrap interval: where the number would be for other prompts from the same source.",
    "Mode collapse": "Many prompts get the same few answers.",
    "over-optimization": "More reward and worse answers: the policy exploits errors of {rewarder}.",
}
"""By term, in the order of the page."""
_PROMPTED = {"sft", "compare"}
_OF_STAGES: Mapping[str, set[str]] = {
    "Epochs": {"pretrain"},
    "bits per byte": {"pretrain"},
    "Kneser-Ney": {"pretrain"},
    "SFT": {"sft"},
    "few-shot": {*_PROMPTED, "classify"},
    "macro-F1": {"classify"},
    "chrF": {"sft"},
    "scorer": {"rankings", "rl"},
    "reward": {"reward", "rl"},
    "length-only baseline": {"reward"},
    "calibration": {"reward"},
    **{term: {"rl"} for term in ("RLHF", "KL", "beta", "entropy", "advantage", "RLOO", "over-optimization")},
    **{term: {"compare"} for term in ("best-of-n", "win rate", "Elo", "distinct-2", "Mode collapse")},
}
"""Terms that only pages with one of these stages use."""


def glossary(names: Names, stages: Collection[str]) -> dict[str, str]:
    """The terms that a page of these stages uses."""
    return {
        term: text.format(policy=names.policy, rewarder=names.rewarder)
        for term, text in GLOSSARY.items()
        if not _OF_STAGES.get(term) or _OF_STAGES[term] & set(stages)
    }
