"""The verdict is what statistics says about the values, whatever one hoped for."""

import json
import math
import re

import numpy as np
import pytest
import torch
from scipy import stats

from bdlcore.notebook.claims import MIME, Claim, claim, stored_claims

SEEDS = range(6)
VALUES = [0.31, 0.12, 0.25, 0.4, 0.18, 0.22]


def measured(values=VALUES, seeds=None, **rule):
    seeds = range(len(values)) if seeds is None else seeds
    return claim("a-name", "A statement.", values, quantity="gain", seeds=seeds, **rule)


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    for name in ("BDL_SEED", "BDL_SCALE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


# --- the rule, against scipy's own test of a mean ---


@pytest.mark.parametrize("n", [3, 6, 30])
@pytest.mark.parametrize("seed", range(20))
def test_one_sided_verdicts_are_those_of_scipys_t_test(n, seed):
    values = np.random.default_rng(seed).normal(0.3, 1.0, n)
    threshold = 0.0
    p_greater = stats.ttest_1samp(values, threshold, alternative="greater").pvalue
    p_less = stats.ttest_1samp(values, threshold, alternative="less").pvalue
    above = "holds" if p_greater < 0.05 else "contradicted" if p_less < 0.05 else "not shown"
    mirror = {"holds": "contradicted", "contradicted": "holds", "not shown": "not shown"}
    assert measured(values, above=threshold).verdict == above
    assert measured(values, below=threshold).verdict == mirror[above]


@pytest.mark.parametrize("n", [3, 6, 30])
def test_bounds_are_scipys_intervals(n):
    values = np.random.default_rng(n).normal(2.0, 1.0, n)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    two_sided = measured(values, between=(0, 9))
    assert (two_sided.lower, two_sided.upper) == pytest.approx((interval.low, interval.high), rel=1e-12)
    one_sided = measured(values, above=0)
    assert one_sided.lower == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95).low, rel=1e-12
    )
    assert one_sided.upper == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95).high, rel=1e-12
    )
    assert (one_sided.mean, one_sided.sd) == pytest.approx((values.mean(), values.std(ddof=1)))


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"above": 0.0}, "holds"),
        ({"above": 0.24}, "not shown"),
        ({"above": 0.5}, "contradicted"),
        ({"below": 0.5}, "holds"),
        ({"below": 0.25}, "not shown"),
        ({"below": 0.0}, "contradicted"),
        ({"between": (0.0, 0.5)}, "holds"),
        ({"between": (0.2, 0.5)}, "not shown"),  # the interval reaches out at one side
        ({"between": (0.24, 0.25)}, "not shown"),  # and at both
        ({"between": (0.5, 1.0)}, "contradicted"),
        ({"between": (-1.0, 0.0)}, "contradicted"),
    ],
)
def test_each_rule_has_three_verdicts(rule, verdict):
    assert measured(**rule).verdict == verdict


@pytest.mark.parametrize("rule", [{"above": 0.3}, {"below": 0.3}, {"between": (0.3, 1)}])
def test_equality_on_every_seed_is_not_shown(rule):
    result = measured([0.3, 0.3, 0.3], **rule)
    assert (result.sd, result.mean, result.verdict) == (0.0, 0.3, "not shown")
    assert "on every seed" in str(result)


def test_five_percent_of_true_nulls_are_called_true():
    values = np.random.default_rng(0).normal(size=(4000, 5))
    rate = np.mean([measured(row, above=0.0).verdict == "holds" for row in values])
    assert abs(rate - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


def test_share_counts_seeds_on_the_claimed_side():
    assert measured([1, 2, -1, 3], above=0).share == 0.75
    assert measured([1, 2, -1, 3], below=0).share == 0.25
    assert measured([1, 2, -1, 3], between=(0, 2.5)).share == 0.5


# --- what goes in ---


@pytest.mark.parametrize(
    "values",
    [
        tuple(VALUES),
        np.array(VALUES),
        np.array(VALUES, dtype=np.float32),
        torch.tensor(VALUES, requires_grad=True),
        [torch.tensor(v) for v in VALUES],
        (v for v in VALUES),
    ],
    ids=["tuple", "numpy", "float32", "tensor", "list of tensors", "generator"],
)
def test_values_may_be_any_row_of_numbers(values):
    result = claim("a-name", "A statement.", values, quantity="gain", above=0, seeds=SEEDS)
    assert result.values == pytest.approx(VALUES, rel=1e-6)
    assert all(type(v) is float for v in result.values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"above": None}, "exactly one of above, below or between; got none"),
        ({"below": 1.0}, "got above and below"),
        ({"above": math.nan}, "above must be finite"),
        ({"above": "0"}, "above must be finite, a plain number"),
        ({"above": None, "between": (1, 0)}, "low < high"),
        ({"above": None, "between": (0, 1, 2)}, "low, high"),
        ({"above": None, "between": 3}, "low, high"),
        ({"values": [1.0, math.nan, 2, 3, 4, 5]}, "item 1 is nan"),
        ({"values": [1.0, 2, 3, 4, 5, math.inf]}, "item 5 is inf"),
        ({"values": [1e308, -1e308, 1e308, 1, 2, 3]}, "too large"),
        ({"values": "123456"}, "values must be"),
        ({"values": [True] * 6}, "values must be"),
        ({"values": [[1.0, 2.0]] * 6}, "values must be"),
        ({"values": [1.0, [2.0], 3, 4, 5, 6]}, "values must be a list"),
        ({"values": 1.0}, "values must be a list"),
        ({"values": []}, "non-empty"),
        ({"values": [1.0, 2.0]}, "2 values for 6 seeds"),
        ({"values": [1.0, 2.0], "seeds": [0, 1]}, "at least 3 seeds .* got 2"),
        ({"seeds": [0, 1, 2, 3, 4, 4]}, "all be different"),
        ({"seeds": [0.5, 1, 2, 3, 4, 5]}, "seeds must be a list of whole numbers"),
        ({"seeds": 6}, "seeds must be a list of whole numbers"),
        ({"name": "Not a slug"}, "lower-case words joined by hyphens"),
        ({"name": ""}, "name must be a text"),
        ({"statement": " "}, "statement must be a text"),
        ({"quantity": None}, "quantity must be a text"),
    ],
)
def test_bad_input_is_named(wrong, message):
    good = {"name": "a", "statement": "s", "values": VALUES, "quantity": "q", "above": 0.0, "seeds": SEEDS}
    with pytest.raises(ValueError, match=message):
        claim(**good | wrong)


def test_bad_seed_shift_is_named(monkeypatch):
    monkeypatch.setenv("BDL_SEED", "two")
    with pytest.raises(ValueError, match="BDL_SEED must be a whole number, 0 or more; got 'two'"):
        measured(above=0)


def test_the_verdict_cannot_be_passed_in():
    with pytest.raises(TypeError):
        measured(above=0, verdict="holds")


# --- what comes out ---


def test_record_holds_everything_as_json(monkeypatch):
    monkeypatch.setenv("BDL_SEED", "3")
    monkeypatch.setenv("BDL_SCALE", "paper")
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/lessons/2_priors/04_images.ipynb")
    record = measured(above=0, seeds=range(3000, 3006)).record()
    assert json.loads(json.dumps(record)) == record
    assert record["seeds"] == list(range(3000, 3006))
    assert (record["seed_shift"], record["scale"], record["lesson"]) == (3000, "paper", "2_priors/04_images")
    assert record["values"] == VALUES
    assert Claim.from_record(record).record() == record


@pytest.mark.parametrize("rule", [{"above": 0}, {"below": 0.2}, {"between": (0.1, 1)}])
def test_an_edited_record_is_refused(rule):
    record = measured(**rule).record()
    assert Claim.from_record(record) == measured(**rule)
    for field, value in {"verdict": "certain", "mean": 9.0, "share": 0.9, "sd": 0.0, "lower": 0.2}.items():
        with pytest.raises(ValueError, match="Execute the notebook again"):
            Claim.from_record(record | {field: value})
    with pytest.raises(ValueError, match="Not a claim record"):
        Claim.from_record({"name": "a"})


def test_line_is_readable_and_safe_in_html():
    line = claim(
        "a",
        "p < 1 & <b>q</b>",
        VALUES,
        quantity="gain",
        unit="nats",
        regime="20 points",
        above=0,
        seeds=SEEDS,
    )
    bundle = line._repr_mimebundle_()
    assert bundle["text/plain"] == str(line)
    assert "\n" not in str(line)
    for part in ("Holds", "[20 points]", "0.247 ± 0.099 nats", "6 of 6", "95 % lower bound 0.165 > 0"):
        assert part in str(line)
    assert "<b>q</b>" not in bundle["text/html"]
    assert "p &lt; 1 &amp;" in bundle["text/html"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([12345.0, 12355, 12365], "12355 ± 10"),
        ([0.001, 0.002, 0.003], "0.0020 ± 0.0010"),
        ([1e-9, 2e-9, 3e-9], "2e-09 ± 1e-09"),
        ([2e9, 3e9, 4e9], "3e+09 ± 1e+09"),
        ([7.0, 7, 7], "7 on every seed"),
    ],
)
def test_numbers_show_two_digits_of_the_spread(values, shown):
    assert measured(values, above=0).number == shown


def test_a_close_bound_shows_enough_digits_to_be_on_its_side():
    result = measured([0.95012, 0.95013, 0.95014], above=0.95)
    assert result.verdict == "holds"
    shown = float(result.evidence.split("bound ")[1].split(" >")[0])
    assert shown > 0.95


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"above": 0.24}, "do not decide whether it is > 0.24"),
        ({"above": 0.5}, "upper bound .* < 0.5"),
        ({"below": 0.5}, "upper bound .* < 0.5"),
        ({"below": 0.0}, "lower bound .* > 0"),
        ({"between": (0, 1)}, "inside 0 to 1"),
        ({"between": (0.2, 1)}, "partly outside 0.2 to 1"),
        ({"between": (2, 3)}, "is outside 2 to 3"),
    ],
)
def test_evidence_says_what_decided(rule, says):
    assert re.search(says, measured(**rule).evidence)


# --- reading it back from a notebook ---


def notebook(*claims):
    outputs = [{"output_type": "display_data", "data": {MIME: c.record()}, "metadata": {}} for c in claims]
    return {"cells": [{"cell_type": "markdown", "source": ""}, {"cell_type": "code", "outputs": outputs}]}


def test_stored_claims_come_back_in_order(tmp_path, monkeypatch):
    path = tmp_path / "lessons" / "1_unit" / "01_one.ipynb"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    first, second = measured(above=0), claim("other", "B.", VALUES, quantity="q", below=0, seeds=SEEDS)
    path.write_text(json.dumps(notebook(first, second, first)))
    assert stored_claims(path) == [first, second]
    path.rename(path.with_name("02_two.ipynb"))
    with pytest.raises(ValueError, match="of the lesson '1_unit/01_one'"):
        stored_claims(path.with_name("02_two.ipynb"))


def test_two_claims_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Two different claims"):
        stored_claims(notebook(measured(above=0), measured(below=0)))
