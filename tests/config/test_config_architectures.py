import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.config.architectures import read_architecture

FRAME = (2, 12, 10)  # P, H, W


def shapes(text: str, classes: int = 3) -> list[tuple[int, ...]]:
    return [layer.output_shape for layer in read_architecture(text, FRAME, classes)]


def test_shapes_follow_the_tokens():
    # 5×5 without padding: 12-4 × 10-4; halves; 3×3: 4-2 × 3-2; 7 channels
    assert shapes("4C5-BN-MP2-DP0.2-7C3-FC3") == [(4, 8, 6), (4, 8, 6), (4, 4, 3), (4, 4, 3), (7, 2, 1), (3,)]


def test_pooling_leaves_out_what_fills_no_window():
    assert shapes("AP3-FC3")[0] == (2, 4, 3)


def test_convolutions_may_be_padded_and_strided():
    # 3×3 with a border of 1 keeps the size; every second place of 12 and 10; every third of the 5 and 4 without border
    assert shapes("4C3P1-4C3P1S2-4C2S3-AAP2-FC3")[:4] == [(4, 12, 10), (4, 6, 5), (4, 2, 2), (4, 2, 2)]


def test_recurrences_and_filters_leave_the_shape():
    assert shapes("4C5-BN-MP2-ER-SF2-FC7-LR-SF1.5L-FC3") == [
        (4, 8, 6), (4, 8, 6), (4, 4, 3), (4, 4, 3), (4, 4, 3), (7,), (7,), (7,), (3,),
    ]  # fmt: skip


def test_a_vote_divides_the_neurons():
    assert shapes("FC30-V10") == [(30,), (3,)]


def test_the_classic_spelling_announces_the_inputs_of_a_dense_layer():
    assert shapes("MP2-60FC3") == [(2, 6, 5), (3,)]


def test_the_reference_network_reads_its_own_spelling_on_28_by_28():
    layers = read_architecture("12C5-MP2-64C5-MP2-1024FC10", (1, 28, 28), 10)
    assert layers[-1].input_shape == (64, 4, 4)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("4C5-XY-FC3", r"token 2, 'XY': expected nCk, MPk"),
        ("", r"token 1, '': expected nCk"),
        ("4C5--FC3", r"token 2, '': expected nCk"),
        ("0C5-FC3", r"token 1, '0C5': expected"),
        ("4c5-FC3", r"token 1, '4c5': expected"),
        ("DP1.5-FC3", r"token 1, 'DP1.5': expected"),
        ("MP2-1024FC3", r"token 2, '1024FC3': 1024 inputs are announced, but 60 arrive \(2×6×5\)"),
        ("FC8-4C3-FC3", r"token 2, '4C3': needs an image, but a dense layer of 8 neurons comes before it"),
        ("MP4-4C3-FC3", r"token 2, '4C3': 3×3 does not fit into the 3×2 pixels"),
        ("BN-FC3", r"token 1, 'BN': batch normalisation has no convolution or dense layer before it"),
        ("4C5-DP0.1-BN-FC3", r"token 3, 'BN'"),
        ("4C5-FC4", r"the last token is 'FC4', expected FC3 for 3 classes"),
        ("4C5", r"the last token is '4C5', expected FC3"),
        ("FC3-DP0.5", r"the last token is 'DP0.5', expected FC3"),
        ("4C3P3-FC3", r"token 1, '4C3P3': a padding of 3 is too wide for a kernel of 3"),
        ("ER-FC3", r"token 1, 'ER': there are no neurons before it"),
        ("4C5-DP0.1-ER-FC3", r"token 3, 'ER': there are no neurons before it"),
        ("FC5-ER-LR-FC3", r"token 3, 'LR': there are no neurons before it"),
        ("4C5-LR-FC3", r"token 2, 'LR': needs a dense layer, but 4×8×6 arrive; use ER, or FCn before it"),
        ("4C5-ER-BN-FC3", r"token 3, 'BN': batch normalisation has no"),
        ("4C5-SF1-FC3", r"token 2, 'SF1': a current with a time constant of 1 steps keeps nothing; use more than 1"),
        ("V2-FC3", r"token 1, 'V2': there is no dense layer before it"),
        ("FC6-DP0.5-V2", r"token 3, 'V2': there is no dense layer right before it"),
        ("FC7-V2", r"token 2, 'V2': 7 neurons arrive, which are no groups of 2"),
        ("FC6-V2-FC3", r"token 3, 'FC3': V2 is the end of a network"),
        ("4C5-99999999999999999999C3-FC3", r"token 2, '9{20}C3': expected numbers up to 2147483647"),
        ("FC8-V2", r"the last token is 'V2', expected FC3, or FC6-V2 for 3 classes"),
    ],
)
def test_a_token_that_does_not_fit_is_named_with_what_was_expected(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_architecture(text, FRAME, 3)


@given(text=st.text(alphabet="0123456789CMPAFBNDXERLSVT.-", max_size=20))
def test_any_text_is_read_or_refused_with_its_token(text):
    try:
        layers = read_architecture(text, FRAME, 3)
    except ValueError as error:
        assert str(error).startswith(f"architecture {text!r}: t")  # noqa: PT017
    else:
        assert "-".join(layer.token for layer in layers) == text
