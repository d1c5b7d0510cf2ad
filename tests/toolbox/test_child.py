"""Frames between the router and a tool's process: whole ones are read, and the end of the stream within one is an error."""

import io

import pytest

from router.toolbox.child import Ended, frame, received

WHOLE = frame({"tools": []})


def test_frame_is_read_as_it_was_written() -> None:
    """A frame that is read back is the object that was written."""
    assert received(io.BufferedReader(io.BytesIO(WHOLE)), 100) == {"tools": []}


@pytest.mark.parametrize("cut", range(1, len(WHOLE) + 1))
def test_frame_cut_off_at_any_byte_raises_ended(cut: int) -> None:
    """A frame that lacks its last `cut` bytes raises Ended."""
    with pytest.raises(Ended):
        received(io.BufferedReader(io.BytesIO(WHOLE[:-cut])), 100)


def test_frame_whose_length_is_more_than_its_json_raises_ended() -> None:
    """Valid JSON that is shorter than the frame's declared length raises Ended."""
    with pytest.raises(Ended):
        received(io.BufferedReader(io.BytesIO((99).to_bytes(4, "big") + WHOLE[4:])), 100)
