"""Traces: three formats, and what is said of lines that belong to none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rejoinder.errors import UsageError
from rejoinder.load.schedule.traces import TraceEntry, read_trace
from rejoinder.load.settings import LoadSettings

MOONCAKE = """\
{"timestamp": 27000, "input_length": 600, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 28500, "input_length": 700, "output_length": 26, "hash_ids": [46, 2353]}
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,GPT-4,1087,0,1087,API log
"""
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.9799600,110,27
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "trace"
    path.write_text(text, "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (MOONCAKE, (TraceEntry(0, 600, 52, (46, 47)), TraceEntry(1.5, 700, 26, (46, 2353)))),
        (BURSTGPT, (TraceEntry(0, 472, 18), TraceEntry(40.5, 1087, 1))),
        (AZURE, (TraceEntry(0, 4808, 10), TraceEntry(1.0, 110, 27))),
        ("\ufeff" + AZURE.replace("\n", "\r\n"), (TraceEntry(0, 4808, 10), TraceEntry(1.0, 110, 27))),
        ("\n".join([AZURE.splitlines()[k] for k in (0, 2, 1)]), (TraceEntry(0, 4808, 10), TraceEntry(1.0, 110, 27))),
    ],
)
def test_formats(tmp_path: Path, text: str, entries: tuple[TraceEntry, ...]) -> None:
    trace = read_trace(written(tmp_path, text))
    assert tuple(trace[place] for place in range(len(trace))) == entries


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: unknown trace format"),
        ("a,b\n1,2\n", "line 1: unknown trace format"),
        (MOONCAKE + "{x\n", "line 3: not JSON"),
        (MOONCAKE + "\n[]\n", "line 4: not a JSON object"),
        (MOONCAKE + '{"timestamp": 1, "input_length": 3}\n', "line 3: output_length is missing"),
        (MOONCAKE + '{"timestamp": 1, "input_length": true, "output_length": 1}', "line 3: input_length is not a num"),
        (
            MOONCAKE + '{"timestamp": 1, "input_length": -3, "output_length": 1}\n',
            "line 3: -3 is not a number of tokens",
        ),
        (MOONCAKE.replace("[46, 47]", "7"), "line 1: hash_ids"),
        (MOONCAKE.replace("2353", str(1 << 63)), "line 2: hash_ids is not a list of whole numbers of 64 bits"),
        (BURSTGPT + "x,GPT-4,1,1,2,API log\n7,GPT-4\n", "line 4: Timestamp is 'x'; line 5: only 2 columns"),
        (BURSTGPT + "inf,GPT-4,1,1,2,API log\n", "line 4: the time is inf"),
        (AZURE + "yesterday,1,1\n", "line 4: TIMESTAMP is 'yesterday'"),
        (AZURE + "2023-11-16 18:17:03,1,1.5\n" * 5, "line 6: 1.5 is not a number of tokens; and 2 more"),
        (AZURE.splitlines()[0], "contains no requests"),
    ],
)
def test_bad_lines_are_told_with_file_and_number(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_trace(path)
    assert words in caught.value.message
    assert path in caught.value.message


def test_a_missing_trace_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        LoadSettings(url="http://h", trace=str(tmp_path / "none")).check()


def test_a_trace_is_replayed_at_its_speed(tmp_path: Path) -> None:
    settings = LoadSettings(url="http://h", trace=written(tmp_path, MOONCAKE), speed=3)
    assert settings.mode == "open"
    assert list(settings.schedule()) == [0, 0.5]
    length = settings.natural_duration()
    assert length is not None
    assert list(LoadSettings(url="http://h", trace=settings.trace, speed=3, duration=length).schedule()) == [0, 0.5]
    assert list(LoadSettings(url="http://h", trace=settings.trace, duration=1).schedule()) == [0]
