"""Preference pairs and their losses, written out as TRL 0.7.2 has them, on Transformers + PEFT in fp32.

A pair is {"prompt", "chosen", "rejected"}: ids of the parts, without the eos that closes an answer.
"""
import torch
from torch.nn.functional import logsigmoid

from golden_hand import HandModel
from golden_model import IGNORE, PeftReference

EOS, PAD = 2, 0
# what a golden case trains with; `label_smoothing` is read by cdpo alone
DEFAULTS = {"loss": "dpo", "beta": 0.1, "label_smoothing": 0.1, "max_length": 40, "max_prompt_length": 12}


def tokenise(pair, rules):
    """The collator: -> (chosen, rejected), each {"ids", "mask", "labels"}."""
    prompt, answers = pair["prompt"], [pair["chosen"], pair["rejected"]]
    # eos inside a text is masked, the one that is appended is not
    masks = [[int(i != EOS) for i in part] for part in [prompt, *answers]]
    prompt_mask, answers = masks[0], [(ids + [EOS], mask + [1]) for ids, mask in zip(answers, masks[1:])]
    longer = max(len(ids) for ids, _ in answers)
    if len(prompt) + longer > rules["max_length"]:
        prompt, prompt_mask = prompt[-rules["max_prompt_length"]:], prompt_mask[-rules["max_prompt_length"]:]
    if len(prompt) + longer > rules["max_length"]:
        room = rules["max_length"] - rules["max_prompt_length"]
        answers = [(ids[:room], mask[:room]) for ids, mask in answers]
    return tuple({"ids": prompt + ids, "mask": prompt_mask + mask, "labels": [IGNORE] * len(prompt) + ids}
                 for ids, mask in answers)


def stack(batch, rules):
    """[chosen of all; rejected of all], padded on the right."""
    pairs = [tokenise(pair, rules) for pair in batch]
    rows = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]
    width = max(len(row["ids"]) for row in rows)
    return {key: torch.tensor([row[key] + [fill] * (width - len(row[key])) for row in rows])
            for key, fill in [("ids", PAD), ("mask", 0), ("labels", IGNORE)]}


def log_probs(logits, labels):
    """(log-probability of each label [R,T-1], 0 where it does not count; which count)"""
    labels = labels[:, 1:].clone()
    counts = labels != IGNORE
    labels[~counts] = 0
    chosen = logits[:, :-1].log_softmax(-1).gather(2, labels.unsqueeze(2)).squeeze(2)
    return chosen * counts, counts


def loss_of(rules, policy, reference, lengths):
    """Mean loss and h of every pair; policy and reference [2B] are summed, chosen first."""
    if rules["loss"] == "ipo":
        policy, reference = policy / lengths, reference / lengths
    (chosen, rejected), (ref_chosen, ref_rejected) = policy.chunk(2), reference.chunk(2)
    h, beta, eps = (chosen - rejected) - (ref_chosen - ref_rejected), rules["beta"], rules["label_smoothing"]
    losses = {"dpo": lambda: -logsigmoid(beta * h),
              "cdpo": lambda: -logsigmoid(beta * h) * (1 - eps) - logsigmoid(-beta * h) * eps,
              "ipo": lambda: (h - 1 / (2 * beta))**2}[rules["loss"]]()
    return losses.mean(), h


class DpoReference(PeftReference):
    def __init__(self, folder, targets, rules):
        super().__init__(folder, targets)
        self.rules = rules

    def log_probs(self, batch):
        """-> (summed log-probabilities [2B], number of tokens [2B])"""
        inputs = stack(batch, self.rules)
        logits = self.model(input_ids=inputs["ids"], attention_mask=inputs["mask"]).logits
        each, counts = log_probs(logits.float(), inputs["labels"])
        return each.sum(1), counts.sum(1)

    def compare(self, adapter, batch):
        """-> (loss with graph, h, policy, reference)"""
        self.load(adapter)
        policy, lengths = self.log_probs(batch)
        with torch.no_grad(), self.model.disable_adapter():
            reference, _ = self.log_probs(batch)
        return *loss_of(self.rules, policy, reference, lengths), policy, reference

    def loss_and_grads(self, adapter, batch):
        self.model.zero_grad(set_to_none=True)
        loss = self.compare(adapter, batch)[0]
        loss.backward()
        return loss.item(), {name: p.grad.clone() for name, p in self.parameters(adapter).items()}


class DpoHand(HandModel):
    """The same with the decoder written by hand: what the mask hides is left out, its positions stay empty."""

    def __init__(self, folder, lora_scale, rules, dtype=torch.float64):
        super().__init__(folder, lora_scale, dtype)
        self.rules = rules

    def log_prob(self, row, adapter):
        """(summed log-probability, number of tokens)"""
        seen = [i for i, mask in enumerate(row["mask"]) if mask]
        logits = self.logits([row["ids"][i] for i in seen], adapter, seen)
        each, counts = log_probs(logits[None], torch.tensor([[row["labels"][i] for i in seen]]))
        return each.sum(), counts.sum()

    def log_probs(self, batch, adapter):
        pairs = [tokenise(pair, self.rules) for pair in batch]
        rows = [self.log_prob(row, adapter) for part in zip(*pairs) for row in part]
        return tuple(torch.stack(column) for column in zip(*rows))

    def loss_and_grads(self, adapter, batch):
        leaves = {name: w.detach().to(self.dtype, copy=True).requires_grad_() for name, w in adapter.items()}
        policy, lengths = self.log_probs(batch, leaves)
        with torch.no_grad():
            reference, _ = self.log_probs(batch, {})
        loss, _ = loss_of(self.rules, policy, reference, lengths)
        return loss.item(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))


def random_pairs(stream, count, shortest=4, longest=14, vocab=160):
    """Random ids from 3 on; every third prompt has an eos between two turns."""
    def ids(low, high):
        return [int(i) for i in stream.integers(3, vocab, int(stream.integers(low, high + 1)))]

    pairs = [{key: ids(shortest, longest) for key in ("prompt", "chosen", "rejected")} for _ in range(count)]
    for pair in pairs[::3]:
        pair["prompt"][len(pair["prompt"]) // 2] = EOS
    return pairs


def awkward_pairs(stream):
    """What the limits do: nothing, the prompt is cut, an answer too (and loses its eos), eos in front, prompt of 1."""
    def ids(n):
        return [int(i) for i in stream.integers(3, 160, n)]

    return [{"prompt": ids(9), "chosen": ids(5), "rejected": ids(8)},
            {"prompt": ids(30), "chosen": ids(12), "rejected": ids(6)},
            {"prompt": ids(20), "chosen": ids(35), "rejected": ids(4)},
            {"prompt": ids(6), "chosen": ids(37), "rejected": ids(39)},
            {"prompt": ids(4) + [EOS] + ids(7) + [EOS] + ids(5), "chosen": ids(7), "rejected": ids(9)},
            {"prompt": [EOS] + ids(3), "chosen": ids(1), "rejected": ids(2)},
            {"prompt": ids(20) + [EOS, EOS] + ids(9), "chosen": ids(10), "rejected": ids(11)},
            {"prompt": ids(1), "chosen": ids(6), "rejected": ids(6)}]
