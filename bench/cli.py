"""The command line. Standing on argparse alone: what a verb needs is imported when the verb runs.

Exit codes: 0 done, 1 the run failed, 2 the input was wrong. Results go to standard output, everything else
to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.errors import RunFailed, UserError, suggest

LEADERBOARD_FORMATS = ("table", "md", "csv", "json", "html")
_RUN = """key=value words:
  task=<t> method=<m>         a name, or path/to/file.py:Class for a method of your own
  dataset=<d>                 one of the task's datasets
  data=auto|real|phantom      auto takes prepared data, else the phantom, and says so
  data_root=DIR               a folder of data, used or refused, never replaced
  profile=clean|official      the correct definition, or what the published code computed
  budget=full|smoke|<0..1>    smoke ends within a minute; a fraction scales the epochs
  seed=0  device=auto  rerun=true  out=DIR
  method.<field>=v            `bench show <method>` lists the fields
  protocol.<field>=v          recorded as a deviation from the task's protocol
  -m                          sweep: values separated by commas, every combination is run
"""
_SCORE = """key=value words:
  task=<t> predictions=DIR    exactly the test split, named as it: a PNG or npy label map for each scan; an
                              image for each label map, or a sub-folder of them for each draw; scene graphs
  dataset= data= data_root= profile= name=<label> out=DIR protocol.<field>=v
"""


_METRICS = """graphs: folders in Visual Genome's JSON layout, VG-SGG.h5, or graphs.jsonl; --metrics
box_iou,relation_accuracy for graphs of one name with boxes
images: folders or archives; --metrics fid,kid,is,prd,pr (of sets), mae,rmse,psnr,ssim,ms_ssim,lpips (of
pairs by name), ds (of the images in each sub-folder of --generated), miou,pixel_accuracy (with --segmenter)
"""


class Parser(argparse.ArgumentParser):
    """Argparse that answers a mistake with one sentence instead of a usage block."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` turns into one line and exit code 2."""
        raise UserError(f"{message[:1].upper()}{message[1:]}; `{self.prog} --help` shows what it takes.")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="bench",
        description="Evaluate federated, medical and generative vision methods beside reported numbers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Start with: bench run task=oct method=ynet budget=smoke",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = top.add_subparsers(dest="verb", metavar="<verb>", parser_class=Parser)

    def verb(name: str, text: str, epilog: str = "") -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    for name, text, words in (
        ("run", "train and score a method on a task", _RUN),
        ("score", "score predictions made by any other program", _SCORE),
    ):
        one = verb(name, text, words)
        one.usage = f"bench {name} key=value ... [-m] [--json]" if name == "run" else None
        one.add_argument("words", nargs="*", metavar="key=value")
        one.add_argument("-m", "--multirun", action="store_true", help="sweep over comma-separated values")
        one.add_argument("--json", action="store_true", help="print the metrics as JSON and nothing else")
    one = verb("list", "list what there is")
    one.add_argument("kind", nargs="?", metavar="tasks|methods|datasets|metrics|reported", default="all")
    one.add_argument("--json", action="store_true")
    one = verb("show", "show the card of a task, method or dataset, or a reported row")
    one.add_argument("name")
    one.add_argument("--json", action="store_true")
    one = verb("check", "try a method small, on the phantom of its family, before the real run")
    one.add_argument("words", nargs="*", metavar="method=<m> [task=<t>]")
    one.add_argument("--json", action="store_true")
    one = verb("data", "list, prepare, verify or locate data; write a phantom")
    one.add_argument("action", metavar="list|prepare|verify|phantom|path")
    one.add_argument("dataset", nargs="?")
    one.add_argument(
        "--root", metavar="DIR", help="folder of the data (prepare, verify) or to write (phantom)"
    )
    one.add_argument("--size", default="small", help="phantom: tiny, small, official or HxW (default small)")
    one.add_argument("--seed", type=int, default=0, help="phantom: seed (default 0)")
    one.add_argument("--json", action="store_true")
    one = verb("metrics", "compare any two sets of graphs or images, without a task", _METRICS)
    one.add_argument("kind", metavar="graphs|images")
    one.add_argument("--generated", required=True, metavar="DIR", help="the set that is judged")
    one.add_argument("--reference", required=True, metavar="DIR", help="the set it is compared with")
    one.add_argument("--metrics", metavar="a,b", help="only these")
    one.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    one.add_argument("--json", action="store_true", help="print the metrics as JSON and nothing else")
    graphs = one.add_argument_group("graphs")
    graphs.add_argument("--permutations", type=int, help="of the test of one distribution (default 1000)")
    images = one.add_argument_group("images")
    images.add_argument("--extractor", metavar="NAME|file.py:Class", help="network (default inception-tf)")
    images.add_argument("--weights", metavar="FILE", help="its weights, if not in the usual caches")
    images.add_argument("--download", action="store_true", help="fetch weights that are absent")
    images.add_argument("--resize", help="none, nearest, bilinear, bicubic (default), lanczos or box")
    images.add_argument("--size", metavar="N|HxW", help="pixels to resize to; as they are without")
    images.add_argument("--format", help="png (default), or jpeg: compress at quality 75 first")
    images.add_argument("--stretch", help="clamp (default), or stretch: contrast of each image to its limits")
    images.add_argument("--split", metavar="NAME", help="what the badge calls the reference, such as test")
    images.add_argument("--under", metavar="all-protocols", help="every protocol in turn")
    images.add_argument("--by-class", action="store_true", help="also within classes, which are sub-folders")
    images.add_argument(
        "--boxes", metavar="FILE", help="also in boxes: JSON, name to [[x0, y0, x1, y1], ...]"
    )
    images.add_argument("--lpips", metavar="NET", help="of lpips and ds: alex (default), vgg or squeeze")
    images.add_argument("--segmenter", metavar="file.py:Class", help="network of miou and pixel_accuracy")
    images.add_argument("--labels", metavar="DIR", help="its label maps, <name>.png")
    images.add_argument("--classes", type=int, metavar="K", help="classes in them")
    images.add_argument("--ignore", type=int, metavar="N", help="a label that is not scored")
    images.add_argument("--device", help="such as cpu (default) or cuda")
    images.add_argument("--out", metavar="DIR", help="write images.json there")
    one = verb("leaderboard", "set runs beside each other and beside the reported numbers")
    one.add_argument("task")
    one.add_argument("--format", default="table", metavar="|".join(LEADERBOARD_FORMATS))
    one.add_argument("--data", metavar="real|phantom|custom", help="only rows on this kind of data")
    one.add_argument("--profile", metavar="clean|official", help="only rows of this profile")
    one.add_argument("--runs", metavar="DIR", help="run folders to read besides the committed results")
    one.add_argument("--committed", action="store_true", help="committed results only")
    one.add_argument(
        "--figures", metavar="DIR", help="draw learning curves (over shots, participation) there"
    )
    one = verb("doctor", "what is installed, which device, which data, what is missing and how to get it")
    one.add_argument("--json", action="store_true")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        _say(str(error))
        return 2
    except RunFailed as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("Interrupted; the same command continues where this one stopped.")
        return 1
    except BrokenPipeError:
        # The reader of a pipe has gone; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from bench.files import storage_problem

        sentence = storage_problem(error)
        if sentence is None:
            raise
        _say(sentence)
        return 2


def _say(sentence: str) -> None:
    print(f"bench: {sentence}", file=sys.stderr)


def _dispatch(argv: list[str]) -> int:
    top = parser()
    if argv in (["-h"], ["--help"]):
        top.print_help()
        return 0
    if argv and not argv[0].startswith("-"):
        verbs = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices
        if argv[0] not in verbs:
            raise UserError(
                f"No verb `{argv[0]}`.{suggest(argv[0], verbs)} The verbs are: {', '.join(verbs)}."
            )
        if {"-h", "--help"} & set(argv[1:]):
            verbs[argv[0]].print_help()
            return 0
        args = verbs[argv[0]].parse_intermixed_args(argv[1:])
        args.verb, args.version = argv[0], False
    else:
        args = top.parse_args(argv)
    if args.version:
        from bench import __version__

        print(f"bench {__version__}")
        return 0
    if args.verb is None:
        top.print_help()
        return 0
    if args.verb in ("run", "score"):
        from bench.verbs.run import run

        return run(args.verb, args.words, args.multirun, args.json)
    if args.verb == "list":
        from bench.verbs.list import run as list_

        return list_(args.kind, args.json)
    if args.verb == "show":
        from bench.verbs.show import run as show

        return show(args.name, args.json)
    if args.verb == "check":
        from bench.verbs.check import run as check

        return check(args.words, args.json)
    if args.verb == "data":
        from bench.verbs.data import run as data

        return data(args.action, args.dataset, args.root, args.size, args.seed, args.json)
    if args.verb == "metrics":
        from bench.verbs.metrics import run as metrics

        return metrics(args)
    if args.verb == "leaderboard":
        from bench.verbs.leaderboard import run as leaderboard

        return leaderboard(
            args.task, args.format, args.data, args.profile, args.runs, args.committed, args.figures
        )
    from bench.verbs.doctor import run as doctor

    return doctor(args.json)


if __name__ == "__main__":
    sys.exit(main())
