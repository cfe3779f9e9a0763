"""`memdb-ask`: questions to a memdb server, answered with camera and time.

Exit codes: 0 every question was asked; 1 an error of memdb or of the language model, printed as one
line on stderr; 2 wrong usage; 130 interrupted.  A question that is none is answered with its error,
one whose words the language model does not give with the evidence alone; the others are asked all
the same, and the exit code is 1.  What was answered before an error is printed.
"""

from __future__ import annotations

# Little at the top: what is large is loaded in `main`, where it can be interrupted quietly.
import argparse
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import memdb
from memdb.grpclog import silence_grpc
from memdb.interrupts import INTERRUPTED, loading
from memdb.types.authorities import TLS_HELP, authorities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memdb.types.database import Database, User
    from memdb.types.grounding import AsOf
    from memdb.types.label_filter import Not
    from memdb.types.space import Space
    from memdb.types.validity import ValidAt
    from reasoner.answer import Answer
    from reasoner.questions import QuestionEncoder

_EXAMPLE = """example:
  memdb-ask --server localhost:7700 --user alice "When was a cat on screen?" "Who said fail better?"
"""


_OURS: Final = ("memdb", "memdb_client", "perception", "reasoner")
"""Packages whose absence is a bug of ours, not an extra that was left out."""
_CAMERAS_TOLD: Final = 8
"""Names of cameras in the answer to one that is not there."""
_OPENCLIP: Final = ("open_clip", "torchvision", "timm")
_NEEDED: Final = ("torch", "tokenizers", "safetensors")
"""Without these no question can be embedded; looked for at once, not after the server's answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in _OURS:
            raise
        extra = "openclip" if name in _OPENCLIP else "reasoner"
        _to_stderr(f'{name} is not installed: this needs the extra "memdb[{extra}]"')
        return 1


def _main(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    with loading():
        from memdb.errors import MemdbError

    try:
        questions = [*options.question, *_from_file(options.questions)]
        if not questions:
            parser.error("a question, or --questions FILE")
        if options.llm and not options.model:
            parser.error("--llm needs --model")
        return _ask(options, questions)
    except MemdbError as error:
        _to_stderr(str(error))
        return 1


def _to_stderr(line: str) -> None:
    print(f"memdb-ask: {line}", file=sys.stderr, flush=True)


def _ask(options: argparse.Namespace, questions: Sequence[str]) -> int:
    for name in _NEEDED:
        if find_spec(name) is None:
            raise ModuleNotFoundError(name=name)
    silence_grpc()
    # Imported here: encoders and transports take seconds, and `--help` wants none of them.
    with loading():
        import memdb_client
        from memdb.errors import InvalidArgument
        from memdb.types.checks import check_int
        from memdb.types.label_filter import checked_labels
        from memdb.types.limits import LIMIT_MAX
        from memdb.types.times import as_ns, moment
        from memdb.types.zone import checked_zone
        from perception.arguments import within
        from perception.reach import REACH_TIMEOUT_S, reach
        from reasoner.answer import Reasoner, Refused
        from reasoner.calendar_options import calendar
        from reasoner.evidence import Scope
        from reasoner.table import answers_table

    zone = None if options.zone is None else checked_zone(options.zone)
    start_ns = None if options.start is None else as_ns(moment(options.start, "start"), "start")
    end_ns = None if options.end is None else as_ns(moment(options.end, "end"), "end")
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        # In the words of the command: those of the library are nanoseconds.
        raise InvalidArgument(
            "it lies before --start", reason="TIME_RANGE", field="end", value=options.end
        )
    scope = Scope(
        tuple(options.camera) if options.camera else None,
        start_ns,
        end_ns,
        calendar(options.hours, options.weekday, zone),
        labels=checked_labels(_labels(options.label, options.without_label) or None),
    )
    check_int(options.limit, "limit", 1, LIMIT_MAX)
    as_of = _as_of(options.as_of)
    valid_at = _valid_at(options.valid_at)
    if options.min_score is not None:
        within(options.min_score, -1.0, 1.0, "min-score")
    if options.min_relevance is not None:
        within(options.min_relevance, 0.0, 1.0, "min-relevance")
    model = None
    if options.llm:
        with loading():
            from reasoner.models.openai import OpenAIModel

        model = OpenAIModel(options.llm, options.model, timeout_s=options.llm_timeout)
    answers: list[Answer | Refused] = []
    try:
        tls = authorities(options.tls)
        reach(options.server, options.token, min(REACH_TIMEOUT_S, options.timeout), tls=tls)
        with memdb_client.connect(
            options.server, token=options.token, tls=tls, timeout_s=options.timeout
        ) as db:
            user = db.user(options.user)
            space, encoder = _space_and_encoder(
                db, user, options.space, options.encoder, scope.cameras
            )
            if scope.calendar is not None:
                zones = {stream.name: stream.zone for stream in user.streams()}
                scope = replace(scope, zones=zones)
            _warm_up(encoder)
            reasoner = Reasoner(user, space, encoder, model=model)
            for number, question in enumerate(questions, 1):
                answer: Answer | Refused
                try:
                    answer = reasoner.ask(
                        question,
                        limit=options.limit,
                        scope=scope,
                        as_of=as_of,
                        min_score=options.min_score,
                        min_relevance=options.min_relevance,
                        zone=zone,
                        valid_at=valid_at,
                    )
                except InvalidArgument as error:
                    if error.field != "question":
                        raise
                    answer = Refused(question, error)
                    _to_stderr(f"question {number}: {error}")
                else:
                    if answer.model_error is not None:
                        _to_stderr(f"question {number}: {answer.model_error}")
                    if answer.facts_unplaced:
                        _to_stderr(
                            f"question {number}: of {answer.facts_unplaced} facts not all clips were looked at, "
                            "since there are too many: they may be left out, or told without camera and time"
                        )
                answers.append(answer)
                if options.json:
                    print(json.dumps(answer.as_json(), ensure_ascii=False), flush=True)
    finally:
        if model is not None:
            model.close()
        if answers and not options.json:
            print(answers_table(answers), flush=True)
    failed = (isinstance(answer, Refused) or answer.model_error for answer in answers)
    return 1 if any(failed) else 0


def _warm_up(encoder: QuestionEncoder) -> None:
    """Let no question pay for loading the weights."""
    with loading():
        import torch

    # A question is a handful of tokens: more threads wait for each other longer than they work.
    torch.set_num_threads(1)
    encoder.encode(["warm"])


def _space_and_encoder(
    db: Database,
    user: User,
    name: str | None,
    encoder: str | None,
    cameras: Sequence[str] | None,
) -> tuple[Space, QuestionEncoder]:
    """The space to ask in and what embeds questions into it.

    The named one, or the only one among the cameras, or the only one there is an encoder for.
    """
    with loading():
        from memdb.errors import FailedPrecondition, InvalidArgument
        from reasoner.questions import question_encoder

    _announce_weights(encoder)
    if name is not None:
        named = db.space(name)
        return named, question_encoder(named, encoder)
    known = user.streams()
    streams = [info for info in known if cameras is None or info.name in cameras]
    names = sorted({info.space for info in streams})
    if not names:
        there = ", ".join(info.name for info in known[:_CAMERAS_TOLD])
        more = len(known) - _CAMERAS_TOLD
        raise InvalidArgument(
            f"no such cameras; there are {there or 'none'}" + (f" and {more} more" * (more > 0)),
            reason="NO_STREAMS",
            field="camera",
            value=", ".join(cameras or ()),
        )
    found: list[tuple[Space, QuestionEncoder]] = []
    missing: FailedPrecondition | None = None
    for space in map(db.space, names):
        try:
            found.append((space, question_encoder(space, encoder)))
        except FailedPrecondition as error:
            missing = error
    if missing is not None and not found:
        raise missing
    if len(found) > 1:
        raise InvalidArgument(
            "the cameras have clips in several spaces; name one with --space",
            reason="SPACE_REQUIRED",
            field="space",
            value=", ".join(space.name for space, _ in found),
        )
    chosen = found[0]
    left_out = sorted(info.name for info in streams if info.space != chosen[0].name)
    if left_out:
        _to_stderr(
            f"asking in space {chosen[0].name}; no encoder for the clips of " + ", ".join(left_out)
        )
    return chosen


def _announce_weights(encoder: str | None) -> None:
    """Say what has to be fetched first, if anything."""
    from perception.encoders import BUNDLED
    from perception.encoders.needs import BUNDLED_ARTEFACTS, BUNDLED_TEXT_ARTEFACTS
    from perception.weights import announce

    if encoder is None:
        announce(BUNDLED_TEXT_ARTEFACTS, _to_stderr)
    elif encoder == BUNDLED:
        announce(BUNDLED_ARTEFACTS, _to_stderr)


def _from_file(path: str | None) -> list[str]:
    """One question per line; empty lines and lines that begin with # are none."""
    if path is None:
        return []
    from memdb.errors import InvalidArgument

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            f"cannot read the questions: {error}", reason="BAD_FILE", field="questions", value=path
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _as_of(text: str | None) -> AsOf | None:
    """A revision, a time, or the name of a snapshot."""
    from memdb.types.times import moment

    if text is None or text.isdecimal():
        return None if text is None else int(text)
    # No name of a snapshot has a colon; a date may be one.
    return moment(text, "as-of") if ":" in text else text


def _labels(wanted: Sequence[str], others: Sequence[str]) -> dict[str, list[str] | Not]:
    """The labels that clips must have, and those that they must not."""
    from memdb.errors import InvalidArgument
    from memdb.types.label_filter import Not
    from perception.arguments import labels

    found: dict[str, list[str] | Not] = dict(labels(wanted))
    for key, values in labels(others, "without-label").items():
        if key in found:
            raise InvalidArgument(
                "values that will do, or such that will not",
                reason="AMBIGUOUS",
                field="without-label",
                value=key,
            )
        found[key] = Not(*values)
    return found


def _valid_at(text: str | None) -> ValidAt | None:
    """A time, or a word of `memdb.types.validity`."""
    from memdb.types.times import moment
    from memdb.types.validity import ANY, NOW

    if text is None:
        return None
    words: dict[str, ValidAt] = {NOW: NOW, ANY: ANY}
    return words[text] if text in words else moment(text, "valid-at")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memdb-ask",
        description="Ask what cameras saw and microphones heard.",
        epilog=_EXAMPLE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"memdb-ask {memdb.__version__}")
    add("question", nargs="*", help="a question in words")
    add("--server", required=True, metavar="HOST:PORT", help="the memdb server")
    add("--user", required=True, metavar="USER", help="whose memory")
    add("--token", help="token of the user, where the server asks for one")
    add("--tls", metavar="FILE", help=TLS_HELP)
    add("--timeout", type=float, default=30.0, metavar="SECONDS", help="of a call; default 30")
    add("--camera", action="append", metavar="NAME", help="only this camera (may be repeated)")
    add("--start", metavar="TIME", help="only from then on: 2026-01-05T09:00:00Z")
    add("--end", metavar="TIME", help="only before then")
    add("--limit", type=int, default=4, metavar="N", help="pieces of evidence at most (default 4)")
    add("--min-score", type=float, metavar="S", help="clips at least this similar (default: any)")
    add(
        "--min-relevance",
        type=float,
        metavar="R",
        help="clips at least this relevant, from 0 to 1; else say that there is none (default: any)",
    )
    add(
        "--hours",
        action="append",
        metavar="FROM-TO",
        help="only these hours of the day, by each camera's clock: 22:00-06:00, 9-17 (may be repeated)",
    )
    add(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only clips with this label: zone=porch (may be repeated; of one key any value, of several all)",
    )
    add(
        "--without-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="no clips with this label: zone=street (may be repeated)",
    )
    add(
        "--weekday",
        action="append",
        metavar="DAY",
        help="only this day: mon, or Monday (may be repeated)",
    )
    add(
        "--zone",
        metavar="NAME",
        help="tell times, and read --hours and --weekday, by the clock of this time zone: Europe/Berlin "
        "(default: times in UTC, hours by each camera's clock)",
    )
    add("--space", metavar="NAME", help="feature space, where several have an encoder")
    add("--encoder", metavar="NAME", help="as of memdb-ingest (default: by the space's model)")
    add("--as-of", metavar="MOMENT", help="a revision, a time (RFC 3339) or a snapshot's name")
    add(
        "--valid-at",
        metavar="TIME",
        help='facts that hold then: a time (RFC 3339), or "any" (default: now, or the time of --as-of)',
    )
    add("--questions", metavar="FILE", help="questions, one per line; - is standard input")
    add("--llm", metavar="URL", help="OpenAI-compatible endpoint that words the answer")
    add("--model", metavar="NAME", help="model name for --llm")
    add("--llm-timeout", type=float, default=60.0, metavar="SECONDS", help="default 60")
    add("--json", action="store_true", help="one JSON object per question")
    return parser


if __name__ == "__main__":
    sys.exit(main())
