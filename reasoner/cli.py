"""`memdb-ask`: questions to a memdb server, answered with camera and time.

Exit codes: 0 every question was asked; 1 an error of memdb or of the language model, printed as one
line on stderr; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from memdb.errors import InvalidArgument, MemdbError
from memdb.types.times import as_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memdb.types.database import Database, User
    from memdb.types.grounding import AsOf
    from memdb.types.space import Space
    from reasoner.questions import QuestionEncoder

_EXAMPLE = """example:
  memdb-ask --server localhost:7700 --user alice "When was a cat on screen?" "Who said fail better?"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        questions = [*options.question, *_from_file(options.questions)]
        if not questions:
            parser.error("a question, or --questions FILE")
        if options.llm and not options.model:
            parser.error("--llm needs --model")
        return _ask(options, questions)
    except MemdbError as error:
        print(f"memdb-ask: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _ask(options: argparse.Namespace, questions: Sequence[str]) -> int:
    # Imported here: encoders and transports take seconds, and `--help` wants none of them.
    import memdb_client
    from reasoner.answer import Answer, Reasoner
    from reasoner.evidence import Scope
    from reasoner.questions import question_encoder
    from reasoner.table import answers_table

    scope = Scope(
        tuple(options.camera) if options.camera else None,
        None if options.start is None else as_ns(_moment(options.start, "start"), "start"),
        None if options.end is None else as_ns(_moment(options.end, "end"), "end"),
    )
    as_of = _as_of(options.as_of)
    model = None
    if options.llm:
        from reasoner.models.openai import OpenAIModel

        model = OpenAIModel(options.llm, options.model, timeout_s=options.llm_timeout)
    answers: list[Answer] = []
    try:
        with memdb_client.connect(
            options.server, token=options.token, timeout_s=options.timeout
        ) as db:
            user = db.user(options.user)
            space = _space(db, user, options.space, scope.cameras)
            encoder = question_encoder(space, options.encoder)
            _warm_up(encoder)
            reasoner = Reasoner(user, space, encoder, model=model)
            for question in questions:
                answer = reasoner.ask(
                    question,
                    limit=options.limit,
                    scope=scope,
                    as_of=as_of,
                    min_score=options.min_score,
                )
                answers.append(answer)
                if options.json:
                    print(json.dumps(answer.as_json(), ensure_ascii=False), flush=True)
    finally:
        if model is not None:
            model.close()
    if not options.json:
        print(answers_table(answers))
    return 0


def _warm_up(encoder: QuestionEncoder) -> None:
    """Let no question pay for loading the weights."""
    import torch

    # A question is a handful of tokens: more threads wait for each other longer than they work.
    torch.set_num_threads(1)
    encoder.encode(["warm"])


def _space(db: Database, user: User, name: str | None, cameras: Sequence[str] | None) -> Space:
    """The space to ask in: the named one, or the only one among the cameras."""
    if name is not None:
        return db.space(name)
    streams = [info for info in user.streams() if cameras is None or info.name in cameras]
    names = sorted({info.space for info in streams})
    if len(names) != 1:
        raise InvalidArgument(
            "the cameras have clips in several spaces; name one" if names else "no such cameras",
            reason="SPACE_REQUIRED" if names else "NO_STREAMS",
            field="space" if names else "camera",
            value=", ".join(names or cameras or ()),
        )
    return db.space(names[0])


def _from_file(path: str | None) -> list[str]:
    """One question per line; empty lines and lines that begin with # are none."""
    if path is None:
        return []
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
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    try:
        return _moment(text, "as_of")
    except InvalidArgument:
        return text


def _moment(text: str, field: str) -> datetime:
    """An RFC 3339 time; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgument(
            "expected a time such as 2026-01-05T09:00:00Z",
            reason="BAD_TIME",
            field=field,
            value=text,
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memdb-ask",
        description="Ask what cameras saw and microphones heard.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("question", nargs="*", help="a question in words")
    add("--server", required=True, metavar="HOST:PORT", help="the memdb server")
    add("--user", required=True, metavar="USER", help="whose memory")
    add("--token", help="token of the user, where the server asks for one")
    add("--timeout", type=float, default=30.0, metavar="SECONDS", help="of a call; default 30")
    add("--camera", action="append", metavar="NAME", help="only this camera (may be repeated)")
    add("--start", metavar="TIME", help="only from this time, RFC 3339")
    add("--end", metavar="TIME", help="only before this time, RFC 3339")
    add("--limit", type=int, default=4, metavar="N", help="pieces of evidence at most (default 4)")
    add("--min-score", type=float, metavar="S", help="clips at least this similar (default: any)")
    add("--space", metavar="NAME", help="feature space, where the cameras have several")
    add("--encoder", metavar="NAME", help="as of memdb-ingest (default: by the space's model)")
    add("--as-of", metavar="MOMENT", help="a revision, a time (RFC 3339) or a snapshot's name")
    add("--questions", metavar="FILE", help="questions, one per line; - is standard input")
    add("--llm", metavar="URL", help="OpenAI-compatible endpoint that words the answer")
    add("--model", metavar="NAME", help="model name for --llm")
    add("--llm-timeout", type=float, default=60.0, metavar="SECONDS", help="default 60")
    add("--json", action="store_true", help="one JSON object per question")
    return parser


if __name__ == "__main__":
    sys.exit(main())
