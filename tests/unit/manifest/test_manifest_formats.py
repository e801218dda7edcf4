"""JSON Lines, Parquet, DataFrames, and files that are none of these."""

from __future__ import annotations

import json
import os
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from reelbatch.errors import ManifestError
from reelbatch.manifest import ManifestOptions, open_manifest

URL = "https://x.test/a.png"
ONE = {"image_path": [URL], "prompt": ["Pan"]}


def test_json_lines_are_read(read: Any, csv_file: Any) -> None:
    """One object a line; blank lines are skipped and counted; keys may differ from line to line."""
    lines = [
        json.dumps({"image_path": URL, "prompt": "花瓶\n", "end_seconds": 10, "audio": True, "row_key": 12}),
        "",
        json.dumps({"prompt": "Pan", "row_key": "b", "image_path": URL, "end_seconds": None}),
    ]
    for content in ("\n".join(lines).encode(), "\r\n".join(lines).encode("utf-16")):
        outcome = read(csv_file(content, "c.jsonl"))
        assert outcome.problems == []
        assert [(row.row_number, row.row_key) for row in outcome.rows] == [(1, "12"), (3, "b")]
        assert outcome.rows[0].request.audio is True
        assert [row.request.end_seconds for row in outcome.rows] == [10.0, 5.0]


def test_a_bad_json_line_does_not_stop_the_others(read: Any, csv_file: Any) -> None:
    """A line that is no JSON object is a problem with the line's number."""
    good = json.dumps({"image_path": URL, "prompt": "Pan"})
    deep = "[" * 100_000
    outcome = read(csv_file(f"{good}\n{{oops\n[1]\n{deep}\n{good}", "c.ndjson"))
    assert [number for number, _, _ in outcome.whats] == [2, 3, 4]
    assert outcome.whats[0][2].startswith("not JSON (Expecting property name")
    assert [row.problem is None for row in outcome.rows] == [True, False, False, False, True]
    assert len({row.row_key for row in outcome.rows}) == 4


def test_a_field_that_is_stated_twice_is_a_problem(read: Any, csv_file: Any) -> None:
    """One of its values would be lost, and the other paid for: the row is invalid."""
    twice = json.dumps({"image_path": URL, "prompt": "Pan"})[:-1] + ', "prompt": "Zoom"}'
    outcome = read(csv_file(f"{json.dumps({'image_path': URL, 'prompt': 'Pan'})}\n{twice}\n", "c.jsonl"))
    assert [(number, what) for number, _, what in outcome.whats] == [(2, 'states "prompt" twice')]
    assert [row.problem is None for row in outcome.rows] == [True, False]


def test_lone_surrogates_are_a_problem(read: Any, csv_file: Any) -> None:
    r"""`\ud800` by itself is valid JSON and can be stored nowhere: the row is invalid, and storable."""
    outcome = read(csv_file('{"image_path": "https://x.test/a.png", "prompt": "a \\ud800"}\n', "c.jsonl"))
    assert "surrogate" in outcome.problems[0].what
    str(outcome.rows[0]).encode()
    str(outcome.problems[0]).encode()


def test_nested_json_values_are_a_problem(read: Any, csv_file: Any) -> None:
    """A list or an object is no prompt."""
    outcome = read(csv_file(json.dumps({"image_path": [URL], "prompt": {"a": 1}}), "c.jsonl"))
    assert outcome.whats == [(1, "image_path", "not one plain value"), (1, "prompt", "not one plain value")]


@pytest.mark.parametrize("column", ["model", "resolution", "end_seconds", "audio"])
@pytest.mark.parametrize("value", [["ltx-2.3"], {"name": "ltx-2.3"}], ids=str)
def test_nested_settings_are_a_problem(read: Any, csv_file: Any, column: str, value: Any) -> None:
    """Nor is it a model: of one that the table does not know only a warning says so, and the row is sent."""
    stated = {"image_path": URL, "prompt": "Pan", "end_seconds": 5, column: value}
    assert read(csv_file(json.dumps(stated), "c.jsonl")).whats == [(1, column, "not one plain value")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"image_path": "a"}\n]', "line 1: not JSON"),
        ("[]", "line 1: not a JSON object"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("image_path,prompt\n", "line 1: not JSON"),
    ],
)
def test_a_file_that_is_no_json_lines_is_an_error(read: Any, csv_file: Any, content: Any, message: Any) -> None:
    """A file that is wrong from its first line is refused as a whole."""
    with pytest.raises(ManifestError, match=message):
        read(csv_file(content, "c.jsonl"))


def test_an_endless_json_line_is_an_error(read: Any, csv_file: Any) -> None:
    """Memory is bounded whatever a line claims to be."""
    with pytest.raises(ManifestError, match="line 2: longer than"):
        read(csv_file(b'{"image_path": "a", "prompt": "b"}\n' + b"x" * (17 << 20), "c.jsonl"))


def _parquet(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "catalogue.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("cells", "key"),
    [
        (pa.array(["12", "13"]), "12"),
        (pa.array([12, 13], pa.int16()), "12"),
        (pa.array([12, 13], pa.uint64()), "12"),
        (pa.array([12.0, 13.5]), "12"),
        (pa.array([12.0, 13.5], pa.float32()), "12"),
        (pa.array([0.1, 0.2], pa.float32()), "0.1"),
        (pa.array([np.float16(0.5), np.float16(2)], pa.float16()), "0.5"),
        (pa.array([Decimal("12.00"), Decimal("13.50")]), "12"),
        (pa.array(["12", "13"], pa.large_string()), "12"),
        (pa.array(["12", "13"], pa.string_view()), "12"),
        (pa.array(["12", "13"]).dictionary_encode(), "12"),
        (pa.array([b"12", b"13"]), "12"),
        (pa.array([True, False]), "true"),
        (pa.array([0, 1], pa.date32()), "1970-01-01"),
    ],
)
def test_parquet_types_become_keys(read: Any, tmp_path: Path, cells: Any, key: Any) -> None:
    """Whatever a column's type, a cell has one text: integers and whole floats without a fraction."""
    outcome = read(_parquet(tmp_path, image_path=[URL, URL], prompt=["a", "b"], row_key=cells))
    assert outcome.problems == []
    assert outcome.rows[0].row_key == key


@pytest.mark.parametrize("dtype", ["float32", "Float32", "float[pyarrow]"])
def test_numbers_of_few_bits_have_their_own_digits(read: Any, tmp_path: Path, dtype: str) -> None:
    """And no more: 0.1 in 32 bits is not 0.10000000149011612, and from 2 ** 24 on a whole number may be another."""
    frame = pd.DataFrame({"image_path": URL, "prompt": "a", "weight": pd.Series([0.1, 2**24], dtype=dtype)})
    path = tmp_path / "c.parquet"
    frame.to_parquet(path)
    for source in (frame, path):
        outcome = read(source, prompt_template="{weight} kg", columns={"prompt": None})
        assert outcome.rows[0].request.prompt == "0.1 kg"
        assert [problem.row_number for problem in outcome.problems] == [2]
        assert "its last digits are lost" in outcome.problems[0].what


def test_parquet_keeps_columns_apart_whose_names_are_those_of_a_struct(read: Any, tmp_path: Path) -> None:
    """Arrow takes `image.src` for the `src` in `image`, too, and hands out both."""
    path = _parquet(tmp_path, image=[{"src": "x"}], **{"image.src": [URL]}, prompt=["Pan"])
    (row,) = read(path, columns={"image_path": "image.src"}).rows
    assert (row.problem, row.request.image_path, row.request.prompt) == (None, URL, "Pan")


def test_parquet_settings_of_any_type(read: Any, tmp_path: Path) -> None:
    """Numbers, flags and nulls arrive as what they are; null means not given."""
    outcome = read(
        _parquet(
            tmp_path,
            image_path=[URL, URL],
            prompt=["a", "b"],
            end_seconds=pa.array([10, None]),
            audio=pa.array([True, None]),
            resolution=pa.nulls(2),
            model=pa.array(["ltx-2.5", None]).dictionary_encode(),
            name=pa.array(["n\0", None]),
        )
    )
    assert outcome.whats == [(1, "name", "contains a NUL character")]
    assert outcome.rows[0].request.end_seconds == 10.0
    assert outcome.rows[0].request.audio is True
    assert outcome.rows[1].request[2:7] == (5.0, None, None, None, None)


def test_parquet_row_numbers_run_through_row_groups(read: Any, tmp_path: Path) -> None:
    """Row numbers do not start again with each row group."""
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"image_path": [URL] * 25, "prompt": ["a"] * 25}), path, row_group_size=10)
    assert [row.row_number for row in read(path).rows] == list(range(1, 26))


def test_nested_columns_of_ours_are_an_error(read: Any, tmp_path: Path) -> None:
    """Lists can't be prompts; in columns that no one asked for they don't matter."""
    with pytest.raises(ManifestError, match='column "prompt" holds list'):
        read(_parquet(tmp_path, image_path=[URL], prompt=[["a"]]))
    assert read(_parquet(tmp_path, **ONE, vector=[[1.0, 2.0]])).problems == []


def test_bytes_that_are_no_text_are_an_error(read: Any, tmp_path: Path) -> None:
    """A column of arbitrary bytes is named."""
    with pytest.raises(ManifestError, match='column "prompt" holds bytes'):
        read(_parquet(tmp_path, image_path=[URL], prompt=[b"\xff\xfe"]))


def test_a_cut_off_parquet_file_is_an_error(read: Any, tmp_path: Path) -> None:
    """A truncated download is named with its path and what to do."""
    path = _parquet(tmp_path, **ONE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ManifestError, match=r"catalogue\.parquet: can't be read as Parquet: .*[^.]\. It may be cut"):
        read(path)


def test_a_damaged_parquet_page_is_an_error(read: Any, tmp_path: Path) -> None:
    """Damage in the middle is found while reading."""
    path = tmp_path / "c.parquet"
    table = pa.table({"image_path": [f"{URL}{n}" for n in range(5000)], "prompt": ["a"] * 5000})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[40:2000] = b"\xab" * 1960
    path.write_bytes(bytes(data))
    with pytest.raises(ManifestError, match="can't be read as Parquet"):
        read(path)


def test_parquet_is_known_by_its_content(read: Any, tmp_path: Path) -> None:
    """A Parquet file with another name is read all the same."""
    path = _parquet(tmp_path, **ONE).rename(tmp_path / "c.csv")
    assert len(read(path).rows) == 1


def test_an_empty_parquet_table_is_a_warning(read: Any, tmp_path: Path) -> None:
    """No rows is no error."""
    columns = {"image_path": pa.array([], pa.string()), "prompt": pa.array([], pa.string())}
    assert [warning.what for warning in read(_parquet(tmp_path, **columns)).warnings] == ["has no rows"]


def test_parquet_from_anywhere(read: Any) -> None:
    """Any fsspec URL."""
    with fsspec.open("memory://shop/c.parquet", "wb") as file:
        pq.write_table(pa.table(ONE), file)
    assert len(read("memory://shop/c.parquet").rows) == 1


def test_a_dataframe_is_read(read: Any) -> None:
    """Numbers, flags, nothings and objects of pandas arrive as in any file."""
    frame = pd.DataFrame(
        {
            "image_path": [Path("x.test/a.png"), URL, URL],
            "prompt": pd.Series(["a", "b", "c"], dtype="string"),
            "row_key": [1.0, 2.0, 3.0],
            "end_seconds": [5, None, 10],
            "audio": pd.Series([True, pd.NA, False], dtype="boolean"),
            "model": pd.Categorical(["ltx-2.5", None, "ltx-2.5"]),
            "name": [pd.NaT, pd.Timestamp("2026-01-02"), float("nan")],
        },
    )
    frame.index = pd.Index([7, 7, 9])
    outcome = read(frame, change={"images": False})
    assert outcome.problems == []
    assert [(row.row_key, row.row_number) for row in outcome.rows] == [("1", 1), ("2", 2), ("3", 3)]
    assert [row.request.audio for row in outcome.rows] == [True, None, False]
    assert [row.request.end_seconds for row in outcome.rows] == [5.0, 5.0, 10.0]
    assert [row.request.model for row in outcome.rows] == ["ltx-2.5", None, "ltx-2.5"]
    assert [row.request.name for row in outcome.rows] == [None, "2026-01-02T00:00:00", None]


def test_an_index_may_have_a_number_for_a_name(read: Any) -> None:
    """As of a file without a header."""
    frame = pd.DataFrame(ONE, index=pd.Index(["k"], name=0))
    assert read(frame, row_key=["0"]).rows[0].row_key == "k"


def test_a_named_index_is_a_column(read: Any) -> None:
    """`set_index("row_key")` is undone."""
    frame = pd.DataFrame({**ONE, "row_key": ["k"]}).set_index("row_key")
    assert read(frame).rows[0].row_key == "k"


def test_equal_columns_of_a_dataframe_are_an_error(read: Any) -> None:
    """Pandas allows two columns of one name; a manifest does not."""
    with pytest.raises(ManifestError, match="<DataFrame>: more than one column"):
        read(pd.DataFrame([[URL, "a", "b"]], columns=["image_path", "prompt", "prompt"]))


def test_surrogates_in_a_dataframe_are_a_problem(read: Any) -> None:
    """Python strings can hold what no file can."""
    frame = pd.DataFrame({"image_path": [URL], "prompt": pd.Series(["a\udcff"], dtype=object)})
    assert "surrogate" in read(frame).problems[0].what


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("catalogue.csv", "catalogue"),
        ("catalogue.csv.gz", "catalogue"),
        ("Spring 2026.v2.jsonl", "Spring 2026.v2"),
    ],
)
def test_a_manifest_names_its_batch(csv_file: Any, checks: Any, name: str, stem: Any) -> None:
    """The stem is the file's name without what says how it is written; the base is its folder."""
    content = b'{"image_path": "a", "prompt": "b"}' if "jsonl" in name else b"image_path,prompt\n"
    if name.endswith(".gz"):
        content = pa.compress(content, "gzip", asbytes=True)
    path = csv_file(content, name)
    manifest = open_manifest(path, ManifestOptions(), checks)
    assert (manifest.name, manifest.stem, manifest.base) == (str(path), stem, str(path.parent))


def test_a_dataframe_names_its_batch(checks: Any) -> None:
    """A frame has no file: its images start from the current folder."""
    manifest = open_manifest(pd.DataFrame(ONE), ManifestOptions(), checks)
    assert (manifest.name, manifest.stem, manifest.base) == ("<DataFrame>", "dataframe", str(Path.cwd()))


def test_a_remote_manifest_has_a_remote_base(checks: Any) -> None:
    """Relative images lie beside the manifest, wherever that is."""
    with fsspec.open("memory://shop/list/c.csv", "wb") as file:
        file.write(b"image_path,prompt\n")
    assert open_manifest("memory://shop/list/c.csv", ManifestOptions(), checks).base == "memory://shop/list"


def test_a_missing_file_is_an_error(read: Any, tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(ManifestError, match=r"nope\.csv: no such file"):
        read(tmp_path / "nope.csv")


def test_a_directory_is_an_error(read: Any, tmp_path: Path) -> None:
    """So is a folder."""
    with pytest.raises(ManifestError, match="is a directory"):
        read(tmp_path)


def test_a_pipe_is_no_manifest(read: Any, tmp_path: Path) -> None:
    """A manifest is read more than once; nothing waits for a pipe that no one writes to."""
    os.mkfifo(tmp_path / "c.csv")
    (tmp_path / "d.csv").symlink_to(tmp_path / "c.csv")
    for name in ("c.csv", "d.csv"):
        with pytest.raises(ManifestError, match=rf"{name}: is a pipe or a device.* Save it as a file first"):
            read(tmp_path / name)


def test_an_unknown_address_is_an_error(read: Any) -> None:
    """A scheme without a backend says what to check."""
    with pytest.raises(ManifestError, match=r"can't be opened: .*kind of storage"):
        read("warp://bucket/c.csv")


@pytest.mark.parametrize("name", ["c.xlsx", "c.csv", "c.zip"])
def test_excel_and_zip_files_are_recognised(read: Any, tmp_path: Path, name: str) -> None:
    """Whatever it is called, a zip that is no workbook is refused with what to do."""
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(ManifestError, match=r'as "CSV UTF-8", and give that file|is damaged or cut off'):
        read(tmp_path / name)


def test_old_excel_files_are_recognised(read: Any, csv_file: Any) -> None:
    """The format from before 2007 too."""
    with pytest.raises(ManifestError, match=r"is no workbook of today's Excel\. Save the sheet as \.xlsx without"):
        read(csv_file(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "c.xls"))


def test_other_suffixes_are_refused(read: Any, csv_file: Any) -> None:
    """What can be read is listed."""
    with pytest.raises(ManifestError, match=r'"\.json" is no kind of manifest.*\.jsonl'):
        read(csv_file("{}", "c.json"))


@pytest.mark.parametrize("source", [None, 12, ["a.csv"]])
def test_what_is_no_source_is_refused(read: Any, source: Any) -> None:
    """Neither a path nor a DataFrame."""
    with pytest.raises(ManifestError, match="neither a path nor a DataFrame"):
        read(source)
