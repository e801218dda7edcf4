"""What `reelbatch init` shows and asks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from reelbatch.cli import render
from reelbatch.errors import ManifestError, SettingsError
from reelbatch.manifest.parsing import CellError, seconds
from reelbatch.model_table import load_models
from reelbatch.pipeline.first_requests import FirstRequest
from reelbatch.pipeline.init import InitReport
from reelbatch.pipeline.init_guess import SECONDS, ColumnGuess, Guess, Question, Stated, guess
from reelbatch.pipeline.init_photos import FOR_EACH
from reelbatch.pipeline.init_table import look_at
from reelbatch.printable import counted, one_line
from reelbatch.settings.config_file import find_config

_LONGEST_SAMPLE = 40
_WIDEST_NAME = 24
_OPEN = "nothing; it has to be filled in"
_NO_KEY = "nothing; rows are told apart by what they ask for"


def note_hidden(config: Path) -> None:
    """The nearest file counts, and no other: one above is not read any more where there is a new one."""
    with suppress(SettingsError):  # one that can't be read is hidden as well
        before = find_config().path
        if before is not None and before.parent != config.parent:
            render.note(f"{before} is not read in this folder any more: only the nearest {config.name} is.")


def print_guess(made: Guess) -> None:
    """One line for each column."""
    table = made.table
    render.out.print(f"[bold]{render.cell(table.name)}[/]: {len(table.columns)} columns, {table.written}")
    if made.export is not None:
        render.out.print(f"It looks like an export of {made.export.shop.name}.")
    _print_columns(made.columns)


def _print_columns(columns: Sequence[ColumnGuess]) -> None:
    widest = min(_WIDEST_NAME, max((len(each.column) for each in columns), default=0))
    for each in columns:
        sample = one_line(each.sample)
        sample = sample if len(sample) <= _LONGEST_SAMPLE else sample[:_LONGEST_SAMPLE] + "…"
        becomes = f"{each.becomes}: {each.why}" if each.becomes else each.why
        such_as = f"  [dim]{render.cell(sample)}[/]" if sample else ""
        render.out.print(f"  {render.cell(each.column.ljust(widest))}  {render.cell(becomes)}{such_as}")


def ask(stated: Stated, made: Guess) -> Guess:
    """Ask what is not sure, one after the other, and guess again with each answer."""
    asked = set[str]()
    while question := next((each for each in made.questions if each.about not in asked), None):
        asked.add(question.about)
        made, stated = _answered(stated, question, made)
    return made


def _answered(stated: Stated, question: Question, made: Guess) -> tuple[Guess, Stated]:
    """The guess with an answer that can be used; the same guess where there was none."""
    while True:
        answer = _typed(question)
        if not answer or answer in {question.taken, one_line(question.taken)}:  # as it was shown
            return made, stated
        try:
            more = replace(stated, **{question.about: _read(question, answer)})
            table = look_at(made.table.source, answer) if question.about == "encoding" else made.table
            return guess(table, more), more
        except (ManifestError, ValueError) as error:
            render.fail(str(error))


def _read(question: Question, answer: str) -> Any:
    """An answer as `Stated` has it.

    Raises:
        ValueError: it is no length of a video, and has to be one.
    """
    if question.about == "key":
        return tuple(part.strip() for part in answer.split(",") if part.strip())
    return _seconds(answer) if question.about == "seconds" else answer


def _seconds(answer: str) -> float:
    """The length of a video.

    Raises:
        ValueError: no video has it.
    """
    models = load_models()
    with suppress(CellError):
        if models.min_seconds <= (typed := seconds(answer)) <= models.max_seconds:
            return typed
    span = f"{models.min_seconds} to {models.max_seconds}"
    raise ValueError(f'"{answer}": a video has {span} seconds. Write a number, such as {SECONDS}.')


def _seconds_of_photos(answer: str) -> float:
    try:
        return _seconds(answer)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _typed(question: Question) -> str:
    if question.choices:
        render.out.print(f"Columns: {render.cell(', '.join(question.choices))}")
    typed: str = typer.prompt(
        one_line(question.text), default=one_line(question.taken), show_default=bool(question.taken)
    )
    return typed.strip()


def ask_about_photos(stated: Stated) -> Stated:
    """What is to happen in the videos of a folder of photos, and how long they are."""
    if stated.prompt is None:
        text = "What is to happen in the videos? {name} pastes in what the photo's name says"
        typed = typer.prompt(text, default=FOR_EACH)
        stated = replace(stated, prompt=None if typed == FOR_EACH else typed)
    if stated.seconds is None:
        text = "How many seconds has each video?"
        stated = replace(stated, seconds=typer.prompt(text, default=str(SECONDS), value_proc=_seconds_of_photos))
    return stated


def print_report(report: InitReport, *, asked: bool) -> None:
    """What was taken, what comes of it, what was written and what is next."""
    if report.questions and not asked:
        render.out.print("Taken without being sure:")
        for question in report.questions:
            taken = question.taken or (_OPEN if question in report.missing else _NO_KEY)
            render.out.print(f"  {render.cell(question.text)}: [bold]{render.cell(taken)}[/]")
            if question.about == "encoding":
                again = f"reelbatch init {shlex.quote(report.manifest)} --force --encoding NAME"
                render.out.print(f"    if that looks wrong: {render.cell(again)}")
    _print_rows(report)
    if report.skipped:
        render.note(report.skipped)
    if report.copies:
        render.warn(f"{report.copies}.")
    made = f"{render.cell(report.manifest)} and " if not report.columns else ""
    render.out.print(f"Written: {made}{render.cell(str(report.config))}")
    file = shlex.quote(report.manifest)
    missing = [question.about.replace("_", "-") for question in report.missing]
    for text in (
        *(f"reelbatch init {file} --force --{name} …   (fills in what is missing)" for name in missing),
        f"reelbatch plan {file}",
        f"reelbatch generate {file} --sandbox --settle   (a trial; nothing is paid)",
    ):
        render.out.print(f"→ {render.cell(text)}")


def _print_rows(report: InitReport) -> None:
    found = report.preview
    left_out = f", {found.left_out:,} left out" if found.left_out else ""
    render.out.print(f"{counted(found.rows, 'row')}{left_out}. The first of them, as they would be sent:")
    for request in found.requests:
        render.out.print(f"  [bold]{render.cell(request.row_key)}[/]  {render.cell(_body(request))}")
    if found.repeated:
        render.warn(
            f"{counted(found.repeated, 'row')} with a key that another row has. Name better columns: --key COLUMN,…"
        )
    for kind, count, first in (
        ("warning", found.warning_count, found.warnings),
        ("problem", found.problem_count, found.problems),
    ):
        if count:
            _print_first(first, f"{counted(count, kind)} in {report.manifest}")


def _print_first(listed: Sequence[str], what: str) -> None:
    render.warn(f"{what}; `reelbatch plan` lists all. The first:")
    for each in listed[:3]:
        render.err.print(f"  {render.cell(each)}")


def _body(request: FirstRequest) -> str:
    return json.dumps(request.body, ensure_ascii=False)
