"""The training loop: equal starts, honest records, bit-identical resume, plain words for trouble."""

import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.config import Config, ConfigError
from core.data import Dataset, Split, load
from core.dropout import TECHNIQUES, Variational, dropouts, noise_parameters
from core.training import Progress, Trainer, choose_device, environment, evaluate
from core.training.products import by_onednn

NAMES = ("none", *TECHNIQUES)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """230 training digits: two batches of 100 and one of 30."""
    some = torch.arange(230)
    train = Split(digits.train.x[some], digits.train.y[some])
    return Dataset(**{**{f: getattr(digits, f) for f in digits.__dataclass_fields__}, "train": train})


def trainer(data: Dataset, **settings: object) -> Trainer:
    return Trainer(Config(**{"epochs": 2, "width": 0.25, "device": "cpu", "record_every": 1e9, **settings}), data)


def test_few_training_images_are_the_same_for_every_seed_and_the_others_validate(digits: Dataset) -> None:
    runs = [trainer(digits, train_size=100, seed=seed) for seed in (0, 1)]
    data = runs[0].data
    assert torch.equal(data.train.x, runs[1].data.train.x)
    assert (len(data.train), runs[0].steps_per_epoch) == (100, 1)
    assert len(data.train) + len(data.validation) == len(digits.train) + len(digits.validation)

    def images(*splits: Split) -> list[bytes]:
        return sorted(x.numpy().tobytes() + bytes([int(y)]) for s in splits for x, y in zip(s.x, s.y, strict=True))

    assert images(data.train, data.validation) == images(digits.train, digits.validation)
    assert torch.equal(data.test.x, digits.test.x)
    assert (data.mean, data.std) == (digits.mean, digits.std)
    # A tenth of each class, give or take: P(fewer than 2 of 100) < 0.0004 a class.
    assert int(data.train.y.bincount(minlength=10).min()) >= 2
    assert torch.equal(trainer(digits, train_size=len(digits.train)).data.train.x, digits.train.x)
    with pytest.raises(ConfigError, match=r"train_size must be at most 1,366, what Digits has, got 1,367\."):
        trainer(digits, train_size=1367)


def test_every_technique_starts_from_the_same_weights(few: Dataset) -> None:
    reference = trainer(few, technique="none").model.state_dict()
    for name in NAMES:
        state = trainer(few, technique=name).model.state_dict()
        for key, value in reference.items():
            assert torch.equal(state[key], value), f"{name}: {key}"
    other = trainer(few, technique="none", seed=1).model.state_dict()
    assert any(not torch.equal(other[key], value) for key, value in reference.items())


def test_every_technique_sees_the_examples_in_the_same_order(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    original = Dataset.normalise

    def spy(self: Dataset, x: torch.Tensor) -> torch.Tensor:
        seen.append(x.flatten(1).sum(1))
        return original(self, x)

    monkeypatch.setattr(Dataset, "normalise", spy)
    orders = []
    for name in NAMES:
        seen.clear()
        run = trainer(few, technique=name, epochs=1)
        for _ in range(run.steps_per_epoch):
            run._train_step()
        orders.append(torch.cat(seen))
    assert orders[0].sum() == few.train.x.sum(), "an epoch shows every example once"
    for order in orders[1:]:
        assert torch.equal(order, orders[0])


def test_two_epochs_differ_in_order(few: Dataset) -> None:
    run = trainer(few)
    run._start_epoch(0)
    first = torch.cat(run._batches[1])
    run._start_epoch(1)
    second = torch.cat(run._batches[1])
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)


def test_records_of_a_run(few: Dataset) -> None:
    records = list(trainer(few, technique="dropcorr", record_every=0.0).run())
    assert [r.kind for r in records] == ["step", "step", "epoch"] * 2 + ["end"]
    assert [r.step for r in records] == [1, 2, 3, 4, 5, 6, 6]
    assert records[0].epoch == pytest.approx(1 / 3)
    for earlier, later in itertools.pairwise(records):
        assert later.train_seconds >= earlier.train_seconds
        assert later.eval_seconds >= earlier.eval_seconds
    steps = [r for r in records if r.kind == "step"]
    assert all(r.images_per_s > 0 and r.val_loss is None and math.isfinite(r.loss) for r in steps)
    assert records[1].eval_seconds == 0.0, "training alone spends nothing on evaluation"
    assert records[3].eval_seconds == records[2].eval_seconds
    epochs = [r for r in records if r.kind == "epoch"]
    assert all(0 <= r.val_accuracy <= 1 and r.train_eval_loss > 0 and r.val_loss > 0 for r in epochs)
    end = records[-1]
    assert end.status == "done"
    assert 0 <= end.test_accuracy <= 1
    assert end.p == (0.2, 0.2)
    assert end.to_dict()["lr"] == 5e-4


def test_an_epoch_record_is_the_mean_over_the_epoch(few: Dataset) -> None:
    run = trainer(few, technique="none", epochs=1, record_every=0.0)
    records = list(run.run())
    sizes = (100, 100, 30)
    step_losses = [records[0].loss, records[1].loss]
    whole = trainer(few, technique="none", epochs=1)
    (epoch, _) = list(whole.run())
    assert epoch.loss == pytest.approx(records[2].loss, rel=1e-6), "how often records come changes nothing"
    last = (epoch.loss * 230 - step_losses[0] * sizes[0] - step_losses[1] * sizes[1]) / sizes[2]
    assert 0 < last < 10


@pytest.mark.parametrize(
    "settings",
    [
        {"technique": "standard"},
        {"technique": "dropconnect", "knobs": {"mask": "example"}},
        {"technique": "variational"},
        {"technique": "standout", "knobs": {"learn": True}},
        {"technique": "dropact", "knobs": {"rescale": "mass", "count": "active"}},
        {"technique": "dropcorr", "knobs": {"refresh_every": 4}},
        {"technique": "dropcorr", "refresh_epochs": 0.5, "refresh_growth": 2.0, "schedule": "linear"},
        {"technique": "dropinv", "precision": "bf16", "schedule": "alternate"},
    ],
    ids=lambda s: "-".join(map(str, s.values())),
)
@pytest.mark.parametrize("stop_after", [2, 3, 5])
def test_resume_is_bit_identical(few: Dataset, settings: dict[str, object], stop_after: int) -> None:
    undisturbed = trainer(few, record_every=0.0, **settings)
    expected = list(undisturbed.run())

    interrupted = trainer(few, record_every=0.0, **settings)
    records = list(itertools.islice(interrupted.run(), stop_after))
    file = io.BytesIO()
    torch.save(interrupted.state(), file)
    file.seek(0)
    torch.manual_seed(987)  # the new process has random numbers of its own
    resumed = trainer(few, record_every=0.0, **settings)
    resumed.load_state(torch.load(file, weights_only=True))
    records += list(resumed.run())

    for key, value in undisturbed.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key

    def measured(r: Progress) -> tuple[object, ...]:
        results = r.loss, r.accuracy, r.val_loss, r.val_accuracy, r.train_eval_loss, r.test_accuracy
        return r.kind, r.step, *results, r.p, r.dropped, r.active_dropped, r.dead, r.layers

    assert [measured(r) for r in records] == [measured(r) for r in expected]
    assert records[-1].train_seconds >= records[stop_after - 1].train_seconds, "time goes on from where it was"


class InterruptionError(Exception):
    """What ends an evaluation."""


@pytest.mark.parametrize("again", ["the same trainer", "another one"])
@pytest.mark.parametrize("at", range(5))
def test_an_evaluation_that_is_interrupted_is_made_again(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, at: int, again: str
) -> None:
    monkeypatch.setattr("core.training.evaluation.EVALUATION_BATCH", 100)  # validation, training, test: 2, 3 and 3
    # An evaluation that draws random numbers, and the weights of another epoch at the end.
    settings = {"technique": "dropconnect", "knobs": {"draws": 2}, "epochs": 2, "early_stop": 1}
    expected = list(trainer(few, **settings).run())

    interrupted = trainer(few, **settings)
    calls = itertools.count()

    def stop() -> None:
        if next(calls) == interruption:
            raise InterruptionError

    whole = trainer(few, **settings)
    counted = itertools.count()
    whole.between = lambda: next(counted)
    list(whole.run())
    interruption = round(at * (next(counted) - 1) / 4)
    interrupted.between = stop
    records: list[Progress] = []
    with pytest.raises(InterruptionError):
        records.extend(interrupted.run())
    resumed = interrupted
    if again == "another one":
        file = io.BytesIO()
        torch.save(interrupted.state(), file)
        file.seek(0)
        resumed = trainer(few, **settings)
        resumed.load_state(torch.load(file, weights_only=True))
    records += list(resumed.run())

    timeless = {"train_seconds": 0.0, "eval_seconds": 0.0, "images_per_s": None}
    assert [replace(r, **timeless) for r in records] == [replace(r, **timeless) for r in expected]


def test_random_numbers_outside_do_not_reach_in(few: Dataset) -> None:
    quiet = list(trainer(few, technique="dropcorr", record_every=0.0).run())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    disturbed = []
    for record in trainer(few, technique="dropcorr", record_every=0.0).run():
        disturbed.append(record)
    assert torch.equal(torch.get_rng_state(), before), "and the run leaves the outside as it was"
    torch.rand(3)
    other = []
    for record in trainer(few, technique="dropcorr", record_every=0.0).run():
        torch.rand(7)
        other.append(record)
    assert [r.loss for r in quiet] == [r.loss for r in disturbed] == [r.loss for r in other]


def test_state_of_another_run_is_refused(few: Dataset) -> None:
    state = trainer(few, technique="dropact").state()
    with pytest.raises(ConfigError, match=r"belongs to another run: technique differ"):
        trainer(few, technique="dropinv").load_state(state)


def test_a_finished_run_goes_on_when_more_epochs_are_asked_for(few: Dataset) -> None:
    run = trainer(few, epochs=1)
    list(run.run())
    more = trainer(few, epochs=2)
    more.load_state(run.state())
    assert [r.kind for r in more.run()] == ["epoch", "end"]


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_not_a_number_stops_the_run_with_a_reason(few: Dataset) -> None:
    run = trainer(few, record_every=0.0)
    with torch.no_grad():
        next(run.model.parameters()).fill_(math.nan)
    *_, end = run.run()
    assert (end.kind, end.status, end.step) == ("end", "failed", 1)
    assert end.reason == "The loss became nan between steps 0 and 1; lower the learning rate or p."
    assert list(run.run()) == []


def test_a_diverging_loss_stops_the_run_with_a_reason(few: Dataset) -> None:
    *_, end = trainer(few, lr=30.0, epochs=20, record_every=0.0).run()
    assert end.status == "failed"
    assert "diverged" in end.reason
    assert "lower the learning rate" in end.reason


def losses(run: Trainer, values: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, Tensor]]:
    """Let the validation loss after each epoch be one of ``values``; epoch → the weights it was asked with."""
    seen: dict[int, dict[str, Tensor]] = {}

    def evaluated(split: Split) -> tuple[float, float]:
        epoch = run.step // run.steps_per_epoch
        seen[epoch] = {name: value.clone() for name, value in run.model.state_dict().items()}
        return values[epoch - 1] if split is run.data.validation else 9.0, 0.5

    monkeypatch.setattr(run, "_evaluate", evaluated)
    return seen


def has(run: Trainer, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize(
    ("values", "last", "reason", "kept"),
    [
        # As low as before is no lower, and one lower epoch begins the count anew.
        ([3.0, 2.0, 2.0, 1.5, 1.6, 1.5, 1.0], 6, "The validation loss has not fallen for 2 epochs. The weights are "
         "those after epoch 4, where the validation loss was lowest.", 4),
        ([3.0, 2.0, 1.0, 0.9, 0.8, 0.7, 0.8], 7, "The weights are those after epoch 6, where the validation loss was "
         "lowest.", 6),
        ([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 7, None, 7),
    ],
)  # fmt: skip
def test_a_run_stops_early_with_its_best_weights(
    few: Dataset, values: list[float], last: int, reason: str | None, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(few, epochs=7, early_stop=2)
    seen = losses(run, values, monkeypatch)
    records = []
    weights = {}
    for record in run.run():
        records.append(record)
        if record.kind == "epoch":
            weights[round(record.epoch)] = seen[round(record.epoch)]
    end = records[-1]
    assert [r.val_loss for r in records[:-1]] == values[:last]
    assert (end.kind, end.status, end.epoch, end.reason) == ("end", "done", last, reason)
    assert [epoch for epoch, held in weights.items() if has(run, held)] == [kept]


def test_the_test_accuracy_of_a_run_that_stopped_early_is_that_of_the_weights_it_keeps(few: Dataset) -> None:
    # So high a rate that the validation loss does not fall for long.
    run = trainer(few, epochs=200, early_stop=1, lr=0.05)
    *_, end = run.run()
    assert end.reason is not None
    assert end.epoch < 200
    assert evaluate(run.model, run.data, run.data.test) == (end.test_loss, end.test_accuracy)


@pytest.mark.parametrize("stop_after", [2, 5])
def test_early_stopping_goes_on_after_a_resume(few: Dataset, stop_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [2.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    settings = {"epochs": 7, "early_stop": 3}
    undisturbed = trainer(few, **settings)
    losses(undisturbed, values, monkeypatch)
    expected = list(undisturbed.run())
    interrupted = trainer(few, **settings)
    losses(interrupted, values, monkeypatch)
    records = list(itertools.islice(interrupted.run(), stop_after))
    file = io.BytesIO()
    torch.save(interrupted.state(), file)
    file.seek(0)
    resumed = trainer(few, **settings)
    losses(resumed, values, monkeypatch)
    resumed.load_state(torch.load(file, weights_only=True))
    records += list(resumed.run())
    assert [(r.kind, r.step, r.reason) for r in records] == [(r.kind, r.step, r.reason) for r in expected]
    assert records[-1].step == 5 * resumed.steps_per_epoch
    assert has(resumed, undisturbed.model.state_dict())


def test_a_run_ends_once_it_has_had_its_time(few: Dataset) -> None:
    run = trainer(few, epochs=10_000, time_budget=0.2)
    records = list(run.run())
    end, before = records[-1], records[-2]
    assert (end.kind, end.status, end.reason) == ("end", "done", "Training has taken the 0.2 s that it was given.")
    assert 0 < end.step < run.total_steps
    assert before.train_seconds >= 0.2
    assert all(record.train_seconds < 0.2 for record in records[:-2])
    assert end.test_accuracy is not None
    # Its steps are those of a run without a limit.
    other = trainer(few, epochs=10_000)
    while other.step < end.step:
        with other._own_random_numbers():
            other._train_step()
    assert has(run, other.model.state_dict())


def test_a_limit_that_is_not_reached_changes_nothing(few: Dataset) -> None:
    plain, limited = (list(trainer(few, **more).run()) for more in ({}, {"early_stop": 9, "time_budget": 1e6}))
    assert [(r.loss, r.val_loss, r.test_loss) for r in plain] == [(r.loss, r.val_loss, r.test_loss) for r in limited]


def test_schedules_set_p_and_the_record_says_so(few: Dataset) -> None:
    records = trainer(few, technique="dropact", p=(0.2, 0.4), schedule="alternate", epochs=3).run()
    assert [r.p for r in records if r.kind == "epoch"] == [(0.2, 0.4), (0.0, 0.0), (0.2, 0.4)]


def test_the_covariance_interval_grows_over_the_epochs(few: Dataset) -> None:
    run = trainer(few, technique="dropcorr", refresh_epochs=1, refresh_growth=2.0)
    run._start_epoch(0)
    assert [layer.refresh_every for layer in dropouts(run.model)] == [3, 3]
    run._start_epoch(2)
    assert [layer.refresh_every for layer in dropouts(run.model)] == [6, 6]


@pytest.mark.parametrize("knobs", [{}, {"form": "weight", "per": "input"}, {"kl": "kingma"}])
def test_the_divergence_enters_the_gradient_once_per_training_set(few: Dataset, knobs: dict[str, object]) -> None:
    gradients = []
    for weight in (0.0, 1.0):
        run = trainer(few, technique="variational", p=0.3, knobs=knobs, kl_weight=weight)
        torch.manual_seed(3)  # the same noise with and without
        run._train_step()
        gradients.append([q.grad.clone() for q in noise_parameters(run.model)])
        layers = [m for m in dropouts(run.model) if isinstance(m, Variational)]
    fresh = trainer(few, technique="variational", p=0.3, knobs=knobs)
    fresh.model.train()(few.normalise(few.train.x[:100]))  # a shared α counts the units it has seen
    total = sum(m.kl() for m in dropouts(fresh.model))
    expected = torch.autograd.grad(total / len(few.train), list(noise_parameters(fresh.model)))
    assert len(layers) == 2
    for without, with_kl, kl in zip(*gradients, expected, strict=True):
        assert torch.allclose(with_kl - without, kl, rtol=1e-3, atol=1e-7)


def test_noise_parameters_have_no_weight_decay(few: Dataset) -> None:
    for technique, knobs, count in (("variational", {}, 2), ("standout", {"learn": True}, 4)):
        run = trainer(few, technique=technique, knobs=knobs)
        weights, noise = run.optimizer.param_groups
        assert (weights["weight_decay"], noise["weight_decay"]) == (1e-3, 0.0)
        assert len(noise["params"]) == count
        assert len(weights["params"]) + count == len(list(run.model.parameters()))


def test_one_step_is_adam_with_l2_on_the_mean_cross_entropy(few: Dataset) -> None:
    run, plain = (trainer(few, technique="none") for _ in range(2))
    optimizer = torch.optim.Adam(plain.model.parameters(), lr=5e-4, weight_decay=1e-3, fused=True)
    run._train_step()
    index = run._batches[1][0]
    with by_onednn(run.device):
        F.cross_entropy(plain.model.train()(few.normalise(few.train.x[index])), few.train.y[index]).backward()
    optimizer.step()
    for (key, mine), theirs in zip(run.model.state_dict().items(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), key


def test_evaluation_is_the_mean_over_all_and_keeps_the_mode(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trainer(few, technique="standard").model.train()
    with torch.no_grad():
        out = model.eval()(few.normalise(few.train.x))
    model.train()
    monkeypatch.setattr("core.training.evaluation.EVALUATION_BATCH", 70)
    loss, accuracy = evaluate(model, few, few.train)
    assert loss == pytest.approx(F.cross_entropy(out, few.train.y).item(), rel=1e-5)
    assert accuracy == pytest.approx((out.argmax(1) == few.train.y).float().mean().item())
    assert model.training


def test_a_state_from_another_device_is_computed_on_as_this_one_does(few: Dataset) -> None:
    first = trainer(few)
    first.advance(steps=3)
    state = first.state()
    for group in state["optimizer"]["param_groups"]:
        group["capturable"] = True
    second = trainer(few)

    second.load_state(state)

    assert [group["capturable"] for group in second.optimizer.param_groups] == [False]
    assert second.optimizer.state_dict()["state"].keys() == state["optimizer"]["state"].keys()


def test_a_last_batch_of_one_is_left_out(few: Dataset) -> None:
    assert trainer(few, batch_size=229).steps_per_epoch == 1
    assert trainer(few, batch_size=115).steps_per_epoch == 2
    assert trainer(few, batch_size=1000).steps_per_epoch == 1
    assert trainer(few, batch_size=1).steps_per_epoch == 230


def test_dropcorr_learns_the_digits(digits: Dataset) -> None:
    *_, end = Trainer(Config(technique="dropcorr", epochs=12, device="cpu"), digits).run()
    # 360 test images: chance is 0.1, and 0.85 lies 47 standard errors above it.
    assert end.test_accuracy > 0.85


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"p": 1.5}, "p is the probability of dropping and must lie between 0 and 1, got 1.5."),
        ({"p": math.nan}, "p is the probability of dropping and must lie between 0 and 1, got nan."),
        ({"p": (0.2, -1)}, "p is the probability of dropping and must lie between 0 and 1, got -1."),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0."),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5."),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1."),
        ({"lr": 0.0}, "lr must be a number above 0, got 0.0."),
        ({"width": math.inf}, "width must be a number above 0, got inf."),
        ({"weight_decay": -1}, "weight_decay must be a number of at least 0, got -1."),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, got 'fp8'."),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, mps, got 'tpu'."),
        ({"network": "resnet"}, "network must be one of auto, digits, mnist, cifar10, got 'resnet'."),
        ({"train_size": 0}, "train_size must be a whole number of at least 1, got 0."),
        ({"early_stop": 0}, "early_stop must be a whole number of at least 1, got 0."),
        ({"early_stop": 1.5}, "early_stop must be a whole number of at least 1, got 1.5."),
        ({"time_budget": 0}, "time_budget must be a number above 0, got 0."),
        ({"time_budget": math.inf}, "time_budget must be a number above 0, got inf."),
        ({"dataset": ""}, "Name a data set: digits, mnist, cifar10 or a folder of class folders."),
        ({"refresh_epochs": 2}, "refresh_epochs is about DropCorr's covariance; standard has none, so leave it out."),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings).validated()
    assert str(caught.value) == sentence


def test_unknown_techniques_options_and_schedules_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no technique 'dropactt'; choose from standard, .* Did you mean dropact\?"):
        Config(technique="dropactt").validated()
    with pytest.raises(ConfigError, match="standard has no option 'count'; it has vanilla"):
        Config(knobs={"count": "layer"}).validated()
    with pytest.raises(ConfigError, match="count must be one of 'layer', 'active', got 'all'"):
        Config(technique="dropact", knobs={"count": "all"}).validated()
    with pytest.raises(ConfigError, match="schedule must be one of constant, alternate, early, late, linear"):
        Config(schedule="never").validated()
    with pytest.raises(ConfigError, match=r"schedule of standout.*constant, alternate, early, late, got 'linear'"):
        Config(technique="standout", schedule="linear").validated()


def test_too_many_probabilities_for_the_network(few: Dataset) -> None:
    with pytest.raises(ConfigError, match="2"):
        trainer(few, p=(0.1, 0.2, 0.3))


def test_config_round_trip() -> None:
    config = Config(technique="dropact", p=(0.1, 0.2), knobs={"count": "active"})
    assert Config.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="There is no setting momentum"):
        Config.from_dict({"momentum": 0.9})


def test_devices() -> None:
    assert choose_device().type in ("cpu", "cuda", "mps")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="device must be auto"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="This machine has no device cuda: torch sees 0 CUDA devices"):
            choose_device("cuda")
    record = environment(choose_device("cpu"))
    assert record["torch"] == torch.__version__.partition("+")[0] or record["torch"] == torch.__version__
    assert record["device_name"]
