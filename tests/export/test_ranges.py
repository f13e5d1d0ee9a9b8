"""Static ranges: histograms that survive smoothing, and the methods against numpy's and
onnxruntime's own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from awares_edge.calibration.weights import Statistics
from awares_edge.errors import ExportError
from awares_edge.export import histogram
from awares_edge.export.measured import Inputs, Measured, Origin
from awares_edge.export.ranges import entropy_range, input_range, matrix_range, percentile_range
from awares_edge.export.smoothing.smooth import _scaled
from awares_edge.vision.patches import Preprocessing

QUARTER = 1.25
"""The widest bin's upper edge over its lower one."""
LOWEST = 1 / 100
"""Share of a channel's largest that its lowest bin, which also holds all below, may reach."""
CHANNELS = 3


def batches(least=-120, most=120):
    """One or several batches of inputs [n, CHANNELS] of widely different sizes."""
    numbers = st.floats(-1.0, 1.0, width=32)
    rows = hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(CHANNELS)), elements=numbers)
    exponents = st.lists(st.integers(least, most), min_size=CHANNELS, max_size=CHANNELS)
    return st.tuples(st.lists(rows, min_size=1, max_size=4), exponents).map(
        lambda made: [np.ldexp(piece, np.array(made[1])).astype(np.float32) for piece in made[0]]
    )


def measure(*pieces):
    statistics = Statistics()
    for piece in pieces:
        statistics.add("a", piece)
    return statistics.inputs("a")


def tails(seed=0, count=20_000):
    """Inputs as layers have them: normal, with heavy tails, sparse, and of different sizes."""
    rng = np.random.default_rng(seed)
    columns = (
        rng.normal(size=count),
        4 * rng.laplace(size=count),
        rng.normal(size=count) * rng.normal(size=count),
        30 * np.maximum(rng.normal(size=count), 0),
        rng.standard_t(3, size=count),
    )
    return np.stack(columns, axis=1).astype(np.float32)


class TestHistograms:
    @given(batches())
    def test_batches_are_counted_as_if_they_came_at_once(self, pieces):
        whole = np.abs(np.concatenate(pieces))
        expected = histogram.count(whole, whole.max(axis=0))
        counts, largest = None, None
        for piece in map(np.abs, pieces):
            grown = piece.max(axis=0) if largest is None else np.maximum(largest, piece.max(axis=0))
            added = histogram.count(piece, grown)
            counts = added if counts is None else added + histogram.grow(counts, largest, grown)
            largest = grown
        assert np.array_equal(counts, expected)
        assert (counts.sum(axis=1) == len(whole)).all()
        assert histogram.belong(counts, largest)

    @given(batches(-40, 40), st.lists(st.integers(-6, 12), min_size=CHANNELS, max_size=CHANNELS))
    def test_smoothing_leaves_them_as_they_are(self, pieces, exponents):
        """Statistics that were smoothed are those of inputs that were smoothed."""
        whole = np.concatenate(pieces)
        # Numbers below float32's normal ones lose bits when they are divided.
        whole[np.abs(whole) < 1e-25] = 0
        if not whole.any():
            return
        scales = np.exp2(exponents).astype(np.float32)
        ours, theirs = _scaled(measure(whole), scales), measure(whole / scales)
        assert np.array_equal(ours.largest, theirs.largest)
        assert np.array_equal(ours.histogram, theirs.histogram)

    @given(batches(-3, 3))
    def test_joined_channels_are_counted_where_they_lie(self, pieces):
        whole = np.abs(np.concatenate(pieces))
        largest = whole.max(axis=0)
        if not whole.any():
            return
        edges, counts = histogram.join(histogram.count(whole, largest), largest)
        assert edges[0] == 0
        assert edges[-1] == whole.max()
        assert (np.diff(edges)[:-1] > 0).all()
        np.testing.assert_allclose(counts.sum(), whole.size)
        # Bins above the lowest of every channel hold exactly what numpy counts there.
        sure = edges[:-1] >= LOWEST * largest.max()
        exact, _ = np.histogram(whole, np.append(edges[:-1], np.inf))
        np.testing.assert_allclose(counts[sure], exact[sure], atol=1e-9)

    def test_what_lies_below_is_spread_and_not_piled_up(self):
        """A channel's lowest bin holds all smaller numbers too; another channel may be finer."""
        values = np.full((1001, 2), 2**-14, dtype=np.float32)
        values[0, 0] = 1
        edges, counts = histogram.join(histogram.count(values, values.max(axis=0)), values[0])
        below = np.interp([2**-13, 1.25 * 2**-8], edges, np.cumsum([0, *counts]))
        # All of the second channel, and what an even spread of the first one has there.
        np.testing.assert_allclose(below - 1001, [1000 * 2**-6 / 1.25, 500], rtol=1e-6)

    def test_counts_that_no_inputs_give(self):
        counts = histogram.count(np.float32([[1.0, 3.0]]), np.float32([1.0, 3.0]))
        assert histogram.belong(counts, np.float32([1.0, 3.0]))
        assert not histogram.belong(counts * [[1], [0]], np.float32([1.0, 3.0]))
        assert not histogram.belong(counts, np.float32([1.0, 2.9]) / 2)


class TestMethods:
    def test_minmax_is_the_largest_magnitude(self):
        values = tails()
        assert input_range(measure(values), "minmax") == np.abs(values).max()

    @settings(max_examples=40)
    @given(
        st.integers(0, 99),
        st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.9999]),
        st.lists(st.integers(-6, 12), min_size=5, max_size=5),
    )
    def test_percentiles_are_numpys_within_a_bin_smoothed_or_not(self, seed, share, exponents):
        values = tails(seed, 2000)
        scales = np.exp2(exponents).astype(np.float32)
        smoothed = _scaled(measure(values), scales)
        found = percentile_range(*histogram.join(smoothed.histogram, smoothed.largest), share)
        magnitudes = np.abs(values / scales)
        low, high = (
            np.percentile(magnitudes, 100 * share, method=way) for way in ("lower", "higher")
        )
        assert found <= smoothed.range
        # Within a channel's lowest bin magnitudes are only known to be below `LOWEST`.
        assert found <= QUARTER * high or found <= LOWEST * smoothed.range
        assert found >= low / QUARTER or low <= LOWEST * smoothed.range

    def test_the_percentile_clips_one_number_of_ten_thousand(self):
        values = tails()
        found = input_range(measure(values), "percentile")
        assert 0.3e-4 < (np.abs(values) > found).mean() < 3e-4

    @pytest.mark.parametrize(
        "name",
        [
            "laplace",
            *(
                pytest.param(name, marks=pytest.mark.slow)
                for name in ("normal", "uniform", "student", "product", "outliers")
            ),
        ],
    )
    def test_entropy_agrees_with_onnxruntimes(self, name):
        """Within a fifth: divergences are flat around the least one."""
        calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
        rng = np.random.default_rng(0)
        count, bins = 400_000, 1024
        magnitudes = np.abs(
            {
                "normal": lambda: rng.normal(size=count),
                "laplace": lambda: rng.laplace(size=count),
                "uniform": lambda: rng.uniform(size=count),
                "student": lambda: rng.standard_t(3, size=count).clip(-50, 50),
                "product": lambda: rng.normal(size=count) * rng.normal(size=count),
                "outliers": lambda: np.append(rng.normal(size=count), rng.uniform(10, 20, 40)),
            }[name]()
        )
        counts, edges = np.histogram(magnitudes, bins=bins, range=(0, magnitudes.max()))
        # onnxruntime takes a histogram of both signs, and rounds its counts to integers.
        both = 50 * np.concatenate([counts[::-1], counts])
        places = np.concatenate([-edges[::-1], edges[1:]])
        collector = calibrate.HistogramCollector("entropy", True, bins, 128, 99.99, "same")
        limits = (np.float64(-edges[-1]), np.float64(edges[-1]))
        theirs = float(collector.get_entropy_threshold((both, places, *limits), 128)[1])
        assert entropy_range(edges, counts.astype(float)) == pytest.approx(theirs, rel=0.2)

    def test_entropy_clips_a_few_outliers(self):
        rng = np.random.default_rng(1)
        values = rng.normal(size=(50_000, 2)).astype(np.float32)
        values[:3, 0] = (40, -50, 60)
        found = input_range(measure(values), "entropy")
        assert 2.5 < found < 20

    @pytest.mark.parametrize("method", ["percentile", "entropy"])
    def test_ranges_scale_with_the_inputs(self, method):
        values = tails()
        once, twice = (input_range(measure(factor * values), method) for factor in (1, 2**7))
        assert twice == pytest.approx(2**7 * once, rel=1e-6)

    @pytest.mark.parametrize("method", ["percentile", "entropy"])
    def test_a_file_without_histograms(self, method):
        inputs = replace(measure(tails()), histogram=None)
        with pytest.raises(
            ExportError, match=f"no histograms, which {method} ranges need: measure"
        ):
            input_range(inputs, method)
        assert input_range(inputs, "minmax") == inputs.range


def test_joined_matrices_have_one_range_and_pixels_have_theirs():
    ones = np.ones(2, dtype=np.float32)
    inputs = {
        f"text.layers.0.self_attn.{part}_proj": Inputs(size * ones, ones, ones)
        for part, size in (("q", 3), ("k", 3))
    }
    measured = Measured(Origin("0" * 64, "m", "d", 8, 4), inputs)
    joined = "+".join(f"{name}.weight" for name in inputs)
    pixels = Preprocessing(image_mean=(0.5, 0.2, 0.9), image_std=(0.5, 0.4, 0.5))
    assert matrix_range(joined, measured, "minmax", pixels) == 3.0
    found = matrix_range("visual.patch_embed.proj.weight", measured, "entropy", pixels)
    assert found == pytest.approx(2.0)  # a white pixel in green: (1 - 0.2) / 0.4
