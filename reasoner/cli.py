"""`memdb-ask`: questions to a memdb server, answered with camera and time.

Exit codes: 0 every question was asked; 1 an error of memdb or of the language model, printed as one
line on stderr; 2 wrong usage, a wrong value included; 130 interrupted.  A question that is none is
answered with its error, one whose words the language model does not give with the evidence alone; the
others are asked all the same, and the exit code is 1.  What was answered before an error is printed.
"""

from __future__ import annotations

# Little at the top: what is large is loaded in `main`, where it can be interrupted quietly.
import argparse
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import memdb
from memdb.grpclog import silence_grpc
from memdb.interrupts import INTERRUPTED, loading
from memdb.types.authorities import TLS_HELP, authorities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memdb.types.database import Database
    from reasoner.answer import Answer, Refused
    from reasoner.arguments import Asking
    from reasoner.models.openai import OpenAIModel
    from reasoner.questions import QuestionEncoder
    from reasoner.reasoner import Reasoner

_EXAMPLE = """example:
  memdb-ask --server localhost:7700 --user alice "When was a cat on screen?" "Who said fail better?"
"""


_WRONG_USAGE: Final = 2
_OURS: Final = ("memdb", "memdb_client", "perception", "reasoner")
"""Packages whose absence is a bug of ours, not an extra that was left out."""
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
    with loading():
        from memdb.output import OutputLost, keep_standard_files, parsed, result_on_stdout

    parser = _parser()
    options = parsed(parser, arguments, rest="question")
    with loading():
        from memdb.errors import InvalidArgument, MemdbError

    keep_standard_files()
    if not options.question and options.questions is None:
        parser.error("a question, or --questions FILE")
    if options.llm and not options.model:
        parser.error("--llm needs --model")
    if options.model and not options.llm:
        parser.error("--model needs --llm")
    if len(options.question) > 1 and not any(" " in one.strip() for one in options.question):
        _to_stderr(
            f"{len(options.question)} questions of a word each; a question of several words is in quotes"
        )
    try:
        with result_on_stdout():
            return _ask(options, parser)
    except OutputLost as error:
        if not error.is_read_enough:
            _to_stderr(str(error))
        return 1
    except MemdbError as error:
        _to_stderr(str(error))
        return _WRONG_USAGE if isinstance(error, InvalidArgument) else 1


def _to_stderr(line: str) -> None:
    print(f"memdb-ask: {line}", file=sys.stderr, flush=True)


def _ask(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    for name in _NEEDED:
        if find_spec(name) is None:
            raise ModuleNotFoundError(name=name)
    silence_grpc()
    # Imported here: `--help` wants none of it.
    with loading():
        from reasoner.arguments import asking, from_file

    wanted = asking(options)
    with loading():
        import memdb_client
        from perception.reach import REACH_TIMEOUT_S, reach

    tls = authorities(options.tls)
    with memdb_client.connect(
        options.server, token=options.token, tls=tls, timeout_s=options.timeout
    ) as db:
        # Whatever is wrong by itself is told before anybody types questions, and those are read before anything is
        # loaded or waited for.
        questions = [*options.question, *from_file(options.questions)]
        if not questions:
            parser.error("a question, or --questions FILE")
        model = _model(options) if options.llm else None
        answers: list[Answer | Refused] = []
        try:
            reach(options.server, options.token, min(REACH_TIMEOUT_S, options.timeout), tls=tls)
            for answer in _answers(db, options, questions, wanted, model):
                answers.append(answer)
                if options.json:
                    print(json.dumps(answer.as_json(), ensure_ascii=False), flush=True)
        finally:
            if model is not None:
                model.close()
            if answers and not options.json:
                _print_table(answers)
    return 1 if any(_failed(answer) for answer in answers) else 0


def _answers(
    db: Database,
    options: argparse.Namespace,
    questions: Sequence[str],
    wanted: Asking,
    model: OpenAIModel | None,
) -> Iterator[Answer | Refused]:
    """The answer to each question, once it is there."""
    # Encoders and transports take seconds.
    with loading():
        from reasoner.question_space import space_and_encoder
        from reasoner.reasoner import Reasoner

    user, scope = db.user(options.user), wanted.scope
    space, encoder = space_and_encoder(
        db, user, options.space, options.encoder, scope.cameras, _to_stderr
    )
    if scope.calendar is not None:
        zones = {stream.name: stream.zone for stream in user.streams()}
        wanted = replace(wanted, scope=replace(scope, zones=zones))
    _warm_up(encoder)
    reasoner = Reasoner(user, space, encoder, model=model)
    for number, question in enumerate(questions, 1):
        yield _answer(reasoner, number, question, wanted)


def _model(options: argparse.Namespace) -> OpenAIModel:
    with loading():
        from reasoner.models.openai import OpenAIModel

    return OpenAIModel(options.llm, options.model, timeout_s=options.llm_timeout)


def _print_table(answers: Sequence[Answer | Refused]) -> None:
    from reasoner.table import answers_table

    print(answers_table(answers, sys.stdout.encoding), flush=True)


def _failed(answer: Answer | Refused) -> bool:
    """Whether the question was none, or the language model did not word its answer."""
    from reasoner.answer import Refused

    return isinstance(answer, Refused) or answer.model_error is not None


def _answer(reasoner: Reasoner, number: int, question: str, wanted: Asking) -> Answer | Refused:
    """The answer to one question, or why it is none; what is wrong with it is told on stderr."""
    from memdb.errors import InvalidArgument
    from reasoner.answer import Refused
    from reasoner.pointing_back import points_back
    from reasoner.questions import SEEN
    from reasoner.reckoning import reckoning
    from reasoner.spoken_times import spoken_time

    told = spoken_time(question)
    if told is not None and not wanted.scope.has_times:
        _to_stderr(
            f'question {number}: "{told}" is not read as a time; '
            "--start, --end, --hours and --weekday narrow an answer"
        )
    if points_back(question):
        _to_stderr(
            f"question {number}: each is asked by itself, and this one says nothing of what it is about"
        )
    try:
        answer = wanted.ask(reasoner, question)
    except InvalidArgument as error:
        if error.field != "question":
            raise
        _to_stderr(f"question {number}: {error}")
        return Refused(question, error)
    asked = answer.question
    if asked.names_nothing and not asked.is_of_anything_said and not points_back(question):
        _to_stderr(
            f"question {number}: it names nothing to look for, such as a cat, and what is most like its words is shown"
        )
    wanted_number = reckoning(question)
    # A fact, or what was said, may tell the number.
    if wanted_number is not None and answer.evidence and answer.evidence[0].arm == SEEN:
        _to_stderr(
            f'question {number}: "{wanted_number}" is not reckoned: what is shown is what is most like the rest, '
            "neither counted nor in the order of time"
        )
    if answer.model_error is not None:
        _to_stderr(f"question {number}: {answer.model_error}")
    if answer.facts_unplaced:
        _to_stderr(
            f"question {number}: of {answer.facts_unplaced} facts not all clips were looked at, "
            "since there are too many: they may be left out, or told without camera and time"
        )
    return answer


def _warm_up(encoder: QuestionEncoder) -> None:
    """Let no question pay for loading the weights."""
    with loading():
        import torch

    # A question is a handful of tokens: more threads wait for each other longer than they work.
    torch.set_num_threads(1)
    encoder.encode(["warm"])


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
    add(
        "--limit",
        type=int,
        default=4,
        metavar="N",
        help="pieces of evidence at most, of which the table shows the best and --json all (default 4)",
    )
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
    add(
        "--as-of",
        metavar="MOMENT",
        help="memory as it was at a revision, a time (RFC 3339) or a snapshot: what was written by then, "
        "whenever it was seen (--end is about that)",
    )
    add(
        "--valid-at",
        metavar="TIME",
        help='facts that hold then: a time (RFC 3339), or "any" (default: now, or the time of --as-of)',
    )
    add("--about", action="append", metavar="NAME", help="only facts about this (may be repeated)")
    add("--questions", metavar="FILE", help="questions, one per line; - is standard input")
    add("--llm", metavar="URL", help="OpenAI-compatible endpoint that words the answer")
    add("--model", metavar="NAME", help="model name for --llm")
    add("--llm-timeout", type=float, default=60.0, metavar="SECONDS", help="default 60")
    add("--json", action="store_true", help="one JSON object per question")
    return parser


if __name__ == "__main__":
    sys.exit(main())
